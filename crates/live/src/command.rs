//! CMD: starting it, and what becomes of it.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;

use covtap_tap::life::Status;
use covtap_tap::watch::Watcher;
use rustix::process::{Pid, Signal, kill_process};

/// CMD, while it runs and after.
pub(crate) struct Running {
    pid: Pid,
    status: Option<Status>,
}

/// Starts CMD, with the run's coverage directory when files are collected. Nothing else is changed for
/// it: environment, working directory, standard streams, process group and terminal are covtap's own.
pub(crate) fn start(
    watcher: &mut Watcher,
    command: &[OsString],
    coverage_directory: Option<&Path>,
) -> io::Result<Running> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(directory) = coverage_directory {
        command.env("GOCOVERDIR", directory);
    }
    let pid = watcher.spawn(command)?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Ok(Running {
        pid: pid.ok_or_else(|| io::Error::other("its process id is out of range"))?,
        status: None,
    })
}

impl Running {
    /// How it ended, if it has.
    pub(crate) fn status(&self) -> Option<Status> {
        self.status
    }

    /// Sends it a signal, unless it has ended.
    pub(crate) fn send(&self, signal: Signal) {
        if self.status.is_none() {
            // It may be dead all the same, and then it wants no signal.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Takes note of children that have ended; CMD may be one of them.
    pub(crate) fn take(&mut self, ended: &[(u32, Status)]) {
        let own = self.pid.as_raw_nonzero().get().unsigned_abs();
        if let Some((_, status)) = ended.iter().find(|(pid, _)| *pid == own) {
            self.status.get_or_insert(*status);
        }
    }
}
