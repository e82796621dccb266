//! Doors that are opened: each in a thread of its own, as an engine or an API may take seconds.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use covtap_model::problem::Problem;

use crate::surroundings::{Door, NodeId, Opened, Shut};

/// What came of a door.
pub(super) struct Came {
    pub(super) node: NodeId,
    /// Which of the tries at this node's door.
    pub(super) attempt: u64,
    pub(super) result: Result<Opened, Shut>,
}

enum Done {
    Opened(Came),
    Tidied(NodeId, Result<(), Box<Problem>>),
}

/// Threads that open doors, and what comes of them.
pub(super) struct Openings {
    /// How many are on their way.
    busy: usize,
    done: Receiver<Done>,
    send: Sender<Done>,
    wake: UnixStream,
    waker: Arc<Mutex<UnixStream>>,
    /// What was left behind somewhere.
    left: Vec<(NodeId, Problem)>,
}

impl Openings {
    pub(super) fn new() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let (send, done) = channel();
        Ok(Self {
            busy: 0,
            done,
            send,
            wake,
            waker: Arc::new(Mutex::new(waker)),
            left: Vec::new(),
        })
    }

    /// Begins to open a door.
    pub(super) fn open(
        &mut self,
        (node, attempt): (NodeId, u64),
        door: &Arc<dyn Door>,
        arguments: &[String],
        resident: Option<u32>,
    ) {
        let (door, arguments) = (Arc::clone(door), arguments.to_vec());
        self.spawn(move || {
            Done::Opened(Came {
                node,
                attempt,
                result: door.open(&arguments, resident),
            })
        });
    }

    /// Begins to take away what opening a door has left.
    pub(super) fn tidy(&mut self, node: &NodeId, door: &Arc<dyn Door>) {
        let (node, door) = (node.clone(), Arc::clone(door));
        self.spawn(move || Done::Tidied(node, door.tidy()));
    }

    fn spawn(&mut self, work: impl FnOnce() -> Done + Send + 'static) {
        let (send, waker) = (self.send.clone(), Arc::clone(&self.waker));
        self.busy += 1;
        thread::spawn(move || {
            // Without a receiver the session is over.
            let _ = send.send(work());
            let mut waker = waker.lock().unwrap_or_else(PoisonError::into_inner);
            // A full stream wakes as well.
            let _ = waker.write(&[1]);
        });
    }

    /// Becomes readable when there is something to take.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// The doors that have opened, or will not.
    pub(super) fn take(&mut self) -> Vec<Came> {
        let mut calls = [0; 64];
        while matches!((&self.wake).read(&mut calls), Ok(n) if n == calls.len()) {}
        let mut came = Vec::new();
        for done in self.done.try_iter() {
            self.busy -= 1;
            match done {
                Done::Opened(opened) => came.push(opened),
                Done::Tidied(node, result) => {
                    self.left.extend(result.err().map(|why| (node, *why)))
                }
            }
        }
        came
    }

    /// What could not be taken away.
    pub(super) fn left(&self) -> &[(NodeId, Problem)] {
        &self.left
    }
}
