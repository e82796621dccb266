//! A directory in which covtap runs beside a cluster, and what it left there.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use covtap_model::ledger::{Ledger, Target};

/// How long anything may take: beyond it the test fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Place {
    directory: tempfile::TempDir,
}

/// `covtap run` whose CMD waits until the test says that it is done.
pub(crate) struct Run {
    covtap: Child,
    /// Without it, CMD ends, and covtap after it: also when a test fails.
    input: ChildStdin,
    lines: Receiver<String>,
    said: Vec<String>,
    reader: JoinHandle<()>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts `covtap run` with these flags.
    pub(crate) fn run(&self, flags: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
        command
            .args(["run", "--root=."])
            .args(flags)
            .args(["--", "sh", "-c", "read end"])
            .current_dir(self.path());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("COVTAP_") || name.starts_with("GOCOVER") {
                command.env_remove(&*name);
            }
        }
        command
            .env("COVTAP_STORE", self.path().join("store"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut covtap = command.spawn().unwrap();
        let errors = covtap.stderr.take().unwrap();
        let (send, lines) = channel();
        let reader = thread::spawn(move || {
            for line in BufReader::new(errors).lines() {
                // The test may have failed already.
                let _ = send.send(line.unwrap());
            }
        });
        Run {
            input: covtap.stdin.take().unwrap(),
            covtap,
            lines,
            said: Vec::new(),
            reader,
        }
    }

    fn latest(&self) -> PathBuf {
        self.path().join("store/latest").canonicalize().unwrap()
    }

    pub(crate) fn ledger(&self) -> Ledger {
        serde_json::from_slice(&fs::read(self.latest().join("ledger.json")).unwrap()).unwrap()
    }

    /// The counter file of one target, in a directory of its own with its meta-data.
    pub(crate) fn alone(&self, target: &Target) -> PathBuf {
        let build = target.build.as_deref().unwrap();
        let file = target.state.as_ref().unwrap().file.as_deref().unwrap();
        let from = self.latest().join("raw").join(build);
        let to = self.path().join("alone").join(file);
        fs::create_dir_all(&to).unwrap();
        for name in [&format!("covmeta.{build}"), file] {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
        to
    }
}

impl Run {
    /// Waits until it says a line with all of these words.
    pub(crate) fn says(&mut self, words: &[&str]) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
                panic!(
                    "{error}: nothing with {words:?} in\n{}",
                    self.said.join("\n")
                )
            });
            self.said.push(line.clone());
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    /// Tells CMD to end, and waits for covtap. Returns its status and all that it said.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        self.input.write_all(b"end\n").unwrap();
        let status = self.covtap.wait().unwrap();
        self.reader.join().unwrap();
        self.said.extend(self.lines.try_iter());
        (status, self.said.join("\n"))
    }
}
