//! Recorded truth: small Go programs of our own, built and run by each toolchain, with what **that
//! toolchain's own** `go tool covdata` says of the files they left.
//!
//! ```text
//! <cache>/fixtures/<recipe>/<go version>/
//!   bin/<program>                    what was run
//!   <case>/case.json                 the checks
//!   <case>/dir1/ dir2/ dir3/         what the processes wrote
//!   <case>/expected/<check>.txt      what Go printed
//!   <case>/expected/<check>.profile  what Go wrote with -o=FILE
//!   <case>/expected/<check>/         what Go says of the directory that it wrote with -o=DIR
//! ```
//!
//! A check in `case.json` has a `name`, the `args` of the command without `-o`, and any of `stdout`,
//! `profile` and `directory` (paths of what is expected, relative to the case), or `fails: true`.
//! `warned: true` says that Go left functions out and went on (Go 1.24 writes such under
//! `-coverpkg=all`).
//! A `directory` holds `textfmt.txt`, `func.txt`, `debugdump.txt` (without the command line and the
//! names of counter files) and `metas.txt` (names of the covmeta files, sorted).
//!
//! The recipe's hash covers the programs (`fixtures/go`) and this file, so that a change of either
//! makes new fixtures and leaves the old ones to old checkouts.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::cache;
use crate::sh::{self, About, Result, cmd, fail};
use crate::toolchains::{self, Toolchain};

/// One program to build.
struct Program {
    /// Name of the file in `bin/`.
    name: String,
    /// Folder in `fixtures/go`.
    source: &'static str,
    /// Arguments of `go` before `-o`.
    build: Vec<String>,
    /// What to build.
    package: &'static str,
}

/// One process: the directory it writes to, the program, its arguments.
type Process = (&'static str, String, &'static [&'static str]);

/// One folder of fixtures.
struct Case {
    /// Its name.
    name: String,
    /// In the order in which they run.
    processes: Vec<Process>,
    /// Sets of input directories for the commands that print.
    inputs: &'static [&'static str],
    /// Patterns for `-pkg`.
    patterns: &'static [&'static str],
    /// Sets of input directories for `merge` and `merge -pcombine`.
    merges: &'static [&'static str],
    /// For `subtract` (two directories) and `intersect`.
    ///
    /// Never directories that share several pods: Go then stops with "decreasing dir index,
    /// internal error".
    sets: &'static [&'static str],
    /// Sets of input directories whose modes differ: Go refuses `textfmt` and relaxes the rest.
    clashes: &'static [&'static str],
}

/// The modes in which everything is built.
const MODES: [&str; 3] = ["set", "count", "atomic"];

/// Everything to build.
fn programs() -> Vec<Program> {
    let program = |name: String, source, mode: &str, more: &[&str], package| {
        let mut build: Vec<String> = vec!["build".into(), "-cover".into()];
        build.push(format!("-covermode={mode}"));
        build.extend(more.iter().map(ToString::to_string));
        Program {
            name,
            source,
            build,
            package,
        }
    };
    let mut all = Vec::new();
    for mode in MODES {
        let named = |name: &str| format!("{name}-{mode}");
        all.push(program(
            named("shapes"),
            "shapes",
            mode,
            &["-trimpath"],
            "./cmd/shapes",
        ));
        all.push(program(
            named("alpha"),
            "variants",
            mode,
            &["-trimpath"],
            "./cmd/alpha",
        ));
    }
    // Without -trimpath and by file name: the package is `command-line-arguments`, its files have
    // absolute names.
    all.push(program(
        "shapes-file".into(),
        "shapes",
        "set",
        &[],
        "./cmd/shapes/main.go",
    ));
    all.push(program(
        "beta-atomic".into(),
        "variants",
        "atomic",
        &["-trimpath"],
        "./cmd/beta",
    ));
    all.push(program(
        "alpha-skew".into(),
        "variants",
        "atomic",
        &["-trimpath", "-tags=skew"],
        "./cmd/alpha",
    ));
    // The runtime too: packages with hard-coded numbers.
    all.push(program(
        "tiny-all".into(),
        "tiny",
        "atomic",
        &["-trimpath", "-coverpkg=all"],
        ".",
    ));
    all.push(Program {
        name: "words.test".into(),
        source: "shapes",
        build: ["test", "-c", "-cover", "-covermode=count", "-trimpath"]
            .map(String::from)
            .to_vec(),
        package: "./words",
    });
    all
}

