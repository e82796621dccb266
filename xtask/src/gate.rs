//! `test` and `lint`: stages that run one after another, all of them, whatever failed before.
//!
//! Each stage has a log in `target/gate/`; the terminal sees what matters of it, and the end of the
//! log when it failed. At the end: a table, what was skipped and why, and the line
//! `N passed, N failed, N skipped`, counted from what the test runners said ([`count`]). A test that
//! lacks what it needs prints a line that starts with `SKIPPED: ` and says what.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sh::{self, About, Failure, Result, cmd, fail, on_path};
use crate::{deps, fixtures, schemas, structure, tap_fixtures, toolchains, tools};

/// Lines of a failed stage's log that the terminal sees.
const TAIL: usize = 150;

/// How long one command of a stage may take.
const LIMIT: &str = "20m";

/// What is written in shell.
const SCRIPTS: [&str; 4] = [
    ".ci/run",
    "e2e/cluster/build",
    "e2e/cluster/node/make",
    "e2e/images/postgres-start",
];

/// What test runners counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    /// Why, one line each; a runner's own count of skipped tests is one line.
    skipped: Vec<String>,
    /// How many were skipped.
    skips: u64,
}

/// One finished stage.
struct Done {
    name: &'static str,
    time: Duration,
    tally: Tally,
    failure: Option<String>,
}

/// Stages under way.
pub(crate) struct Gate {
    /// `test` or `lint`.
    task: &'static str,
    /// Where logs lie.
    logs: PathBuf,
    /// Stages asked for; empty for all.
    only: Vec<String>,
    done: Vec<Done>,
}

/// `cargo xtask test [--full] [STAGE…]`.
pub(crate) fn test(args: &[String]) -> Result {
    let full = args.iter().any(|arg| arg == "--full");
    let only = args
        .iter()
        .filter(|arg| *arg != "--full")
        .cloned()
        .collect();
    let mut gate = Gate::new("test", only)?;
    gate.stage("setup", |log| setup(log, full));
    gate.stage("rust", |log| {
        let mut command = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
        if full {
            command.env("PROPTEST_CASES", "20000");
            // For each version of Go: 105,000 in all.
            command.env("COVTAP_TEST_SNAPSHOTS", "15000");
        }
        log.run(environment(&mut command)?)
    });
    gate.stage("datastorage", |log| {
        log.run(&mut datastorage("test")?)?;
        log.run(&mut datastorage("test-twin")?)
    });
    gate.stage("e2e-sqlite", |log| {
        log.run(&mut datastorage("test-e2e-datastorage")?)
    });
    gate.stage("e2e-postgres", |log| {
        if let Err(why) = tools::debian("pg_lsclusters", "postgresql") {
            log.skip(&format!("the DataStorage suite on PostgreSQL: {why}"));
            return Ok(());
        }
        log.run(&mut datastorage("test-e2e-datastorage-postgres")?)
    });
    gate.stage("run", whole);
    if full {
        gate.stage("fuzz", fuzz);
    }
    gate.finish()
}

/// `cargo xtask lint [STAGE…]`.
pub(crate) fn lint(args: &[String]) -> Result {
    let mut gate = Gate::new("lint", args.to_vec())?;
    gate.stage("fmt", |log| {
        needs(log, "rustfmt");
        log.run(&mut cargo(&["fmt", "--all", "--check"]))
    });
    gate.stage("clippy", |log| {
        needs(log, "clippy");
        log.run(&mut clippy(&["--all-targets"]))
    });
    gate.stage("deny", |log| {
        // Not advisories: their database is a repository that is fetched from the network.
        log.run(
            cmd(
                tools::bin()?.join("cargo-deny"),
                &["check", "bans", "licenses", "sources"],
            )
            .current_dir(crate::repository()),
        )
    });
    gate.stage("deps", |_| deps::task(&[]));
    gate.stage("structure", |_| structure::task(&[]));
    gate.stage("schemas", |_| schemas::task(&["--check".into()]));
    gate.stage("go", |log| {
        log.run(&mut datastorage("lint")?)?;
        let fixtures = crate::repository().join("fixtures");
        let out = sh::quiet(environment(&mut cmd("gofmt", &["-l"]))?.arg(fixtures))?;
        if !out.is_empty() {
            fail!("not formatted as gofmt does:\n{out}");
        }
        Ok(())
    });
    gate.stage("shell", |log| {
        for script in SCRIPTS {
            log.run(cmd("bash", &["-n", script]).current_dir(crate::repository()))?;
        }
        match tools::debian("shellcheck", "shellcheck") {
            Ok(()) => log.run(
                cmd("shellcheck", &["--external-sources"])
                    .args(SCRIPTS)
                    .current_dir(crate::repository()),
            ),
            Err(why) => {
                log.skip(&format!("shellcheck: {why}"));
                Ok(())
            }
        }
    });
    gate.stage("mac", |log| {
        // The tap reads Linux processes; the client runs on a Mac.
        let check = &["check", "--workspace", "--locked"];
        for_target(log, "aarch64-apple-darwin", "aarch64-macos", cargo(check))
    });
    gate.stage("linux-arm", |log| {
        let target = "aarch64-unknown-linux-gnu";
        for_target(log, target, "aarch64-linux-gnu", clippy(&[]))
    });
    gate.finish()
}

