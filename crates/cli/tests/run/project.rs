//! A project with a service, and what a run of covtap in it left.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use covtap_model::ledger::{Ledger, Outcome, Target};
use covtap_model::run::Run;

/// What `svc MODE [PIPE]` does; `lib` is its second package.
const SERVICE: &str = r#"package main

import (
	"io"
	"os"
	"os/signal"
	"runtime/coverage"
	"syscall"
	"time"

	"example.org/shop/lib"
)

func ready(pipe string) {
	time.Sleep(250 * time.Millisecond)
	os.WriteFile(pipe, []byte("ready\n"), 0o600)
}

func main() {
	lib.Used()
	asked := make(chan os.Signal, 1)
	switch os.Args[1] {
	case "quick":
	case "serve": // until SIGTERM or SIGINT
		signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT)
		ready(os.Args[2])
		<-asked
	case "hang": // without a handler
		ready(os.Args[2])
		time.Sleep(time.Hour)
	case "stubborn": // until SIGKILL
		signal.Ignore(syscall.SIGTERM)
		ready(os.Args[2])
		time.Sleep(time.Hour)
	case "until-eof": // until nobody holds the pipe
		pipe, _ := os.Open(os.Args[2])
		time.Sleep(250 * time.Millisecond)
		io.ReadAll(pipe)
	case "panic":
		time.Sleep(250 * time.Millisecond)
		panic("on purpose")
	case "snapshots": // writes its counters itself before it writes them at its end
		coverage.WriteCountersDir(os.Getenv("GOCOVERDIR"))
		coverage.WriteCountersDir(os.Getenv("GOCOVERDIR"))
	case "clears": // the same, and begins anew in between
		coverage.WriteCountersDir(os.Getenv("GOCOVERDIR"))
		coverage.ClearCounters()
		lib.Used()
	case "becomes": // another program
		time.Sleep(50 * time.Millisecond)
		syscall.Exec(os.Args[2], os.Args[2:], os.Environ())
	case "live":
		time.Sleep(250 * time.Millisecond)
	}
}
"#;

const LIBRARY: &str = "package lib

func Used() int { return 1 }

func Unused() int { return 2 }
";

const TEST: &str = "package lib

import (
	\"testing\"
	\"time\"
)

func TestUsed(t *testing.T) {
	time.Sleep(250 * time.Millisecond)
	if Used() != 1 {
		t.Fatal(\"not one\")
	}
}
";

/// The module with its binaries, built once for all tests: `svc` with coverage, whose counters it may
/// clear (that needs mode atomic), and `plain` without.
fn module() -> Option<&'static Path> {
    static MODULE: OnceLock<Option<PathBuf>> = OnceLock::new();
    MODULE.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    if Command::new("go").arg("version").output().is_err() {
        // Past the test runner, which hides what a passing test prints.
        let line = b"SKIPPED: no go on PATH, services are not built\n";
        io::stderr().write_all(line).unwrap();
        return None;
    }
    let dir =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("shop-{}", std::process::id()));
    for (name, text) in [
        ("go.mod", "module example.org/shop\n\ngo 1.21\n"),
        ("cmd/svc/main.go", SERVICE),
        ("lib/lib.go", LIBRARY),
        ("lib/lib_test.go", TEST),
    ] {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    for (flag, name) in [("-covermode=atomic", "svc"), ("-cover=false", "plain")] {
        let status = Command::new("go")
            .args(["build", flag, "-o", name, "./cmd/svc"])
            .current_dir(&dir)
            .env("GOFLAGS", "-buildvcs=false")
            .status()
            .unwrap();
        assert!(status.success());
    }
    Some(dir)
}

/// A directory with the module's sources and binaries.
pub(crate) struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    /// A new one; `None` when there is no Go.
    pub(crate) fn new() -> Option<Self> {
        let module = module()?;
        let project = Self::empty();
        for name in [
            "go.mod",
            "cmd/svc/main.go",
            "lib/lib.go",
            "lib/lib_test.go",
            "svc",
            "plain",
        ] {
            let to = project.path().join(name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(module.join(name), to).unwrap();
        }
        Some(project)
    }

    /// A directory without anything.
    pub(crate) fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// covtap, in this directory, free of the surroundings of the tests.
    pub(crate) fn covtap(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
        command
            .args(args)
            .current_dir(self.path())
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("COVTAP_") || name.starts_with("GOCOVER") {
                command.env_remove(&*name);
            }
        }
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
            command.env_remove(name);
        }
        // Not the terminal's foreground group: keys pressed during the tests are not meant for it.
        command.env("GOFLAGS", "-buildvcs=false").process_group(0);
        // Whatever else begins on this machine meanwhile is not the test's.
        command.env("COVTAP_LOCAL", "true");
        command
    }

    /// Runs covtap to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.covtap(args).output().unwrap()
    }

    /// `covtap run FLAGS -- sh -c SCRIPT`, to its end. `$r` names a pipe that is there.
    pub(crate) fn script(&self, flags: &[&str], script: &str) -> Output {
        let script = format!("r=ready-$$; mkfifo $r; {script}");
        let args: Vec<&str> = ["run"]
            .iter()
            .chain(flags)
            .chain(&["--", "sh", "-c", &script])
            .copied()
            .collect();
        self.run(&args)
    }

    /// Starts covtap and waits until its service has written to the pipe `ready`.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        let pipe = self.path().join("ready");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let child = self
            .covtap(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        fs::File::open(&pipe)
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        fs::remove_file(&pipe).unwrap();
        assert_eq!(said, "ready\n");
        child
    }

    /// The folder of the latest run.
    pub(crate) fn latest(&self) -> PathBuf {
        self.path().join(".covtap/latest").canonicalize().unwrap()
    }

    pub(crate) fn ledger(&self) -> Ledger {
        serde_json::from_slice(&fs::read(self.latest().join("ledger.json")).unwrap()).unwrap()
    }

    pub(crate) fn record(&self) -> Run {
        serde_json::from_slice(&fs::read(self.latest().join("run.json")).unwrap()).unwrap()
    }

    /// The only row of the latest run.
    pub(crate) fn only_row(&self) -> Target {
        let ledger = self.ledger();
        let [row] = ledger.targets.as_slice() else {
            panic!("one row, not {:#?}", ledger.targets);
        };
        row.clone()
    }
}

/// Why a row is not merged.
pub(crate) fn because(target: &Target) -> &str {
    match &target.outcome {
        Outcome::Merged => "merged",
        Outcome::Listed { because }
        | Outcome::Missing { because }
        | Outcome::Partial { because }
        | Outcome::Running { because } => because,
    }
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

/// Ends a process that a test left on purpose.
pub(crate) fn kill(target: &Target) {
    let pid = rustix::process::Pid::from_raw(target.pid.unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
