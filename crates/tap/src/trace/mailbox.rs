//! What other threads ask of the tracer's thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::SeizeError;

/// One wish.
#[derive(Debug)]
pub(super) enum Request {
    /// Trace this process, or the process of this thread.
    Seize {
        tid: u32,
        /// Where the answer goes; without it, into the sink.
        reply: Option<Sender<Result<(), SeizeError>>>,
    },
    /// Start a child.
    Spawn {
        command: Box<process::Command>,
        reply: Sender<io::Result<u32>>,
    },
    /// Let this process go on untraced.
    Detach(u32),
    /// The holder of a stop is done with it.
    Release {
        stop: u64,
        /// Whether the process goes on untraced.
        detach: bool,
    },
    /// Let everything go, and end.
    End,
}

/// A queue that can be polled.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// `None` from the thread's end on.
    queue: Mutex<Option<Vec<Request>>>,
    wake: OwnedFd,
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            queue: Mutex::new(Some(Vec::new())),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Leaves a request. Once the thread has ended it is dropped at once, and who waits for a reply
    /// learns it from that.
    pub(super) fn send(&self, request: Request) {
        let mut queue = self.queue();
        if let Some(queue) = queue.as_mut() {
            queue.push(request);
            // It can fail only when 2^64 - 1 writes wait, and then it is readable anyway.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// Takes everything that has come. What comes later wakes again.
    pub(super) fn take(&self) -> Vec<Request> {
        // First this, then the queue: the other order would lose a wake. Nothing there is no error.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        self.queue()
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Refuses everything from now on.
    pub(super) fn close(&self) {
        let refused = self.queue().take();
        // Outside the lock: dropping a request may drop a stop, which sends.
        drop(refused);
    }

    /// Readable when something has come.
    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    fn queue(&self) -> MutexGuard<'_, Option<Vec<Request>>> {
        // No code that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
