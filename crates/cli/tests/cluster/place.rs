//! A directory in which covtap runs beside a cluster, and what it left there.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use covtap_model::ledger::{Ledger, Target};
use rustix::process::{Pid, Signal, kill_process};

use crate::{covtap, output};

/// How long anything may take: beyond it the test fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Place {
    directory: tempfile::TempDir,
}

/// `covtap run` whose CMD waits until the test says that it is done.
pub(crate) struct Run {
    covtap: Child,
    /// Without it, CMD ends, and covtap after it: also when a test fails.
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    said: Vec<String>,
    reader: Option<JoinHandle<()>>,
    _alone: MutexGuard<'static, ()>,
}

/// One covtap at a time looks into the nodes: a process has one tracer.
static ALONE: Mutex<()> = Mutex::new(());

/// Waits until nobody else looks into the nodes.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    // A test that failed has said so itself.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many functions the service has that answer or count: the last ones of `main.go`.
pub(crate) const HANDLERS: usize = 20;

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        }
    }

    /// One that other users may enter, wherever this was built.
    pub(crate) fn for_others() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts `covtap run` with these flags.
    pub(crate) fn run(&self, flags: &[&str]) -> Run {
        self.run_as(Command::new(env!("CARGO_BIN_EXE_covtap")), flags)
    }

    /// The same, by a command that ends in covtap's own program.
    pub(crate) fn run_as(&self, mut command: Command, flags: &[&str]) -> Run {
        let alone = alone();
        self.prepare(&mut command);
        command
            .args(["run", "--root=."])
            .args(flags)
            .args(["--", "sh", "-c", "read end"])
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
            input: covtap.stdin.take(),
            covtap,
            lines,
            said: Vec::new(),
            reader: Some(reader),
            _alone: alone,
        }
    }

    /// Has covtap run here, with no settings of anybody else.
    pub(crate) fn prepare(&self, covtap: &mut Command) {
        covtap.current_dir(self.path());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("COVTAP_") || name.starts_with("GOCOVER") {
                covtap.env_remove(&*name);
            }
        }
        covtap.env("COVTAP_STORE", self.path().join("store"));
    }

    /// The folder of the run that ended last.
    pub(crate) fn latest(&self) -> PathBuf {
        self.path().join("store/latest").canonicalize().unwrap()
    }

    pub(crate) fn ledger(&self) -> Ledger {
        serde_json::from_slice(&fs::read(self.latest().join("ledger.json")).unwrap()).unwrap()
    }

    /// How often each handler of one target was entered.
    pub(crate) fn entered(&self, target: &Target) -> Vec<u64> {
        let file = self.path().join("profile");
        let mut textfmt = covtap(self);
        textfmt.args(["covdata", "textfmt"]);
        textfmt.arg(format!("-i={}", self.alone(target).display()));
        output(textfmt.arg(format!("-o={}", file.display())));
        handlers(&file)
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

/// How often each handler was entered, as a text profile says.
pub(crate) fn handlers(profile: &Path) -> Vec<u64> {
    // Each handler is a line of its own, in their order.
    let text = fs::read_to_string(profile).unwrap();
    let mut lines: Vec<(u64, u64)> = text
        .lines()
        .filter_map(|line| {
            let (place, count) = line.rsplit_once("/main.go:")?.1.rsplit_once(' ')?;
            let line = place.split('.').next()?;
            Some((line.parse().unwrap(), count.parse().unwrap()))
        })
        .collect();
    lines.sort_unstable();
    let handlers = lines.split_off(lines.len() - HANDLERS);
    handlers.into_iter().map(|(_, count)| count).collect()
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

    /// Waits until it has said lines with the words of each of these, in any order.
    pub(crate) fn says_all(&mut self, lines: &[&[&str]]) {
        let has = |said: &str, words: &[&str]| words.iter().all(|word| said.contains(word));
        let mut open: Vec<_> = lines.to_vec();
        while !open.is_empty() {
            let line = self.says(&[]);
            open.retain(|words| !has(&line, words));
        }
    }

    /// Kills covtap with -9, whatever it is at.
    pub(crate) fn kill(mut self) {
        self.covtap.kill().unwrap();
    }

    /// Sends covtap a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.covtap), signal).unwrap();
    }

    /// Tells CMD to end, and waits for covtap. Returns its status and all that it said.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        self.end_command();
        self.ended()
    }

    /// Tells CMD to end.
    pub(crate) fn end_command(&mut self) {
        // CMD may have been ended.
        let _ = self.input.as_mut().unwrap().write_all(b"end\n");
    }

    /// Waits for covtap. Returns its status and all that it said.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let status = self.covtap.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        self.said.extend(self.lines.try_iter());
        (status, std::mem::take(&mut self.said).join("\n"))
    }
}

/// The next test begins when this covtap has ended.
impl Drop for Run {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.covtap.wait();
    }
}
