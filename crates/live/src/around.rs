//! The part of a session that follows what is around CMD: containers are watched as they begin, and a
//! target that is ready gets a line that says whether coverage will come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use covtap_model::problem::Problem;
use covtap_tap::cgroup::ContainerId;
use covtap_tap::life::{CoverageDirectory, Inspection, Life};
use covtap_tap::watch::Watcher;

use crate::agents::{self, Agents};
use crate::demand::Demands;
use crate::directory;
use crate::files::{Collected, Files};
use crate::session::{Event, Observer};
use crate::signals::Signals;
use crate::stopped::Record;
use crate::surroundings::{
    News, Node, NodeId, Ready, ReadyContainer, Stop, Surroundings, Whereabouts,
};

/// What a pod is that is not instrumented so long after it was ready, is believed.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the end of a run waits for what is not known for sure.
const SETTLING: Duration = Duration::from_secs(2);

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
        /// Their executables; none when no program of Go is among them.
        programs: Vec<String>,
        /// Whether one of them is a Go program, so that it could be.
        go: bool,
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
        /// Whether the program may make files there: by its user, its groups, its capabilities and how the
        /// directory is mounted. Access lists are not looked at.
        writable: bool,
    },
}

/// What is around CMD, as far as the session has taken it in.
pub(crate) struct Around<'a> {
    surroundings: Option<&'a mut dyn Surroundings>,
    /// Those on nodes that are not watched from here; `None` where memory is no route.
    agents: Option<Agents>,
    /// The nodes that are watched from here.
    here: BTreeMap<NodeId, ContainerId>,
    /// Containers that are ready and have had no line yet.
    ready: Vec<Awaited>,
    demands: Demands,
    problems: Vec<Problem>,
    files: Files,
}

/// A container that is ready, and of which is to be said what it is.
struct Awaited {
    /// Its pod, as a person calls it.
    pod: String,
    /// The same, with its own name where the pod has several.
    name: String,
    node: NodeId,
    container: ReadyContainer,
    /// The time of the last chance.
    until: Instant,
}

impl<'a> Around<'a> {
    /// `require` names what has to be instrumented when it is ready.
    pub(crate) fn new(
        surroundings: Option<&'a mut dyn Surroundings>,
        agents: Option<Agents>,
        require: Vec<String>,
    ) -> Self {
        Self {
            surroundings,
            agents,
            here: BTreeMap::new(),
            ready: Vec::new(),
            demands: Demands::new(require),
            problems: Vec::new(),
            files: Files::none(),
        }
    }

