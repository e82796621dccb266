//! Where there is no `/proc`, nothing is watched.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{WaitOptions, wait};
use signal_hook::consts::SIGCHLD;
use signal_hook::low_level::{pipe, unregister};

use super::Options;
use crate::cgroup::ContainerId;
use crate::life::{Inspection, Life, Status};

/// Sees nothing but the ends of its own children.
#[derive(Debug)]
pub struct Watcher {
    /// Readable when a child may have ended.
    ended: UnixStream,
    child: signal_hook::SigId,
}

/// The directory of a life that writes coverage files into it.
#[derive(Debug)]
pub struct Left {
    /// The life.
    pub life: Life,
    /// The directory as a place, or why there is none.
    pub directory: io::Result<OwnedFd>,
}

impl Watcher {
    /// Begins.
    ///
    /// # Errors
    /// When the end of a child cannot be made an event.
    pub fn start(_: Options) -> io::Result<Self> {
        let (ended, write) = UnixStream::pair()?;
        ended.set_nonblocking(true)?;
        let child = pipe::register(SIGCHLD, write)?;
        Ok(Self { ended, child })
    }

    /// How processes are found, for the ledger.
    #[must_use]
    pub fn method(&self) -> String {
        "processes are not watched on this system: lives are known from their files alone".into()
    }

    /// Whether no program starts unseen: all of them are held until they are watched.
    #[must_use]
    pub fn holds(&self) -> bool {
        false
    }

    /// Whether the scope is everything below this process.
    #[must_use]
    pub fn is_tree(&self) -> bool {
        true
    }

    /// What is worth saying about how processes were watched.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Starts a process as a child of this one.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self, mut command: Command) -> io::Result<u32> {
        command.spawn().map(|child| child.id())
    }

    /// Watches a container too: here, nothing is.
    pub fn add_container(&mut self, _: ContainerId) {}

    /// Watches a container no more.
    pub fn remove_container(&mut self, _: &ContainerId) {}

    /// Holds programs that a process sees: here, none are.
    pub fn follow_mounts(&mut self, _: u32) {}

    /// Holds directories of lives: here, none are.
    pub fn hold_directories(&mut self) {}

    /// The directories of lives that have ended: none.
    pub fn left(&mut self) -> Vec<Left> {
        Vec::new()
    }

    /// The directories of lives that still run: none.
    pub fn leave_running(&mut self) -> Vec<Left> {
        Vec::new()
    }

    /// Become readable when a child may have ended.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.ended.as_fd()]
    }

    /// How long to wait before the next [`Watcher::look`], at most.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Reaps the children that have ended, and returns them.
    pub fn look(&mut self) -> Vec<(u32, Status)> {
        let mut buffer = [0; 256];
        // An error here is "nothing there": the stream does not block.
        while matches!((&self.ended).read(&mut buffer), Ok(n) if n == buffer.len()) {}
        let mut reaped = Vec::new();
        // It ends with ECHILD or with nobody to reap.
        while let Ok(Some((pid, raw))) = wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get().unsigned_abs();
            reaped.push((pid, Status::from_wait(raw.as_raw())));
        }
        reaped
    }

    /// Asks what still runs to end.
    pub fn terminate(&self) {}

    /// What still runs.
    #[must_use]
    pub fn running(&self) -> Vec<&Life> {
        Vec::new()
    }

    /// All lives so far: none.
    pub fn inspections(&self) -> impl Iterator<Item = (&Life, &Inspection)> {
        std::iter::empty()
    }

    /// Looks at what runs: there is nothing to be seen.
    ///
    /// # Errors
    /// Never.
    pub fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Snapshots of everything that runs, written into a folder: there are none.
    ///
    /// # Errors
    /// Never.
    pub fn mark(&self, _: &Path) -> io::Result<usize> {
        Ok(0)
    }

    /// Everything that was seen.
    #[must_use]
    pub fn finish(self) -> Vec<Life> {
        unregister(self.child);
        Vec::new()
    }
}
