//! The latest state of each life, from the threads that read them to the loop that sends them. What is not
//! taken in time is replaced, so it never holds more than one state a life.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use covtap_profile::go::accumulate::Counters;
use covtap_profile::go::meta::MetaFile;
use covtap_tap::clock::Moment;
use covtap_tap::keep::{Arguments, Keeper, Kept};
use covtap_tap::life::{Key, State};

/// A state that is to be sent.
pub(super) struct Latest {
    pub(super) meta: Arc<MetaFile>,
    pub(super) counters: Arc<Counters>,
    pub(super) arguments: Arguments,
    pub(super) started: Moment,
    pub(super) state: State,
}

/// What has not been taken yet.
#[derive(Debug)]
pub(super) struct Outbox {
    states: Mutex<BTreeMap<Key, Latest>>,
    read: UnixStream,
    write: UnixStream,
}

impl std::fmt::Debug for Latest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Latest")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Outbox {
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        Ok(Self {
            states: Mutex::default(),
            read,
            write,
        })
    }

    /// All that came since the last call, one state a life.
    pub(super) fn take(&self) -> BTreeMap<Key, Latest> {
        use io::Read as _;
        let mut calls = [0; 256];
        while matches!((&self.read).read(&mut calls), Ok(n) if n == calls.len()) {}
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Latest>> {
        // A map is whole whoever panicked.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Readable when there is something to take.
impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

impl Keeper for Outbox {
    fn keep(&self, kept: &Kept<'_>) -> io::Result<PathBuf> {
        use io::Write as _;
        let latest = Latest {
            meta: Arc::clone(kept.meta),
            counters: Arc::clone(kept.counters),
            arguments: kept.arguments.clone(),
            started: kept.started,
            state: kept.state.clone(),
        };
        self.lock().insert(kept.key, latest);
        // A full stream wakes as well.
        let _ = (&self.write).write(&[1]);
        Ok(kept.state.file.clone())
    }
}