/// Checks for another system: `target` is Rust's word for it, `system` that of the C compiler, which the
/// C of ring (TLS) needs.
fn for_target(log: &mut Log, target: &str, system: &str, mut check: Command) -> Result {
    if let Err(why) = tools::target(target) {
        log.skip(&format!("check for {target}: {why}"));
        return Ok(());
    }
    let compiler = match tools::cross_cc(system) {
        Ok(compiler) => compiler,
        Err(why) => {
            log.skip(&format!("check for {target}: no C compiler for it: {why}"));
            return Ok(());
        }
    };
    check
        // Not as an argument: what follows `--` is for clippy.
        .env("CARGO_BUILD_TARGET", target)
        .env(format!("CC_{}", target.replace('-', "_")), compiler)
        // It knows its target by itself, and not every flag of other compilers.
        .env("CRATE_CC_NO_DEFAULTS", "1");
    log.run(&mut check)
}

/// Gets everything that tests need; what cannot be had is a skip with the reason.
fn setup(log: &mut Log, full: bool) -> Result {
    tools::bin()?;
    for (program, package) in [("genhtml", "lcov"), ("pg_lsclusters", "postgresql")] {
        if let Err(why) = tools::debian(program, package) {
            log.say(&format!("without {package}: {why}"));
        }
    }
    let versions: &[&str] = if full {
        &toolchains::ALL
    } else {
        &toolchains::SOME
    };
    for version in versions {
        let home = fixtures::get(version)?;
        log.say(&format!("fixtures of Go {version}: {}", home.display()));
        let home = tap_fixtures::get(version)?;
        log.say(&format!(
            "programs for the tap of Go {version}: {}",
            home.display()
        ));
    }
    Ok(())
}

/// The whole job on real input: the DataStorage suite under `covtap run`, as its authors wired it and
/// with nothing but an instrumented build (no GOCOVERDIR anywhere); its documents against the schemas,
/// its figures against Go's own tool.
fn whole(log: &mut Log) -> Result {
    let root = crate::repository();
    // Built by the stage `rust` already; here for `test run` alone.
    log.run(&mut cargo(&[
        "build",
        "--package",
        "covtap",
        "--profile",
        "test",
        "--locked",
    ]))?;
    let covtap = target_dir().join("debug/covtap");
    let make = ["--", "make", "-C", "examples/datastorage"];
    for (route, flags, target) in [
        ("tap,exit,files", "", "test-e2e-datastorage-coverage"),
        ("tap,exit", "-cover", "test-e2e-datastorage"),
    ] {
        let mut command = cmd(&covtap, &["run", "--route", route]);
        command.args(make).arg(target).current_dir(&root);
        log.run(environment(&mut command)?.env("GOFLAGS", flags))?;
        let latest = root.join(".covtap/latest");
        schemas::task(&["--validate".into(), latest.to_string_lossy().into_owned()])?;
        log.say(&format!("{target}: {}", against_go(&latest)?));
    }
    Ok(())
}

/// Compares the totals of a run's `coverage.json` with what Go's tool makes of its raw files.
pub(crate) fn against_go(run: &Path) -> Result<String> {
    let document: Value =
        serde_json::from_str(&sh::read(&run.join("coverage.json"))?).about("coverage.json")?;
    for left_out in ["excluded", "skew", "problems"] {
        if document[left_out]
            .as_array()
            .is_some_and(|list| !list.is_empty())
        {
            fail!("coverage.json has {left_out}: its totals are not those of the raw files");
        }
    }
    let raw = run.join("raw");
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(&raw).about(raw.display())? {
        inputs.push(entry.about(raw.display())?.path().display().to_string());
    }
    let profile = target_dir().join("gate/go.profile");
    sh::quiet(
        cmd(toolchains::get(toolchains::NEWEST)?.covdata, &["textfmt"])
            .arg(format!("-i={}", inputs.join(",")))
            .arg(format!("-o={}", profile.display())),
    )?;
    let (mut covered, mut total) = (0u64, 0u64);
    for line in sh::read(&profile)?.lines().skip(1) {
        let mut words = line.rsplit(' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (Some(count), Some(statements)) = (number(), number()) else {
            fail!("Go's profile has the line {line:?}");
        };
        total += statements;
        covered += if count > 0 { statements } else { 0 };
    }
    let ours = &document["totals"]["statements"];
    if ours["covered"].as_u64() != Some(covered) || ours["total"].as_u64() != Some(total) {
        fail!("Go counts {covered} of {total} statements, coverage.json {ours}");
    }
    Ok(format!(
        "Go's own tool agrees: {covered} of {total} statements"
    ))
}

