//! Looks at executables in a thread of its own: a large one takes longer than a walk of the tree.

use std::collections::HashMap;
use std::fs::File;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use covtap_profile::go::executable;

use super::wake::Waker;
use crate::image::FileKey;
use crate::life::Inspection;

/// Every executable that was seen, looked at once.
pub(super) struct Inspector {
    known: HashMap<FileKey, Inspection>,
    requests: Option<Sender<(FileKey, File)>>,
    answers: Receiver<(FileKey, Inspection)>,
}

impl Inspector {
    pub(super) fn start(waker: Waker) -> Self {
        let (requests, inbox) = channel::<(FileKey, File)>();
        let (outbox, answers) = channel();
        thread::spawn(move || {
            for (key, file) in inbox {
                let inspection = match executable::inspect(&file) {
                    Ok(found) => Inspection::Elf(found),
                    Err(error) => Inspection::Failed(error.to_string()),
                };
                if outbox.send((key, inspection)).is_err() {
                    break;
                }
                waker.wake();
            }
        });
        Self {
            known: HashMap::new(),
            requests: Some(requests),
            answers,
        }
    }

    /// What is known of a file; looks at it when it is new. `open` is called then, and at once: the
    /// file may be deleted in a moment.
    pub(super) fn want(&mut self, key: FileKey, open: impl FnOnce() -> std::io::Result<File>) {
        if self.known.contains_key(&key) {
            return;
        }
        let inspection = match open() {
            Ok(file) => {
                if let Some(requests) = &self.requests {
                    // The thread ends only when this sender is gone.
                    let _ = requests.send((key, file));
                }
                Inspection::Pending
            }
            Err(error) => Inspection::Failed(format!("cannot open it: {error}")),
        };
        self.known.insert(key, inspection);
    }

    /// Takes the answers that are there. Returns whether any came.
    pub(super) fn take(&mut self) -> bool {
        let before = self.known.len();
        let mut any = false;
        while let Ok((key, inspection)) = self.answers.try_recv() {
            self.known.insert(key, inspection);
            any = true;
        }
        debug_assert_eq!(before, self.known.len(), "answers are for requests");
        any
    }

    /// Whether an answer is still to come.
    pub(super) fn busy(&self) -> bool {
        self.known.values().any(|i| *i == Inspection::Pending)
    }

    pub(super) fn get(&self, key: FileKey) -> Option<&Inspection> {
        self.known.get(&key)
    }

    /// Waits for all answers.
    pub(super) fn finish(mut self) -> HashMap<FileKey, Inspection> {
        self.requests = None;
        for (key, inspection) in &self.answers {
            self.known.insert(key, inspection);
        }
        self.known
    }
}
