//! `test-cluster`: what needs a container engine and a Kind cluster.
//!
//! ```text
//! setup    docker, kind, node image, the images of the tests
//! wiring   the DataStorage suite on Kind and PostgreSQL, its own coverage wiring, no covtap
//! seed     the same with the directory as Kind makes it: all specs pass, no file comes; covtap, which is
//!          around it here, collects everything
//! covtap   the suite inside covtap: what it read out of memory is what the services wrote
//! twin     with coverage off the image is that of a tree without any wiring
//! podman   only where it is named: Podman in the place of Docker, a cluster that the suite makes and deletes
//! rust     crates/cluster/tests/real.rs; crates/cli/tests/cluster over a control plane and two workers
//! ```
//!
//! The clusters that a stage makes are deleted at its end, whatever came of it; a docker daemon that
//! was started here is ended.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Setup, delete, engine, podman, recipe};
use crate::gate::{Gate, Log, against_go, cargo, datastorage, target_dir};
use crate::sh::{self, About, Result, cmd, fail};
use crate::toolchains;

/// The cluster that the DataStorage suite makes and deletes.
const SUITE: &str = "datastorage-e2e";

/// The cluster for the tests in Rust.
const TESTS: &str = "covtap-test";

/// The uid of the service in its image.
const SERVICE: u32 = 1001;

/// `cargo xtask test-cluster [STAGE…]`.
pub(crate) fn test(args: &[String]) -> Result {
    let mut only = args.to_vec();
    if !only.is_empty() {
        only.push("setup".into());
    }
    let mut gate = Gate::new("test-cluster", only)?;
    let mut setup = None;
    gate.stage("setup", |log| {
        if let Some(why) = engine::impossible() {
            log.skip(&format!("all tests on a Kind cluster: {why}"));
            return Ok(());
        }
        setup = Some(Setup::new()?);
        Ok(())
    });
    if let Some(setup) = setup {
        gate.stage("wiring", |log| with_suite(|dir| wiring(log, dir)));
        gate.stage("seed", |log| with_suite(|dir| seed(log, dir)));
        gate.stage("covtap", |log| with_suite(|dir| inside(log, dir)));
        gate.stage("twin", |log| {
            let mut twin = datastorage("test-twin-image")?;
            log.run(setup.environment(&mut twin)?)
        });
        gate.stage("rust", |log| rust(&setup, log));
        if args.iter().any(|arg| arg == "podman") {
            gate.stage("podman", |log| podman::run(&setup, &covtap(log)?, log));
        }
        setup.end()?;
    }
    gate.finish()
}

/// Runs `body` with the place where the suite collects coverage, which is not there, and without a
/// cluster of the suite's name before and after.
fn with_suite(body: impl FnOnce(&Path) -> Result) -> Result {
    let collected = crate::repository().join("examples/datastorage/coverdata");
    delete(SUITE)?;
    sh::rmdir(&collected)?;
    let result = body(&collected);
    let deleted = delete(SUITE);
    result.and(deleted)
}

/// The seed's command.
const COMMAND: [&str; 5] = [
    "make",
    "test-e2e-datastorage-coverage",
    "E2E_TARGET=kind",
    "COVTAP=off",
    "ROUTE=files",
];

/// The seed's command without covtap.
fn suite() -> std::process::Command {
    let mut make = cmd(COMMAND[0], &COMMAND[1..]);
    make.current_dir(crate::repository());
    make
}

/// covtap, built as the tests build it.
fn covtap(log: &mut Log) -> Result<PathBuf> {
    let build = ["build", "--package", "covtap", "--profile", "test"];
    log.run(cargo(&build).arg("--locked"))?;
    Ok(target_dir().join("debug/covtap"))
}

/// The seed's command inside of covtap, which reads memory alone.
fn under_covtap(log: &mut Log) -> Result<std::process::Command> {
    let mut run = cmd(covtap(log)?, &["run", "--route", "tap,exit", "--"]);
    run.args(COMMAND).current_dir(crate::repository());
    Ok(run)
}

/// The run that has just ended.
fn latest() -> PathBuf {
    crate::repository().join(".covtap/latest")
}