/// A minute of fuzzing for every target.
fn fuzz(log: &mut Log) -> Result {
    let folder = crate::repository().join("fuzz");
    if !folder.join("Cargo.toml").is_file() {
        log.skip("fuzzing: fuzz/ has no targets");
        return Ok(());
    }
    tools::task(&["--fuzz".into()])?;
    let fuzz = tools::bin()?.join("cargo-fuzz");
    let list = sh::quiet(cmd(&fuzz, &["list"]).current_dir(crate::repository()))?;
    for target in list.lines() {
        // Sanitizers are unstable options, which a stable compiler takes with this variable.
        log.run(
            cmd(&fuzz, &["run", target, "--", "-max_total_time=60"])
                .current_dir(crate::repository())
                .env("RUSTC_BOOTSTRAP", "1"),
        )?;
    }
    Ok(())
}

/// cargo, in the repository, without what the cargo that runs this program has set.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = cmd("cargo", args);
    command.current_dir(crate::repository());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// clippy over the workspace, every warning an error.
fn clippy(more: &[&str]) -> Command {
    let mut command = cargo(&["clippy", "--workspace", "--locked"]);
    command.args(more).args(["--", "-D", "warnings"]);
    command
}

/// A target of the DataStorage example's Makefile.
pub(crate) fn datastorage(target: &str) -> Result<Command> {
    let folder = "examples/datastorage";
    let mut command = cmd("make", &["--no-print-directory", "-C", folder, target]);
    command.current_dir(crate::repository());
    environment(&mut command)?;
    Ok(command)
}

/// What tests need: a Go (the machine's, else the newest of the cache), the Python tools behind
/// whatever the machine has of that name, and nothing of the make above.
fn environment(command: &mut Command) -> Result<&mut Command> {
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        command.env_remove(name);
    }
    let now = std::env::var_os("PATH").unwrap_or_default();
    let mut path: Vec<PathBuf> = std::env::split_paths(&now).collect();
    if !on_path("go") {
        path.insert(0, toolchains::get(toolchains::NEWEST)?.root.join("bin"));
    }
    let bin = tools::bin()?;
    if let Some(home) = bin.parent() {
        command.env("COVTAP_TEST_VENV", home);
    }
    path.push(bin);
    Ok(command.env("PATH", std::env::join_paths(path).about("the search path")?))
}

/// Adds a rustup component; where there is no rustup, cargo's own message follows.
fn needs(log: &mut Log, component: &str) {
    if let Err(why) = tools::component(component) {
        log.say(&why.to_string());
    }
}

/// Where cargo builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| crate::repository().join("target"), PathBuf::from)
}

impl Gate {
    /// Nothing has run.
    pub(crate) fn new(task: &'static str, only: Vec<String>) -> Result<Self> {
        let logs = target_dir().join("gate");
        sh::mkdir(&logs)?;
        Ok(Self {
            task,
            logs,
            only,
            done: Vec::new(),
        })
    }