    /// Has the files copied below `folder` that processes in containers write, from now on.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn collect_files(
        &mut self,
        watcher: &mut Watcher,
        folder: PathBuf,
    ) -> io::Result<()> {
        if self.surroundings.is_some() {
            self.files = Files::start(watcher, folder)?;
        }
        Ok(())
    }

    /// The pods that were asked for and in which an instrumented program runs that writes files at its end,
    /// by their uids.
    pub(crate) fn pods_that_write(&self, watcher: &Watcher) -> BTreeSet<String> {
        let lives = watcher.inspections().filter(|(life, inspection)| {
            life.running()
                && matches!(life.coverage_directory, CoverageDirectory::Set(_))
                && inspection.elf().is_some_and(|elf| elf.instrumented)
        });
        let asked = lives.filter(|(life, _)| {
            let place = life.cgroup.as_ref();
            let known = self.surroundings.as_deref();
            let found = place.and_then(|place| known?.whereabouts(place));
            found.is_some_and(|found| found.selected)
        });
        asked
            .filter_map(|(life, _)| Some(life.cgroup.as_ref()?.pod.as_ref()?.to_string()))
            .collect()
    }

    /// Begins to end the services of pods; `None` when nothing can be ended here.
    pub(crate) fn stop(
        &self,
        pods: &BTreeSet<String>,
        grace: Duration,
        record: Record,
    ) -> io::Result<Option<Box<dyn Stop>>> {
        let pods: Vec<String> = pods.iter().cloned().collect();
        match self.surroundings.as_deref() {
            Some(surroundings) => surroundings.stop(&pods, grace, record),
            None => Ok(None),
        }
    }

    /// Copies the files of lives that still run, and waits for all copies.
    pub(crate) fn finish_files(&mut self, watcher: &mut Watcher) -> Collected {
        std::mem::replace(&mut self.files, Files::none()).finish(watcher)
    }

    /// Become readable when [`Around::take`] should be called.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let surroundings = self.surroundings.as_deref().map(|s| s.descriptor());
        let agents = self.agents.iter().flat_map(Agents::descriptors);
        surroundings.into_iter().chain(agents).collect()
    }

    /// Waits for a first word on everything that can be followed.
    pub(crate) fn settle(&mut self, patience: Duration) {
        if let Some(surroundings) = self.surroundings.as_deref_mut() {
            surroundings.settle(patience);
        }
    }

    /// Whether an agent is still to come.
    pub(crate) fn awaits_agents(&self) -> bool {
        self.agents.as_ref().is_some_and(Agents::are_awaited)
    }

    /// Has the agents read everything now.
    pub(crate) fn read_agents(&mut self) {
        if let Some(agents) = &mut self.agents {
            agents.read_now();
        }
    }

    /// Whether an agent has not said yet what it was to read.
    pub(crate) fn reads_agents(&self) -> bool {
        self.agents.as_ref().is_some_and(Agents::are_reading)
    }

    /// Writes the states of the lives that agents told of into `folder` as well. Returns how many.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn mark(&self, folder: &Path) -> io::Result<usize> {
        self.agents
            .as_ref()
            .map_or(Ok(0), |agents| agents.mark(folder))
    }

    /// How long to wait before the next [`Around::take`], at most.
    pub(crate) fn interval(&self) -> Duration {
        let agents = self.agents.as_ref().and_then(Agents::interval);
        agents.unwrap_or(Duration::MAX)
    }

    /// Waits until something happens here, with a process, by a signal or at `other`, at most so long.
    pub(crate) fn wait<'f>(
        &'f self,
        signals: &Signals,
        watcher: &'f Watcher,
        other: Option<BorrowedFd<'f>>,
        longest: Duration,
    ) -> io::Result<()> {
        let mut descriptors = watcher.descriptors();
        descriptors.extend(self.descriptors());
        descriptors.extend(other);
        let soonest = watcher.interval().min(self.interval());
        signals.wait(&descriptors, soonest.min(longest))
    }

    /// Takes in what happened.
    pub(crate) fn take(&mut self, watcher: &mut Watcher, observer: &mut dyn Observer) {
        self.files.take(watcher);
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
                News::Node(node) => self.node_began(node, watcher, observer),
                News::NodeEnded(id) => self.node_ended(&id, watcher),
                News::Asked { cluster, pods } => {
                    if let Some(agents) = &mut self.agents {
                        agents.select(&cluster, pods);
                    }
                }
                News::Ready(ready) => self.expect(ready),
                News::Trouble(problem) => self.trouble(problem, observer),
            }
        }
        self.hear_agents(observer);
        self.tell_ready(watcher, observer);
    }

    /// A node is watched from here where that can be: only so its end is seen, and there are never two who
    /// trace the same processes.
    fn node_began(&mut self, node: Node, watcher: &mut Watcher, observer: &mut dyn Observer) {
        let here = node.container.as_ref().zip(node.pid);
        match here.filter(|(container, pid)| may_look(container, *pid)) {
            Some((container, pid)) => {
                watcher.add_container(container.clone());
                watcher.follow_mounts(pid);
                let name = format!("node {}", node.id);
                observer.event(&Event::Watching { name: &name });
                self.here.insert(node.id, container.clone());
            }
            None => {
                if let Some(agents) = &mut self.agents {
                    agents.add(node);
                }
            }
        }
    }

    fn node_ended(&mut self, id: &NodeId, watcher: &mut Watcher) {
        match self.here.remove(id) {
            Some(container) => watcher.remove_container(&container),
            None => {
                if let Some(agents) = &mut self.agents {
                    agents.node_ended(id);
                }
            }
        }
    }

    fn hear_agents(&mut self, observer: &mut dyn Observer) {
        let news = self.agents.as_mut().map(Agents::take_in);
        for news in news.unwrap_or_default() {
            match news {
                agents::News::Watching(name) => {
                    observer.event(&Event::Watching { name: &name });
                }
                agents::News::Trouble(problem) => self.trouble(problem, observer),
            }
        }
    }

    pub(crate) fn trouble(&mut self, problem: Problem, observer: &mut dyn Observer) {
        observer.event(&Event::Trouble(&problem));
        self.problems.push(problem);
    }

    fn expect(&mut self, ready: Ready) {
        self.demands.ready(&ready);
        let until = Instant::now() + PATIENCE;
        let several = ready.containers.len() > 1;
        for container in ready.containers {
            let name = if several {
                format!("{} {}", ready.name, container.name)
            } else {
                ready.name.clone()
            };
            self.ready.push(Awaited {
                pod: ready.name.clone(),
                name,
                node: ready.node.clone(),
                container,
                until,
            });
        }
    }

    /// Says what is known of the targets that are ready.
    fn tell_ready(&mut self, watcher: &Watcher, observer: &mut dyn Observer) {
        if self.ready.is_empty() {
            return;
        }
        let now = Instant::now();
        let demands = &mut self.demands;
        let agents = self.agents.as_ref();
        let of_agents = agents.map(Agents::lives).unwrap_or_default();
        self.ready.retain_mut(|awaited| {
            let Awaited {
                pod,
                name,
                node,
                container,
                until,
            } = awaited;
            let found = if let Some(agents) = agents.filter(|agents| agents.has(node)) {
                if agents.is_awaited(node) {
                    *until = now + PATIENCE;
                    return true;
                }
                let on_node = of_agents.iter().filter(|(_, on)| *on == &*node);
                let lives: Vec<_> = on_node
                    .map(|(life, _)| (life, &life.inspection))
                    .filter(|(life, _)| is_in(life, &container.id))
                    .collect();
                found(&lives, |life| agents.directory(node, life))
            } else {
                let lives = watcher.inspections();
                let lives: Vec<_> = lives
                    .filter(|(life, _)| is_in(life, &container.id))
                    .collect();
                found(&lives, directory::of_life)
            };
            let found = match found {
                Some(found @ Found::Instrumented { .. }) => found,
                // A script may become the service, and a runtime's process the container's.
                _ if now < *until => return true,
                Some(found) => found,
                // An agent tells of programs of Go alone.
                None if agents.is_some_and(|agents| agents.has(node)) => Found::NotInstrumented {
                    programs: Vec::new(),
                    go: false,
                },
                None => Found::Unseen,
            };
            demands.found(pod, &found);
            observer.event(&Event::Ready(&Preflight {
                name: name.clone(),
                found,
            }));
            false
        });
    }

    /// What has to be instrumented, is ready, and is not, in words: then testing is of no use.
    pub(crate) fn unmet(&self) -> Option<&str> {
        self.demands.unmet()
    }

    /// CMD has ended: what is not certain yet is asked for once more, and agents have their last words.
    pub(crate) fn finish(&mut self, watcher: &mut Watcher, observer: &mut dyn Observer) {
        self.settle(SETTLING);
        self.take(watcher, observer);
        if let Some(agents) = &mut self.agents {
            agents.stop();
        }
    }

    /// How long agents may still speak; `None` when there is nothing more to wait for.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.agents.as_ref().and_then(Agents::left)
    }

    /// The lives that agents told of.
    pub(crate) fn lives(&self) -> Vec<Life> {
        let lives = self.agents.as_ref().map(Agents::lives).unwrap_or_default();
        let of_containers = lives.into_iter().map(|(life, _)| Life {
            added: life.container().cloned(),
            ..life
        });
        of_containers.collect()
    }

    /// How agents find processes, beside what is said of the session's own watcher.
    pub(crate) fn methods(&self) -> Vec<String> {
        let agents = self.agents.as_ref().map(Agents::methods);
        agents.unwrap_or_default()
    }

    /// Where the lives of containers ran, by index. With `tree`, lives that were not added are CMD's own,
    /// also where covtap itself runs in a container.
    pub(crate) fn whereabouts(&self, lives: &[Life], tree: bool) -> BTreeMap<usize, Whereabouts> {
        let own = own_container();
        let elsewhere =
            |life: &Life| !tree && life.container().is_some_and(|id| Some(id) != own.as_ref());
        let of = |life: &Life| {
            if life.added.is_none() && !elsewhere(life) {
                return None;
            }
            let place = life.cgroup.clone().unwrap_or_default();
            let known = self.surroundings.as_deref();
            let known = known.and_then(|surroundings| surroundings.whereabouts(&place));
            let unnamed = || Whereabouts::of_place(life.name(), &place);
            known.or_else(|| life.added.is_some().then(unnamed))
        };
        let lives = lives.iter().enumerate();
        lives
            .filter_map(|(index, life)| Some((index, of(life)?)))
            .collect()
    }

    /// The containers that ran during the run.
    pub(crate) fn ran(&self) -> Vec<Whereabouts> {
        let known = self.surroundings.as_deref();
        known
            .map(|surroundings| surroundings.ran())
            .unwrap_or_default()
    }

    /// What could not be followed.
    pub(crate) fn problems(self) -> Vec<Problem> {
        let mut problems = self.problems;
        if let Some(agents) = &self.agents {
            problems.extend(agents.notes());
            problems.extend(agents.left_behind());
        }
        problems
    }
}

