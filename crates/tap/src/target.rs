//! One running process: its identity and what it has mapped.

use std::io;

use crate::proc;

/// A process, with what tells it from a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Process id.
    pub pid: u32,
    /// Its start in clock ticks since boot.
    pub start_ticks: u64,
}

impl Target {
    /// The process that has this number now.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(pid: u32) -> io::Result<Self> {
        let stat = proc::stat(pid).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Self {
            pid,
            start_ticks: stat.start_ticks,
        })
    }

    /// Whether the number is still this process's.
    #[must_use]
    pub fn is_there(&self) -> bool {
        proc::stat(self.pid).is_some_and(|s| s.start_ticks == self.start_ticks && !s.ended())
    }
}