/// Everything to run and to ask.
fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for mode in MODES {
        let shapes = format!("shapes-{mode}");
        all.push(Case {
            name: shapes.clone(),
            processes: vec![
                ("dir1", shapes.clone(), &["area", "generic", "loop"]),
                ("dir1", shapes.clone(), &["many", "directive", "words"]),
                ("dir1", shapes.clone(), &["no-such-word"]),
                ("dir2", shapes.clone(), &["empty", "closure", "area"]),
                ("dir3", shapes, &["area", "many"]),
            ],
            inputs: &["dir1", "dir1,dir2,dir3"],
            patterns: &[
                "example.org/shapes/shape",
                "example.org/shapes/...",
                "example.org/shapes/shape,example.org/shapes/order",
                "...e",
                "example.org/nowhere",
            ],
            merges: &["dir1", "dir1,dir2,dir3"],
            sets: &["dir1,dir2", "dir2,dir1", "dir1,dir3", "dir1,dir2,dir3"],
            clashes: &[],
        });
    }
    all.push(Case {
        name: "by-file-name".into(),
        processes: vec![
            ("dir1", "shapes-file".into(), &["area"]),
            ("dir2", "shapes-file".into(), &["generic"]),
        ],
        inputs: &["dir1", "dir1,dir2"],
        patterns: &["command-line-arguments"],
        merges: &["dir1,dir2"],
        sets: &["dir1,dir2"],
        clashes: &[],
    });
    all.push(Case {
        name: "test-binary".into(),
        processes: vec![
            (
                "dir1",
                "words.test".into(),
                &["-test.run=Größe", "-test.gocoverdir=dir1"],
            ),
            ("dir2", "words.test".into(), &["-test.gocoverdir=dir2"]),
        ],
        inputs: &["dir1", "dir1,dir2"],
        patterns: &["example.org/shapes/words"],
        merges: &["dir1,dir2"],
        sets: &["dir2,dir1"],
        clashes: &[],
    });
    all.push(Case {
        name: "coverpkg-all".into(),
        processes: vec![
            ("dir1", "tiny-all".into(), &[]),
            ("dir2", "tiny-all".into(), &["a", "b", "c"]),
        ],
        inputs: &["dir1", "dir1,dir2"],
        patterns: &["runtime", "internal/...", "example.org/tiny,runtime/..."],
        merges: &["dir1,dir2"],
        sets: &["dir2,dir1"],
        clashes: &[],
    });
    all.push(Case {
        name: "several-programs".into(),
        processes: vec![
            ("dir1", "alpha-atomic".into(), &[]),
            ("dir1", "alpha-atomic".into(), &["shared"]),
            ("dir1", "beta-atomic".into(), &["x"]),
            ("dir2", "beta-atomic".into(), &["x", "y", "z"]),
            ("dir2", "alpha-atomic".into(), &[""]),
        ],
        inputs: &["dir1", "dir1,dir2"],
        patterns: &[
            "example.org/variants/shared",
            "example.org/variants/only...",
        ],
        merges: &["dir1", "dir1,dir2"],
        sets: &[],
        clashes: &[],
    });
    all.push(Case {
        name: "disjoint-programs".into(),
        processes: vec![
            ("dir1", "alpha-atomic".into(), &[]),
            ("dir2", "beta-atomic".into(), &["x"]),
        ],
        inputs: &["dir1,dir2", "dir2,dir1"],
        patterns: &["example.org/variants/shared"],
        merges: &["dir1,dir2"],
        sets: &["dir1,dir2"],
        clashes: &[],
    });
    all.push(Case {
        name: "version-skew".into(),
        processes: vec![
            ("dir1", "alpha-atomic".into(), &[]),
            ("dir1", "alpha-skew".into(), &[]),
            ("dir2", "alpha-skew".into(), &["shared"]),
        ],
        inputs: &["dir1", "dir2", "dir1,dir2"],
        patterns: &["example.org/variants/shared"],
        merges: &["dir1", "dir1,dir2"],
        sets: &[],
        clashes: &[],
    });
    all.push(Case {
        name: "mode-clash".into(),
        processes: vec![
            ("dir1", "alpha-set".into(), &[]),
            ("dir2", "alpha-atomic".into(), &["shared"]),
            ("dir3", "alpha-count".into(), &[""]),
        ],
        inputs: &["dir1", "dir2"],
        patterns: &[],
        merges: &[],
        sets: &[],
        clashes: &["dir1,dir2", "dir2,dir3"],
    });
    all
}

