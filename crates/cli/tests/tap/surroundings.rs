//! covtap and the programs it looks at.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};

use super::cache;

/// The versions of Go whose programs are used: the oldest and the newest.
pub(crate) const VERSIONS: [&str; 2] = ["1.21.13", "1.27.3"];

/// Prints a line past the test runner, which hides what a test says when it passes.
pub(crate) fn say(line: &str) {
    let line = format!("\n{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// A folder of a test's own, gone when it is dropped.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The programs of `cargo xtask tap-fixtures` that one version of Go built.
pub(crate) struct Programs {
    version: &'static str,
    home: PathBuf,
}

impl Programs {
    /// Those of `version`; without them, a line that says so and what to do.
    pub(crate) fn of(version: &'static str) -> Option<Self> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let home = repository.canonicalize().and_then(|r| cache::tap(&r));
        let home = home.unwrap().join(version);
        if home.is_dir() {
            return Some(Self { version, home });
        }
        say(&format!(
            "SKIPPED: inspect, tap and watch on Go {version}: no programs; run: cargo xtask \
             tap-fixtures {version}"
        ));
        None
    }

    /// A program: `static/drill`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Whether this Go is older than `1.minor`.
    pub(crate) fn before(&self, minor: u32) -> bool {
        let mine = self.version.split('.').nth(1).unwrap();
        mine.parse::<u32>().unwrap() < minor
    }

    /// What this Go's own tool says of a directory.
    pub(crate) fn covdata(&self, command: &str, directory: &Path) -> String {
        let tool = cache::covdata(self.version).unwrap();
        let argument = format!("-i={}", directory.display());
        let output = Command::new(tool)
            .args([command, &argument])
            .output()
            .unwrap();
        assert_code(&output, 0);
        stdout(&output).to_owned()
    }
}

/// The newest programs.
pub(crate) fn newest() -> Option<Programs> {
    Programs::of(VERSIONS[1])
}

/// A program that does what it is told on its standard input. See `fixtures/tap/console`.
pub(crate) struct Drill {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Drill {
    /// Starts one and waits until it takes commands.
    pub(crate) fn start(mut command: Command) -> Self {
        command
            .env_remove("GOCOVERDIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut drill = Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        assert_eq!(drill.line(), format!("ready {}", drill.pid()));
        drill
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Says one line and awaits its answer.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        let mut input = self.input.as_ref().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.line()
    }

    /// Lets it die in the way `line` says, and waits for it.
    pub(crate) fn die(mut self, line: &str) -> ExitStatus {
        self.ask(line);
        self.child.wait().unwrap()
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind; one that did not has waited already.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// covtap in `directory`, free of the surroundings of the tests.
pub(crate) fn covtap(directory: &Path, args: &[&str]) -> Command {
    let mut covtap = Command::new(env!("CARGO_BIN_EXE_covtap"));
    covtap
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("COVTAP_") || name.starts_with("GOCOVER") {
            covtap.env_remove(&*name);
        }
    }
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        covtap.env_remove(name);
    }
    covtap
}

/// Runs covtap to its end.
pub(crate) fn run(directory: &Path, args: &[&str]) -> Output {
    covtap(directory, args).output().unwrap()
}

/// Starts a program that takes commands.
pub(crate) fn drill(programs: &Programs, name: &str, directory: &Path) -> Drill {
    let mut command = Command::new(programs.path(name));
    command.current_dir(directory);
    Drill::start(command)
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Asserts the exit code, and shows what was said when it is another.
#[track_caller]
pub(crate) fn assert_code(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout:\n{}\nstderr:\n{}",
        stdout(output),
        stderr(output)
    );
}

/// Asserts that a text holds all of these.
#[track_caller]
pub(crate) fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}
