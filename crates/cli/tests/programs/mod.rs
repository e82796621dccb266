//! The programs of `fixtures/tap`, as `cargo xtask tap-fixtures` builds them, and runs of covtap over
//! them.

#![allow(dead_code, reason = "each test uses its part")]

#[path = "../../../../xtask/src/cache.rs"]
mod cache;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use covtap_model::coverage::Coverage;
use covtap_model::ledger::{Ledger, Outcome, Target};

/// The Go that built them.
pub(crate) const GO: &str = "1.27.3";

/// Prints a line past the test runner, which hides what a test says when it passes.
pub(crate) fn say(line: &str) {
    let line = format!("\n{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The path of a program, `static/drill`; without it, a line that says so and what to do.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let home = cache::tap(&repository.canonicalize().unwrap()).unwrap();
    let path = home.join(GO).join(name);
    if path.is_file() {
        return Some(path);
    }
    say(&format!(
        "SKIPPED: {name} of Go {GO}: it is not built; run: cargo xtask tap-fixtures {GO}"
    ));
    None
}

/// A directory in which covtap runs.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// A new one.
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Lets `command` work here, free of the surroundings of the tests.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command.current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("COVTAP_") || name.starts_with("GOCOVER") {
                command.env_remove(&*name);
            }
        }
        command.env("COVTAP_STORE", self.path().join("store"));
        // Whatever else begins on this machine meanwhile is not the test's.
        command.env("COVTAP_LOCAL", "true");
    }

    /// `covtap run` without files, with these flags and this command.
    pub(crate) fn covtap(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
        // Not this repository: its programs are expected to be instrumented.
        command
            .args(["run", "--route=tap,exit", "--root=."])
            .args(flags);
        self.prepare(&mut command);
        command
    }

    fn latest(&self) -> PathBuf {
        self.path().join("store/latest").canonicalize().unwrap()
    }

    pub(crate) fn ledger(&self) -> Ledger {
        serde_json::from_slice(&fs::read(self.latest().join("ledger.json")).unwrap()).unwrap()
    }

    /// The rows of a program.
    pub(crate) fn rows(&self, workload: &str) -> Vec<Target> {
        let mut rows = self.ledger().targets;
        rows.retain(|row| row.workload == workload);
        rows
    }

    pub(crate) fn coverage(&self) -> Coverage {
        serde_json::from_slice(&fs::read(self.latest().join("coverage.json")).unwrap()).unwrap()
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

/// What a command said, for the message of a failure.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}\nstdout:\n{}\nstderr:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
