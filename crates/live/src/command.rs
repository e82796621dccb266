//! CMD: starting it, and reaping what ends below covtap.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use covtap_tap::life::Status;

/// CMD, while it runs and after.
pub(crate) struct Running {
    pid: Pid,
    status: Option<Status>,
}

/// Starts CMD with the run's coverage directory. Nothing else is changed for it: environment,
/// working directory, standard streams, process group and terminal are covtap's own.
pub(crate) fn start(command: &[OsString], coverage_directory: &Path) -> io::Result<Running> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
    let child = Command::new(program)
        .args(arguments)
        .env("GOCOVERDIR", coverage_directory)
        .spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
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
            // Not reaped yet, so the number is still its own; it may be dead all the same.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Reaps every child that has ended, CMD and adopted orphans alike, and tells `reaped`.
    pub(crate) fn reap(&mut self, mut reaped: impl FnMut(u32, Status)) {
        // It ends with ECHILD or with nobody to reap.
        while let Ok(Some((pid, raw))) = wait(WaitOptions::NOHANG) {
            let status = Status::from_wait(raw.as_raw());
            if pid == self.pid {
                self.status = Some(status);
            }
            reaped(pid.as_raw_nonzero().get().unsigned_abs(), status);
        }
    }
}