/// The task.
pub(crate) fn task(args: &[String]) -> Result {
    let again = args.iter().any(|arg| arg == "--check");
    let mut versions: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .filter(|arg| *arg != "--check")
        .collect();
    if versions.is_empty() {
        versions = toolchains::SOME.to_vec();
    }
    for version in versions {
        let home = get(version)?;
        println!("go {version}  {}", home.display());
        if again {
            verify(&toolchains::get(version)?, &home)?;
        }
    }
    Ok(())
}

/// The folder of this version's fixtures; made first when it is not there.
pub(crate) fn get(version: &str) -> Result<PathBuf> {
    let repository = crate::repository();
    let folder = cache::fixtures(&repository).about("the recipe in fixtures/go")?;
    let home = folder.join(version);
    if home.is_dir() {
        return Ok(home);
    }
    let toolchain = toolchains::get(version)?;
    let temporary = folder.join(format!(".{version}.{}", std::process::id()));
    sh::rmdir(&temporary)?;
    let bin = temporary.join("bin");
    sh::mkdir(&bin)?;
    eprintln!("making fixtures with Go {version} …");
    for program in programs() {
        build(&toolchain, &repository, &program, &bin)?;
    }
    for case in cases() {
        record(&toolchain, &case, &bin, &temporary.join(&case.name))?;
    }
    sh::publish(&temporary, &home)?;
    Ok(home)
}

/// Builds one program.
fn build(toolchain: &Toolchain, repository: &Path, program: &Program, bin: &Path) -> Result {
    let out = bin.join(&program.name);
    let mut args: Vec<&str> = program.build.iter().map(String::as_str).collect();
    let out = out.to_string_lossy();
    args.extend(["-o", &out, program.package]);
    let source = repository.join("fixtures/go").join(program.source);
    sh::quiet(&mut toolchain.go(&source, &args)?)?;
    Ok(())
}

/// Runs the processes of a case and asks Go about what they left.
fn record(toolchain: &Toolchain, case: &Case, bin: &Path, home: &Path) -> Result {
    for (dir, program, args) in &case.processes {
        let dir = home.join(dir);
        sh::mkdir(&dir)?;
        // The exit code is the program's business: one of them fails on purpose.
        let out = sh::output(
            cmd(bin.join(program), args)
                .arg0(program)
                .current_dir(home)
                .env("GOCOVERDIR", &dir),
        )?;
        // Go 1.24 and others complain of their own table of packages and write all the same.
        let said = String::from_utf8_lossy(&out.stderr);
        let nothing = said.contains("emit failed") || said.contains("GOCOVERDIR");
        if nothing || out.status.code().is_none() {
            fail!("{program} {args:?} ended with {}: {said}", out.status);
        }
    }
    sh::mkdir(&home.join("expected"))?;
    let mut checks = Vec::new();
    for plan in plans(case) {
        checks.push(plan.record(toolchain, home)?);
    }
    let text = serde_json::to_string_pretty(&json!({
        "schema": "covtap.fixture/1",
        "go": toolchain.version,
        "case": case.name,
        "checks": checks,
    }))
    .about("case.json")?;
    sh::write(&home.join("case.json"), text)
}