    /// Runs one stage, unless others were asked for.
    pub(crate) fn stage(&mut self, name: &'static str, body: impl FnOnce(&mut Log) -> Result) {
        if !self.only.is_empty() && !self.only.iter().any(|only| only == name) {
            return;
        }
        let path = self.logs.join(format!("{}-{name}.log", self.task));
        println!("== {} {name}", self.task);
        let began = Instant::now();
        let result = Log::new(&path).and_then(|mut log| body(&mut log));
        let text = std::fs::read(&path).unwrap_or_default();
        let text = plain(&String::from_utf8_lossy(&text));
        let mut tally = count(&text);
        let failure = result.err().map(|failure| failure.to_string());
        match &failure {
            None => {
                for line in text.lines().filter(|line| matters(line)) {
                    println!("   {}", line.trim());
                }
            }
            Some(why) => {
                let lines: Vec<&str> = text.lines().collect();
                for line in &lines[lines.len().saturating_sub(TAIL)..] {
                    println!("   {line}");
                }
                for line in lines.iter().filter(|line| broke(line)) {
                    println!("failed: {}", line.trim());
                }
                println!("error: {why}\n   whole log: {}", path.display());
                // A stage that fails without a failed test is a failure all the same.
                tally.failed = tally.failed.max(1);
            }
        }
        let time = began.elapsed();
        let word = if failure.is_none() { "ok" } else { "FAILED" };
        println!(
            "== {} {name}: {word} in {:.0} s\n",
            self.task,
            time.as_secs_f64()
        );
        self.done.push(Done {
            name,
            time,
            tally,
            failure,
        });
    }

    /// The table, the skips, the sums; a failure when any stage failed.
    pub(crate) fn finish(self) -> Result {
        if self.done.is_empty() {
            fail!("{} has no such stage: {}", self.task, self.only.join(", "));
        }
        let mut rows = String::new();
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        println!(
            "   {:<14} {:>7}  {:<6} {:>6} {:>6} {:>7}",
            "stage", "time", "", "passed", "failed", "skipped"
        );
        for done in &self.done {
            let word = if done.failure.is_none() {
                "ok"
            } else {
                "FAILED"
            };
            let (seconds, tally) = (done.time.as_secs_f64(), &done.tally);
            let skips = tally.skips;
            println!(
                "   {:<14} {seconds:>5.0} s  {word:<6} {:>6} {:>6} {skips:>7}",
                done.name, tally.passed, tally.failed
            );
            rows += &format!(
                "{} {}\t{seconds:.0}\t{word}\t{}\t{}\t{skips}\n",
                self.task, done.name, tally.passed, tally.failed
            );
            passed += tally.passed;
            failed += tally.failed;
            skipped += skips;
        }
        sh::write(&self.logs.join(format!("{}.tsv", self.task)), rows)?;
        println!("\n{skipped} skipped");
        for reason in self.done.iter().flat_map(|done| &done.tally.skipped) {
            println!("   {reason}");
        }
        println!("\n{passed} passed, {failed} failed, {skipped} skipped");
        let stages: Vec<&str> = self
            .done
            .iter()
            .filter(|done| done.failure.is_some())
            .map(|done| done.name)
            .collect();
        if stages.is_empty() {
            return Ok(());
        }
        fail!("{} failed: {}", self.task, stages.join(", "))
    }
}

/// A stage's log.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// An empty one.
    fn new(path: &Path) -> Result<Self> {
        let file = File::create(path).about(path.display())?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    /// Runs a command with its output in the log.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result {
        self.say(&format!("$ {}", sh::shown(command)));
        let name = self.path.display();
        let open = || self.file.try_clone().about(&name);
        let mut limited = limited(command);
        limited.stdout(open()?).stderr(open()?);
        let status = limited.status().about(sh::shown(command))?;
        if status.code() == Some(124) && on_path("timeout") {
            fail!("{} was ended after {LIMIT}", sh::shown(command));
        }
        if !status.success() {
            fail!("{} ended with {status}", sh::shown(command));
        }
        Ok(())
    }

    /// Adds a line.
    pub(crate) fn say(&mut self, line: &str) {
        use std::io::Write;
        if let Err(error) = writeln!(self.file, "{line}") {
            eprintln!("warning: {}: {error}", self.path.display());
        }
    }

    /// All that is in it so far.
    pub(crate) fn text(&self) -> Result<String> {
        sh::read(&self.path)
    }

    /// Says that something could not be tested.
    pub(crate) fn skip(&mut self, why: &str) {
        self.say(&format!("SKIPPED: {why}"));
    }
}

/// The same command under a limit of time, where there is a `timeout`: a test that hangs is a
/// failure with a log, not a gate that never ends.
fn limited(command: &Command) -> Command {
    let mut words = vec![command.get_program()];
    words.extend(command.get_args());
    let mut limited = if on_path("timeout") {
        let mut limited = cmd("timeout", &["--kill-after=30s", LIMIT]);
        limited.args(words);
        limited
    } else {
        cmd(words[0], &words[1..])
    };
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        limited.current_dir(dir);
    }
    limited
}

/// Lines that the terminal sees of a stage that went well.
fn matters(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("SKIPPED: ")
        || line.starts_with("test result: ")
        || line.starts_with("ok  \t")
        || line.starts_with("Go ")
        || line.starts_with("Go's ")
        || line.starts_with("fixtures of ")
        || line.starts_with("without ")
        || line.contains(" Passed | ")
}

