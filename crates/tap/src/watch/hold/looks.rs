//! Looks into files, once each, in threads of their own: a file of 100 MB takes longer than other
//! execs should wait.

use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use covtap_profile::go::executable;

use super::bell::Bell;

/// How many files are looked at together.
const THREADS: usize = 2;
/// How many files are remembered. A machine that executes more different ones looks again.
const REMEMBERED: usize = 1 << 16;

/// A file and its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileKey {
    pub(super) device: u64,
    pub(super) inode: u64,
    size: u64,
    modified: (i64, i64),
    /// The kernel's own word about changes, which nobody can set back.
    changed: (i64, i64),
}

impl FileKey {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What is known of a file that is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) instrumented: bool,
    /// Whether it starts containers.
    pub(super) runtime: bool,
}

/// What is known of files.
pub(super) struct Looks {
    known: HashMap<FileKey, Program>,
    asked: HashSet<FileKey>,
    requests: Sender<(FileKey, File, bool)>,
    answers: Receiver<(FileKey, Program)>,
}

impl Looks {
    /// Begins. `bell` rings when there is something to [`Looks::take`].
    pub(super) fn start(bell: &Bell) -> Self {
        let (requests, inbox) = channel();
        let inbox = Arc::new(Mutex::new(inbox));
        let (outbox, answers) = channel();
        for _ in 0..THREADS {
            let (inbox, outbox, bell) = (inbox.clone(), outbox.clone(), bell.clone());
            thread::spawn(move || look(&inbox, &outbox, &bell));
        }
        Self {
            known: HashMap::new(),
            asked: HashSet::new(),
            requests,
            answers,
        }
    }

    /// What a file is, if that is known.
    pub(super) fn known(&self, key: &FileKey) -> Option<Program> {
        self.known.get(key).copied()
    }

    /// Whether an answer for it will come.
    pub(super) fn is_asked(&self, key: &FileKey) -> bool {
        self.asked.contains(key)
    }

    /// Asks for a look; the answer comes through [`Looks::take`]. Its name tells whether it is a runtime.
    pub(super) fn ask(&mut self, key: FileKey, file: File, runtime: bool) {
        // The threads end only when this sender is gone.
        if self.requests.send((key, file, runtime)).is_ok() {
            self.asked.insert(key);
        }
    }

    /// The answers that have come.
    pub(super) fn take(&mut self) -> Vec<(FileKey, Program)> {
        let answers: Vec<_> = self.answers.try_iter().collect();
        for (key, program) in &answers {
            if self.known.len() >= REMEMBERED {
                self.known.clear();
            }
            self.asked.remove(key);
            self.known.insert(*key, *program);
        }
        answers
    }
}

fn look(
    inbox: &Mutex<Receiver<(FileKey, File, bool)>>,
    outbox: &Sender<(FileKey, Program)>,
    bell: &Bell,
) {
    loop {
        let Ok(request) = inbox.lock().map(|inbox| inbox.recv()) else {
            return;
        };
        let Ok((key, file, runtime)) = request else {
            return;
        };
        // A file that makes the reader panic must not take the thread with it. What cannot be read is
        // not held; the watcher that reads the running process says why.
        let found = catch_unwind(AssertUnwindSafe(|| executable::inspect(&file)));
        let instrumented = matches!(found, Ok(Ok(found)) if found.instrumented);
        let program = Program {
            instrumented,
            runtime,
        };
        if outbox.send((key, program)).is_err() {
            return;
        }
        bell.ring();
    }
}