/// What a command gives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gives {
    /// Text on standard output.
    Stdout,
    /// Text in the file of `-o`, and perhaps on standard output too.
    Profile,
    /// A directory.
    Directory,
    /// An error.
    Failure,
}

/// One question.
struct Plan {
    name: String,
    args: Vec<String>,
    gives: Gives,
}

/// All questions of a case.
fn plans(case: &Case) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut add = |gives, command: &str, dirs: &str, more: &[&str]| {
        let mut args = vec![command.to_owned(), format!("-i={dirs}")];
        args.extend(more.iter().map(ToString::to_string));
        let mut name = format!("{:02}-{command}", all.len());
        for word in more {
            let flag = word
                .trim_start_matches('-')
                .split('=')
                .next()
                .unwrap_or(word);
            name = format!("{name}-{flag}");
        }
        all.push(Plan { name, args, gives });
    };
    for dirs in case.inputs {
        for command in ["percent", "func", "pkglist", "debugdump"] {
            add(Gives::Stdout, command, dirs, &[]);
        }
        add(Gives::Stdout, "debugdump", dirs, &["-live"]);
        add(Gives::Profile, "textfmt", dirs, &[]);
        add(Gives::Profile, "percent", dirs, &[]);
    }
    let last = case.inputs.last().copied().unwrap_or("dir1");
    for pattern in case.patterns {
        let pkg = format!("-pkg={pattern}");
        for command in ["percent", "func", "pkglist", "debugdump"] {
            add(Gives::Stdout, command, last, &[&pkg]);
        }
        add(Gives::Profile, "textfmt", last, &[&pkg]);
        for dirs in case.merges {
            add(Gives::Directory, "merge", dirs, &[&pkg]);
        }
    }
    for dirs in case.merges {
        add(Gives::Directory, "merge", dirs, &[]);
        add(Gives::Directory, "merge", dirs, &["-pcombine"]);
        if let Some(pattern) = case.patterns.first() {
            let pkg = format!("-pkg={pattern}");
            add(Gives::Directory, "merge", dirs, &["-pcombine", &pkg]);
        }
    }
    for dirs in case.sets {
        let mut more = vec![vec![]];
        let pkg = case
            .patterns
            .first()
            .map(|pattern| format!("-pkg={pattern}"));
        more.extend(pkg.iter().map(|pkg| vec![pkg.as_str()]));
        for more in more {
            if dirs.split(',').count() == 2 {
                add(Gives::Directory, "subtract", dirs, &more);
            }
            add(Gives::Directory, "intersect", dirs, &more);
        }
    }
    for dirs in case.clashes {
        for command in ["percent", "func", "pkglist", "debugdump"] {
            add(Gives::Stdout, command, dirs, &[]);
        }
        add(Gives::Failure, "textfmt", dirs, &[]);
        add(Gives::Directory, "merge", dirs, &["-pcombine"]);
    }
    all
}

impl Plan {
    /// Asks Go, keeps the answer, and returns the check for `case.json`.
    fn record(&self, toolchain: &Toolchain, home: &Path) -> Result<Value> {
        let expected = format!("expected/{}", self.name);
        let mut check = json!({ "name": self.name, "args": self.args });
        let mut command = cmd(&toolchain.covdata, &self.args);
        command.current_dir(home);
        match self.gives {
            Gives::Failure => {
                let out = sh::output(&mut command)?;
                if out.status.success() {
                    fail!("{}: Go now accepts it", sh::shown(&command));
                }
                check["fails"] = true.into();
                return Ok(check);
            }
            Gives::Stdout => {}
            Gives::Profile => {
                let profile = format!("{expected}.profile");
                command.arg(format!("-o={profile}"));
                check["profile"] = profile.into();
            }
            Gives::Directory => {
                let out = tidy(&home.join(".out"))?;
                command.arg(format!("-o={}", out.display()));
                ask(&mut command, &mut check)?;
                describe(toolchain, &out, &home.join(&expected))?;
                sh::rmdir(&out)?;
                check["directory"] = expected.into();
                return Ok(check);
            }
        }
        let stdout = ask(&mut command, &mut check)?;
        let path = format!("{expected}.txt");
        sh::write(&home.join(&path), stdout)?;
        check["stdout"] = path.into();
        Ok(check)
    }
}