/// The container that this process runs in.
#[cfg(target_os = "linux")]
fn own_container() -> Option<ContainerId> {
    covtap_tap::cgroup::Place::of(std::process::id())
        .ok()?
        .container
}

/// Elsewhere no process of a container is seen.
#[cfg(not(target_os = "linux"))]
fn own_container() -> Option<ContainerId> {
    None
}

/// Whether this process may trace what is in a container whose first process has this number. The number
/// is that of an engine, which may run on another machine or see other numbers: the control group tells.
#[cfg(target_os = "linux")]
fn may_look(container: &ContainerId, pid: u32) -> bool {
    let place = covtap_tap::cgroup::Place::of(pid).unwrap_or_default();
    let is_there = place.containers().any(|id| id == container);
    is_there && covtap_tap::permission::may_trace(pid)
}

/// Elsewhere processes of containers are in another machine, a virtual one.
#[cfg(not(target_os = "linux"))]
fn may_look(_: &ContainerId, _: u32) -> bool {
    false
}

/// What the lives of a container say; `None` while one is still being looked at, or there is none. `look`
/// tells the user of a life, and the directory that it would write to.
fn found(
    lives: &[(&Life, &Inspection)],
    look: impl FnOnce(&Life) -> (Option<u32>, Directory),
) -> Option<Found> {
    let instrumented = lives
        .iter()
        .find(|(_, inspection)| inspection.elf().is_some_and(|elf| elf.instrumented));
    if let Some((life, _)) = instrumented {
        let (uid, directory) = look(life);
        return Some(Found::Instrumented {
            program: life.name(),
            uid,
            directory,
        });
    }
    // What made the container has become its first program.
    let running = || lives.iter().filter(|(life, _)| life.running());
    if running().next().is_none() || running().any(|(_, i)| **i == Inspection::Pending) {
        return None;
    }
    let mut programs: Vec<String> = running().map(|(life, _)| life.name()).collect();
    programs.sort();
    programs.dedup();
    let is_go = |inspection: &Inspection| inspection.elf().is_some_and(|elf| elf.go.is_some());
    let go = running().any(|(_, inspection)| is_go(inspection));
    Some(Found::NotInstrumented { programs, go })
}

fn is_in(life: &Life, container: &ContainerId) -> bool {
    life.container() == Some(container)
}