/// Lines that name a failed test, wherever they stand in the log.
fn broke(line: &str) -> bool {
    (line.starts_with("test ") && line.ends_with("... FAILED"))
        || line.trim_start().starts_with("--- FAIL: ")
        || line.contains("[FAIL] ")
}

/// Text without the terminal's colours.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 2..];
        let end = tail
            .find(|c: char| c.is_ascii_alphabetic())
            .map_or(tail.len(), |end| end + 1);
        rest = &tail[end..];
    }
    out + rest
}

/// What test runners said in a log: cargo's `test result:` lines, Go's `--- PASS:` (without `-v`
/// its `ok` lines, one a package), Ginkgo's `84 Passed | 0 Failed | …`, and lines `SKIPPED: why`.
fn count(log: &str) -> Tally {
    let mut tally = Tally::default();
    let (mut go, mut packages) = (Tally::default(), Tally::default());
    let mut cargo_skips = 0;
    let mut runner_skips = 0;
    let mut cargo = false;
    for line in log.lines() {
        if let Some(result) = line.strip_prefix("test result: ") {
            cargo = true;
            tally.passed += before(result, " passed");
            tally.failed += before(result, " failed");
            runner_skips += before(result, " ignored");
        } else if line.starts_with("--- PASS: ") {
            go.passed += 1;
        } else if line.starts_with("--- FAIL: ") {
            go.failed += 1;
        } else if line.starts_with("--- SKIP: ") {
            runner_skips += 1;
        } else if line.starts_with("ok  \t") {
            packages.passed += 1;
        } else if line.starts_with("FAIL\t") {
            packages.failed += 1;
        } else if line.contains(" Passed | ") {
            tally.passed += before(line, " Passed");
            tally.failed += before(line, " Failed");
            runner_skips += before(line, " Skipped") + before(line, " Pending");
        } else if line.trim_start().starts_with("SKIPPED: ") {
            tally.skipped.push(line.trim().to_owned());
            cargo_skips += u64::from(cargo);
        }
    }
    let go = if go.passed + go.failed > 0 {
        go
    } else {
        packages
    };
    tally.passed += go.passed;
    tally.failed += go.failed;
    // cargo has no word for a skipped test: those that said so passed without testing.
    let cargo_total = if cargo {
        tally.skipped.len() as u64
    } else {
        cargo_skips
    };
    tally.passed = tally.passed.saturating_sub(cargo_total);
    tally.skips = runner_skips.max(tally.skipped.len() as u64);
    if tally.skips > tally.skipped.len() as u64 {
        let more = tally.skips - tally.skipped.len() as u64;
        tally
            .skipped
            .push(format!("{more} by the test runner's own word"));
    }
    tally
}

/// The number right before `word`, or 0.
fn before(text: &str, word: &str) -> u64 {
    let Some(at) = text.find(word) else { return 0 };
    let digits = text[..at].rsplit(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{count, plain};

    #[test]
    fn cargo_is_counted_and_skips_have_not_passed() {
        let tally = count(
            "test result: ok. 6 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
             SKIPPED: no go\nSKIPPED: no cc\n\
             test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured\n",
        );
        assert_eq!((tally.passed, tally.failed, tally.skips), (7, 2, 2));
        assert_eq!(tally.skipped, ["SKIPPED: no go", "SKIPPED: no cc"]);
    }

    #[test]
    fn go_is_counted_by_test_or_by_package() {
        let verbose = count("--- PASS: TestA (0.00s)\n    --- PASS: TestA/x\nok  \tp\t0.1s\n");
        assert_eq!((verbose.passed, verbose.failed), (1, 0));
        let quiet = count("ok  \tp\t0.1s\nok  \tq\t(cached)\nFAIL\tr\t0.1s\nFAIL\n");
        assert_eq!((quiet.passed, quiet.failed), (2, 1));
    }

    #[test]
    fn ginkgo_is_counted_through_its_colours() {
        let log = "\u{1b}[38;5;10m\u{1b}[1mSUCCESS!\u{1b}[0m -- \u{1b}[38;5;10m\u{1b}[1m84 Passed\u{1b}[0m | \
                   \u{1b}[1m0 Failed\u{1b}[0m | \u{1b}[1m1 Pending\u{1b}[0m | \u{1b}[1m2 Skipped\u{1b}[0m\n";
        let tally = count(&plain(log));
        assert_eq!((tally.passed, tally.failed, tally.skips), (84, 0, 3));
    }
}