/// The suite's own wiring: the files are there and Go's own tool reads them.
fn wiring(log: &mut Log, collected: &Path) -> Result {
    log.run(&mut suite())?;
    let about = std::fs::metadata(collected).about(collected.display())?;
    if (about.uid(), about.mode() & 0o7777) != (SERVICE, 0o750) {
        fail!(
            "{} has owner {} and mode {:o}: the suite gives it to {SERVICE} with 750",
            collected.display(),
            about.uid(),
            about.mode() & 0o7777
        );
    }
    for kind in ["covmeta.", "covcounters."] {
        if !files(collected)?.iter().any(|name| name.starts_with(kind)) {
            fail!("{} has no {kind}*", collected.display());
        }
    }
    let lines = profile(collected)?;
    let covered = lines.iter().filter(|line| !line.ends_with(" 0")).count();
    if covered == 0 {
        fail!("{} has no covered block", collected.display());
    }
    log.say(&format!("Go's own tool reads {covered} covered blocks"));
    Ok(())
}

/// What Go's own tool makes of a directory: the lines of its text profile, sorted.
fn profile(dir: &Path) -> Result<Vec<String>> {
    let profile = target_dir().join("gate/kind.profile");
    sh::quiet(
        cmd(toolchains::get(toolchains::NEWEST)?.covdata, &["textfmt"])
            .arg(format!("-i={}", dir.display()))
            .arg(format!("-o={}", profile.display())),
    )?;
    let mut lines: Vec<String> = sh::read(&profile)?.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    Ok(lines)
}

/// The suite inside of covtap, with a cluster that it makes and deletes itself. Memory and exit stops
/// on one hand, files on the other: of the same processes, and the same.
fn inside(log: &mut Log, collected: &Path) -> Result {
    let mut suite = under_covtap(log)?;
    log.run(&mut suite)?;
    let raw = latest().join("raw");
    let builds = files(&raw)?;
    let [build] = builds.as_slice() else {
        fail!("{} builds, not one", builds.len());
    };
    let (ours, theirs) = (profile(&raw.join(build))?, profile(collected)?);
    if ours != theirs {
        let differ = ours.iter().zip(&theirs).find(|(a, b)| a != b);
        fail!("memory and files differ: {differ:?}");
    }
    log.say(&format!(
        "{} lines of profile out of memory are those of the files; {}",
        ours.len(),
        against_go(&latest())?
    ));
    Ok(())
}

/// The suite with the directory as Kind and the kubelet make it: nothing in it says that nothing came.
/// covtap says why before the first spec, and has everything.
fn seed(log: &mut Log, collected: &Path) -> Result {
    let mut suite = under_covtap(log)?;
    suite
        .env("E2E_PREPARE_COVERDATA", "false")
        // Set and empty: the service uses SQLite, so that both databases are run on Kind.
        .env("E2E_POSTGRES_IMAGE", "");
    log.run(&mut suite)?;
    if !log.text()?.contains("it may not write there") {
        fail!("covtap did not say that the service may not write to its directory");
    }
    log.say(&format!("covtap: {}", against_go(&latest())?));
    let files = files(collected)?;
    if !files.is_empty() {
        fail!(
            "{} holds {}: it was to stay empty",
            collected.display(),
            files.join(", ")
        );
    }
    Ok(())
}

/// The names of all that lies in a directory.
fn files(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).about(dir.display())? {
        let name = entry.about(dir.display())?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    Ok(names)
}

/// The tests in Rust: those that make their own clusters, then those over one of three nodes.
fn rust(setup: &Setup, log: &mut Log) -> Result {
    let (alone, shared) = (["covtap-cluster", "real"], ["covtap", "cluster"]);
    // Before there is a cluster that would wait for it.
    for test in [alone, shared] {
        log.run(tests(test).arg("--no-run"))?;
    }
    let result = log.run(setup.environment(&mut tests(alone))?);
    delete(TESTS)?;
    let shared = setup.up(TESTS, &config()).and_then(|()| {
        let mut tests = tests(shared);
        tests.env("COVTAP_TEST_CONTEXT", format!("kind-{TESTS}"));
        log.run(setup.environment(&mut tests)?)
    });
    let deleted = delete(TESTS);
    result.and(shared).and(deleted)
}

/// A package's test that knows that there is a container engine.
fn tests([package, test]: [&str; 2]) -> Command {
    let mut command = cargo(&["test", "--locked", "--package", package, "--test", test]);
    command.env("COVTAP_TEST_CLUSTER", "1");
    command
}

/// One control plane and two workers.
fn config() -> PathBuf {
    recipe().join("kind-workers.yaml")
}
