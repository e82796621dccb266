//! Where there is no `/proc`, nothing is watched.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::life::{Life, Status};

/// Sees nothing.
#[derive(Debug)]
pub struct Watcher;

impl Watcher {
    /// How processes are found, for the ledger.
    #[must_use]
    pub fn method() -> &'static str {
        "processes are not watched on this system: lives are known from their files alone"
    }

    /// Begins.
    #[must_use]
    pub fn start() -> Self {
        Self
    }

    /// How long to wait before the next [`Watcher::look`].
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Looks once.
    pub fn look(&mut self) {}

    /// Notes that a child was reaped.
    pub fn reaped(&mut self, _pid: u32, _status: Status) {}

    /// Becomes readable when a process of interest ends.
    #[must_use]
    pub fn ends(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// Asks what still runs to end.
    pub fn terminate(&self) {}

    /// What still runs.
    #[must_use]
    pub fn running(&self) -> Vec<&Life> {
        Vec::new()
    }

    /// Everything that was seen.
    #[must_use]
    pub fn finish(self) -> Vec<Life> {
        Vec::new()
    }
}
