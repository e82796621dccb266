//! The part of a session that follows what is around CMD: containers are watched as they begin, and a
//! target that is ready gets a line that says whether coverage will come of it.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use covtap_model::problem::Problem;
use covtap_tap::cgroup::ContainerId;
use covtap_tap::life::{Inspection, Life};
use covtap_tap::watch::Watcher;

use crate::directory;
use crate::session::{Event, Observer};
use crate::surroundings::{News, Ready, ReadyContainer, Surroundings, Whereabouts};

/// A program that is not there so long after its pod was ready is told as not seen.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of a target when it is ready to be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// `shop/api-7c9`, and its container where it has several.
    pub name: String,
    /// What was found.
    pub found: Found,
}

/// What was found of a target that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its program is instrumented, and read.
    Instrumented {
        /// The executable.
        program: String,
        /// Its user, where that could be read.
        uid: Option<u32>,
        /// Where it would write by itself.
        directory: Directory,
    },
    /// None of its programs is.
    NotInstrumented {
        /// Their executables.
        programs: Vec<String>,
    },
    /// No process of it was seen.
    Unseen,
}

/// Where an instrumented program would write by itself, as it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directory {
    /// `GOCOVERDIR` is not set: it writes nothing.
    Unset,
    /// It could not be looked at.
    Unknown,
    /// There is no such directory.
    Absent {
        /// `GOCOVERDIR`.
        path: PathBuf,
    },
    /// It is there.
    There {
        /// `GOCOVERDIR`.
        path: PathBuf,
        /// Its owner and group.
        owner: (u32, u32),
        /// Its permissions, as in `chmod`.
        mode: u32,
        /// Whether the program's user may make files there. Not looked at: access lists, and what root
        /// may by capabilities.
        writable: bool,
    },
}

/// What is around CMD, as far as the session has taken it in.
pub(crate) struct Around<'a> {
    surroundings: Option<&'a mut dyn Surroundings>,
    /// Containers that are ready and have had no line yet, with the time of the last chance.
    ready: Vec<(String, ReadyContainer, Instant)>,
    problems: Vec<Problem>,
}

impl<'a> Around<'a> {
    pub(crate) fn new(surroundings: Option<&'a mut dyn Surroundings>) -> Self {
        Self {
            surroundings,
            ready: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Becomes readable when [`Around::take`] should be called.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.surroundings.as_deref().map(|s| s.descriptor())
    }

    /// Takes in what happened.
    pub(crate) fn take(&mut self, watcher: &mut Watcher, observer: &mut dyn Observer) {
        let Some(surroundings) = self.surroundings.as_deref_mut() else {
            return;
        };
        for news in surroundings.news() {
            match news {
                News::Began { id, pid, name } => {
                    watcher.add_container(id);
                    watcher.follow_mounts(pid);
                    observer.event(&Event::Watching { name: &name });
                }
                News::Ended { id } => watcher.remove_container(&id),
                News::Ready(ready) => self.expect(ready),
                News::Trouble(problem) => {
                    observer.event(&Event::Trouble(&problem));
                    self.problems.push(problem);
                }
            }
        }
        self.tell_ready(watcher, observer);
    }

    fn expect(&mut self, ready: Ready) {
        let until = Instant::now() + PATIENCE;
        let several = ready.containers.len() > 1;
        for container in ready.containers {
            let name = if several {
                format!("{} {}", ready.name, container.name)
            } else {
                ready.name.clone()
            };
            self.ready.push((name, container, until));
        }
    }

    /// Says what is known of the targets that are ready.
    fn tell_ready(&mut self, watcher: &Watcher, observer: &mut dyn Observer) {
        if self.ready.is_empty() {
            return;
        }
        let now = Instant::now();
        self.ready.retain(|(name, container, until)| {
            let lives = watcher.inspections();
            let lives: Vec<_> = lives
                .filter(|(life, _)| is_in(life, &container.id))
                .collect();
            let found = match found(&lives) {
                Some(found) => found,
                None if now < *until => return true,
                None => Found::Unseen,
            };
            observer.event(&Event::Ready(&Preflight {
                name: name.clone(),
                found,
            }));
            false
        });
    }

    /// CMD has ended: what is not certain yet is asked for once more.
    pub(crate) fn finish(&mut self, watcher: &mut Watcher, observer: &mut dyn Observer) {
        if let Some(surroundings) = self.surroundings.as_deref_mut() {
            surroundings.settle();
        }
        self.take(watcher, observer);
    }

    /// Where the lives of containers ran, by index.
    pub(crate) fn whereabouts(&self, lives: &[Life]) -> BTreeMap<usize, Whereabouts> {
        let in_containers = lives.iter().enumerate().filter(|(_, l)| l.added.is_some());
        in_containers
            .map(|(index, life)| (index, self.whereabouts_of(life)))
            .collect()
    }

    fn whereabouts_of(&self, life: &Life) -> Whereabouts {
        let place = life.cgroup.clone().unwrap_or_default();
        let known = self.surroundings.as_deref();
        known
            .and_then(|surroundings| surroundings.whereabouts(&place))
            .unwrap_or_else(|| Whereabouts::of_place(life.name(), &place))
    }

    /// What could not be followed.
    pub(crate) fn problems(self) -> Vec<Problem> {
        self.problems
    }
}

/// What the lives of a container say; `None` while one is still being looked at, or there is none.
fn found(lives: &[(&Life, &Inspection)]) -> Option<Found> {
    let instrumented = lives
        .iter()
        .find(|(_, inspection)| inspection.elf().is_some_and(|elf| elf.instrumented));
    if let Some((life, _)) = instrumented {
        let user = directory::user(life.pid);
        return Some(Found::Instrumented {
            program: life.name(),
            uid: user.as_ref().map(|user| user.uid),
            directory: directory::look(life.pid, user.as_ref(), &life.coverage_directory),
        });
    }
    if lives.is_empty() || lives.iter().any(|(_, i)| **i == Inspection::Pending) {
        return None;
    }
    let mut programs: Vec<String> = lives.iter().map(|(life, _)| life.name()).collect();
    programs.sort();
    programs.dedup();
    Some(Found::NotInstrumented { programs })
}

fn is_in(life: &Life, container: &ContainerId) -> bool {
    let place = life.cgroup.as_ref();
    place.and_then(|place| place.container.as_ref()) == Some(container)
}
