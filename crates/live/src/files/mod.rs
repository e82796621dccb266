//! The files route of containers: what a process writes into its `GOCOVERDIR` is copied into the run's
//! folder when the process has ended, wherever the directory lies: in a volume of any kind, or in the
//! container's own file system. Nothing is needed in the image.
//!
//! ```text
//! Watcher ── Left: a life, its directory held open ──► a thread: reader ──► raw-files/<container>/
//! ```
//!
//! A directory that is held open outlives the process and its mounts; what lies in it does not: the
//! kubelet empties an `emptyDir` about a second after the last container of the pod has ended. So a life's
//! files are copied as soon as its end is seen. That it is held keeps nobody from unmounting or removing
//! it (measured with emptyDir on disk and in memory, hostPath, a claim, and a container's layer).
//!
//! Copies are made in a thread of their own, because a file system may take its time, and whoever waits in
//! an exit stop must not wait for that.

mod reader;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use covtap_model::problem::Problem;
use covtap_tap::cgroup::ContainerId;
use covtap_tap::life::Key;
use covtap_tap::watch::{Left, Watcher};

/// Digits of a container's id in the name of its folder, as engines shorten it.
const SHORT: usize = 12;

/// Copies the files of lives in containers as these end. Without a run's folder it does nothing.
pub(crate) struct Files {
    copying: Option<Copying>,
}

struct Copying {
    work: Sender<Left>,
    thread: JoinHandle<Collected>,
}

/// What was copied.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// The folders with the copies, and the container of each.
    pub(crate) folders: BTreeMap<PathBuf, ContainerId>,
    /// The lives whose directory was looked at, and what came of it.
    pub(crate) looked: BTreeMap<Key, Looked>,
    /// What a person should know.
    pub(crate) problems: Vec<Problem>,
}

/// What came of the look into the directory of a life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// It was read. Its owner and group, and its permissions.
    Read {
        /// Owner and group.
        owner: (u32, u32),
        /// As in `chmod`.
        mode: u32,
    },
    /// Not, or not all of it: why.
    Failed(String),
}

impl Files {
    /// Nothing is copied.
    pub(crate) fn none() -> Self {
        Self { copying: None }
    }

    /// Has the directories of lives in containers held, and their files copied below `folder`.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(watcher: &mut Watcher, folder: PathBuf) -> io::Result<Self> {
        watcher.hold_directories();
        let (work, left) = channel();
        let thread = thread::Builder::new()
            .name("files".into())
            .spawn(move || copy_all(&left, &folder))?;
        Ok(Self {
            copying: Some(Copying { work, thread }),
        })
    }

    /// Has the files copied of lives that have ended. Call it after each look of the watcher.
    pub(crate) fn take(&self, watcher: &mut Watcher) {
        if let Some(copying) = &self.copying {
            copying.add(watcher.left());
        }
    }

    /// Has copied what lives have written that still run, and waits for the last copy.
    pub(crate) fn finish(self, watcher: &mut Watcher) -> Collected {
        let Some(copying) = self.copying else {
            return Collected::default();
        };
        copying.add(watcher.left());
        copying.add(watcher.leave_running());
        drop(copying.work);
        // A panic there is a defect of ours; what was copied lies in its place all the same.
        copying.thread.join().unwrap_or_default()
    }
}

impl Copying {
    fn add(&self, left: Vec<Left>) {
        for left in left {
            // The thread ends only when this sender is gone.
            let _ = self.work.send(left);
        }
    }
}

fn copy_all(left: &Receiver<Left>, folder: &Path) -> Collected {
    let mut collected = Collected::default();
    for Left { life, directory } in left {
        let Some(container) = life.container() else {
            continue;
        };
        let into = folder.join(&container.as_str()[..SHORT]);
        let looked = match directory {
            Ok(directory) => reader::copy(&directory, &life, &into),
            Err(error) => reader::Copied {
                looked: Looked::Failed(format!("its GOCOVERDIR could not be opened: {error}")),
                files: 0,
                problems: Vec::new(),
            },
        };
        if looked.files > 0 {
            collected.folders.insert(into, container.clone());
        }
        collected.problems.extend(looked.problems);
        collected.looked.insert(life.key(), looked.looked);
    }
    collected
}