/// Runs Go's tool and returns what it printed; notes in the check when it left functions out.
fn ask(command: &mut Command, check: &mut Value) -> Result<Vec<u8>> {
    let out = sh::output(command)?;
    let said = String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        fail!("{} ended with {}: {said}", sh::shown(command), out.status);
    }
    if said.contains(", ignored") {
        check["warned"] = true.into();
    }
    Ok(out.stdout)
}

/// An empty directory.
fn tidy(path: &Path) -> Result<PathBuf> {
    sh::rmdir(path)?;
    sh::mkdir(path)?;
    Ok(path.to_path_buf())
}

/// Keeps what Go says of the coverage directory `dir` in the folder `into`.
fn describe(toolchain: &Toolchain, dir: &Path, into: &Path) -> Result {
    sh::mkdir(into)?;
    let input = format!("-i={}", dir.display());
    let covdata = |args: &[&str]| -> Command { cmd(&toolchain.covdata, args) };
    let profile = into.join("textfmt.txt");
    sh::quiet(covdata(&["textfmt", &input]).arg(format!("-o={}", profile.display())))?;
    sh::write(
        &into.join("func.txt"),
        sh::quiet(&mut covdata(&["func", &input]))?,
    )?;
    let dump = sh::quiet(&mut covdata(&["debugdump", &input]))?;
    sh::write(&into.join("debugdump.txt"), anonymous(&dump))?;
    let mut metas = Vec::new();
    for entry in std::fs::read_dir(dir).about(dir.display())? {
        let name = entry.about(dir.display())?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("covmeta.") {
            metas.push(format!("{name}\n"));
        }
    }
    metas.sort();
    sh::write(&into.join("metas.txt"), metas.concat())
}

/// A dump without what differs between two equal directories: the command line and the names of
/// counter files.
fn anonymous(dump: &str) -> String {
    let mut out = String::new();
    for line in dump.lines().filter(|line| !line.starts_with(" *")) {
        let line = match line.strip_prefix("data file ") {
            Some(rest) => format!("data file{}", rest.find(' ').map_or("", |at| &rest[at..])),
            None => line.to_owned(),
        };
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// Asks Go again and compares: whether the answers are stable, and the cache sound.
fn verify(toolchain: &Toolchain, home: &Path) -> Result {
    let mut differ = Vec::new();
    let mut count = 0;
    for case in cases() {
        let kept = home.join(&case.name);
        let copy = tidy(&home.join(format!(".check.{}", std::process::id())))?;
        for dir in ["dir1", "dir2", "dir3"] {
            if kept.join(dir).is_dir() {
                std::os::unix::fs::symlink(kept.join(dir), copy.join(dir)).about(dir)?;
            }
        }
        sh::mkdir(&copy.join("expected"))?;
        for plan in plans(&case) {
            plan.record(toolchain, &copy)?;
            count += 1;
        }
        compare(&copy.join("expected"), &kept.join("expected"), &mut differ)?;
        sh::rmdir(&copy)?;
    }
    if differ.is_empty() {
        println!(
            "go {}  {count} answers are the same again",
            toolchain.version
        );
        return Ok(());
    }
    fail!("these differ when asked again:\n{}", differ.join("\n"))
}

/// Names the files under `new` that differ from those under `old`.
fn compare(new: &Path, old: &Path, differ: &mut Vec<String>) -> Result {
    for entry in std::fs::read_dir(new).about(new.display())? {
        let path = entry.about(new.display())?.path();
        let other = old.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            compare(&path, &other, differ)?;
        } else {
            // The header of a dump names the program that made it, which is the same here.
            let same = std::fs::read(&path).about(path.display())?
                == std::fs::read(&other).about(other.display())?;
            if !same {
                differ.push(other.display().to_string());
            }
        }
    }
    Ok(())
}
