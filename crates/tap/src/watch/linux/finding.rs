//! New processes and new programs: what the hold and the kernel's events tell, and what a look
//! around finds.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Instant;

use super::{Awaited, KEPT, PassedOn, Told, Watched, Watcher};
use crate::cgroup::Place;
use crate::clock::Moment;
use crate::image::FileKey;
use crate::life::{CoverageDirectory, End, Inspection, Life, Status, Tap};
use crate::proc::{self, Stat};
use crate::root::open_directory;
use crate::trace::SeizeError;
use crate::watch::Means;
use crate::watch::events::ProcessEvent;
use crate::watch::hold::{Held, Hold};

/// After so many events or processes it is looked whether a program waits: those are in a hurry.
const BETWEEN: usize = 32;

impl Watcher {
    /// Programs whose exec is held until they are traced.
    pub(super) fn take_held(&mut self, now: Moment) {
        let Some(hold) = &mut self.hold else { return };
        let held = hold.messages();
        let ended = hold.ended();
        if hold.counts().lost > self.lost {
            self.lost = hold.counts().lost;
            // Programs started that were not told of: they are found now.
            self.next_look = Instant::now();
        }
        for Held {
            pid,
            tid,
            ticket,
            path: executable,
            device,
            inode,
            ..
        } in held
        {
            let in_scope = self.reach.holds(pid);
            if in_scope || proc::stat(pid).is_none() {
                // It may have gone on and ended before it is looked at: events say whether it is ours.
                let awaited = self.held.entry(pid).or_insert_with(|| Awaited {
                    executable,
                    files: Vec::new(),
                    cgroup: Place::of(pid).ok(),
                });
                awaited.files.push((device, inode));
            }
            let wanted = self.exit && self.states.is_some() && in_scope;
            if wanted {
                match self.tracer.seize(tid) {
                    Ok(()) | Err(SeizeError::Gone { .. }) => {}
                    Err(error) => self.note(&format!("process {pid}: {error}")),
                }
            }
            if let Some(hold) = &self.hold {
                hold.answer(ticket);
            }
        }
        if let Some(because) = ended {
            self.note(&format!("the exec hold ended: {because}"));
            self.hold = None;
            self.means = if self.events.is_some() {
                Means::Events
            } else {
                Means::Poll
            };
            self.look_around(now);
        }
    }

    pub(super) fn take_events(&mut self, now: Moment) {
        let Some(events) = &mut self.events else {
            return;
        };
        let since = std::mem::replace(&mut self.events_read, now);
        for (number, event) in events.read().into_iter().enumerate() {
            if number % BETWEEN == 0 {
                self.take_held(now);
            }
            match event {
                ProcessEvent::Fork { parent, child } => {
                    if self.told.contains_key(&parent) || self.reach.holds(child) {
                        let place = self.place_of(child, parent);
                        self.told.insert(
                            child,
                            Told {
                                parent,
                                since,
                                execs: 0,
                                unseen_program: false,
                                place,
                            },
                        );
                    }
                }
                ProcessEvent::Exec { pid } => {
                    if !self.told.contains_key(&pid) && !self.reach.holds(pid) {
                        continue;
                    }
                    let told = self.told.entry(pid).or_insert_with(|| Told {
                        parent: 0,
                        since,
                        execs: 0,
                        unseen_program: true,
                        place: Place::of(pid).ok(),
                    });
                    told.execs += 1;
                    told.unseen_program = true;
                    if self.saw_program(pid) {
                        continue;
                    }
                    if self.means != Means::Poll
                        && let Some(stat) = proc::stat(pid)
                    {
                        self.see(pid, stat, now, now);
                    }
                }
                ProcessEvent::Exit { pid, wait_status } => {
                    let status = Status::from_wait(wait_status);
                    // No other program is instrumented where execs are held.
                    let held = self.held.remove(&pid);
                    let may_count = held.is_some() || self.hold.is_none();
                    match self.told.remove(&pid) {
                        Some(told) if told.unseen_program && may_count => {
                            self.missed(pid, told, held, status, now);
                        }
                        Some(told) => self.ended_as(pid, told.since, status),
                        None => {}
                    }
                    // The kernel tells this a moment before it shows.
                    self.ending.insert(pid, status);
                }
                ProcessEvent::Overflow => {
                    self.note("process events were lost: more came than could be read");
                    self.next_look = Instant::now();
                }
            }
        }
    }

    /// Where a process is that was forked just now: where its parent is, if it has ended already. Asked
    /// only where there are containers.
    fn place_of(&self, child: u32, parent: u32) -> Option<Place> {
        if !self.reach.has_added() {
            return None;
        }
        let of_parent = || match self.told.get(&parent) {
            Some(told) => told.place.clone(),
            None => self.lives[*self.current.get(&parent)?].life.cgroup.clone(),
        };
        Place::of(child).ok().or_else(of_parent)
    }

    /// Whether the first program that a process has executed was looked at before the event came that
    /// tells of it.
    fn saw_program(&mut self, pid: u32) -> bool {
        let Some(told) = self.told.get(&pid).filter(|told| told.execs == 1) else {
            return false;
        };
        // Until then it executes its parent's.
        let Some(&parent) = self.current.get(&told.parent) else {
            return false;
        };
        let (before, since) = (self.lives[parent].file, told.since);
        let saw = self.last_life(pid, since).is_some_and(|w| w.file != before);
        if saw {
            self.looked_at(pid);
        }
        saw
    }

    /// A process that was gone before its program could be looked at.
    fn missed(
        &mut self,
        pid: u32,
        Told { parent, place, .. }: Told,
        held: Option<Awaited>,
        status: Status,
        now: Moment,
    ) {
        let known = self.current.get(&parent).map(|&i| &self.lives[i].life);
        let (executable, cgroup) = match held {
            Some(held) => (held.executable, held.cgroup),
            None => {
                let parent = known.map_or_else(|| parent.to_string(), Life::name);
                (format!("(a child of {parent})").into(), place)
            }
        };
        let added = cgroup.as_ref().and_then(|place| self.reach.added(place));
        self.lives.push(Watched {
            life: Life {
                pid,
                inner_pid: pid,
                start_ticks: 0,
                generation: 0,
                executable,
                inspection: Inspection::Failed(
                    "it ended before its program could be looked at".into(),
                ),
                coverage_directory: CoverageDirectory::Unknown,
                began: now,
                first_seen: now,
                cgroup,
                added,
                end: End::Gone {
                    at: now,
                    status: Some(status),
                },
                tap: Tap::None,
            },
            file: FileKey::hidden(pid, 0),
            stack: 0,
            end: None,
            traced: false,
            directory: None,
            seized_after: false,
            passed_on: PassedOn::Nothing,
        });
    }

    /// Looks at all processes of the scope: finds new ones, execs and ends.
    pub(super) fn look_around(&mut self, now: Moment) {
        let began = Instant::now();
        let last = std::mem::replace(&mut self.last_look, now);
        let mut alive = BTreeSet::new();
        let ours = self.hold.as_ref().map(Hold::processes).unwrap_or_default();
        for (number, pid) in self.reach.processes(&ours).into_iter().enumerate() {
            if number % BETWEEN == 0 {
                self.take_held(now);
            }
            if let Some(stat) = proc::stat(pid) {
                self.see(pid, stat, now, last);
                if !stat.ended() {
                    alive.insert(pid);
                }
            }
        }
        if self.lives.len() >= self.next_forget {
            self.forget_ended();
            self.next_forget = 2 * self.lives.len() + KEPT;
        }
        // Who is still there now is there for longer.
        self.ending.clear();
        let present: Vec<u32> = self.current.keys().copied().collect();
        for pid in present.into_iter().filter(|pid| !alive.contains(pid)) {
            self.check_end(pid, now, None);
        }
        self.costs.rotate_left(1);
        self.costs[3] = began.elapsed();
    }

    /// Takes a look at one process.
    fn see(&mut self, pid: u32, stat: Stat, now: Moment, last: Moment) {
        if stat.ended() {
            return;
        }
        let Some(file) = file_of(pid, stat) else {
            return;
        };
        let mut generation = 0;
        let mut began = proc::started(self.boot, stat.start_ticks);
        if let Some(&index) = self.current.get(&pid) {
            let known = &mut self.lives[index];
            let same_process = known.life.start_ticks == stat.start_ticks;
            // An exec of the same file shows in the stack's place only. Of a traced process the
            // tracer tells execs.
            let same_program =
                known.traced || (known.file == file && !far(known.stack, stat.stack));
            if same_process && same_program {
                known.stack = stat.stack;
                self.looked_at(pid);
                return;
            }
            if same_process {
                known.life.end = End::Exec { at: now };
                generation = known.life.generation + 1;
                began = last;
                self.over(index, "it became another program (exec)");
            } else {
                known.life.end = End::Gone {
                    at: now,
                    status: None,
                };
                self.over(index, "how it ended was not seen");
            }
            self.current.remove(&pid);
        }
        if generation == 0 && self.shares_memory(pid, &stat, file) {
            return;
        }
        self.begin(pid, stat, generation, began, now, false);
    }

    /// The program that a process executes now is that of a life.
    pub(super) fn looked_at(&mut self, pid: u32) {
        if let Some(told) = self.told.get_mut(&pid) {
            told.unseen_program = false;
        }
    }

    /// A life begins.
    pub(super) fn begin(
        &mut self,
        pid: u32,
        mut stat: Stat,
        generation: u32,
        began: Moment,
        now: Moment,
        traced: bool,
    ) {
        let Some(mut file) = file_of(pid, stat) else {
            return;
        };
        // An exec in between: the stack is that of the program before.
        while let Some(later) = proc::stat(pid).filter(|later| later.stack != stat.stack) {
            stat = later;
            let Some(later) = file_of(pid, stat) else {
                return;
            };
            file = later;
        }
        self.looked_at(pid);
        let is_awaited = |held: &Awaited| held.files.contains(&file.numbers());
        if self.held.get(&pid).is_some_and(is_awaited) {
            self.held.remove(&pid);
        }
        self.inspector.want(file, || proc::open_executable(pid));
        let boring = matches!(
            self.inspector.get(file),
            Some(Inspection::Elf(found)) if found.go.is_none()
        );
        let executable = self.path_of(pid, file);
        // Of most programs nobody asks where they belong; but those of containers are not the tree's.
        let cgroup = if boring && !self.reach.has_added() {
            None
        } else {
            Place::of(pid).ok()
        };
        let added = cgroup.as_ref().and_then(|place| self.reach.added(place));
        self.current.insert(pid, self.lives.len());
        self.lives.push(Watched {
            life: Life {
                pid,
                inner_pid: proc::inner_pid(pid),
                start_ticks: stat.start_ticks,
                generation,
                executable,
                inspection: Inspection::Pending,
                coverage_directory: CoverageDirectory::Unknown,
                began,
                first_seen: now,
                cgroup,
                added,
                end: End::None,
                tap: Tap::None,
            },
            file,
            stack: stat.stack,
            end: None,
            traced,
            directory: None,
            seized_after: false,
            passed_on: PassedOn::Nothing,
        });
        if !boring {
            self.ask_for_directory(self.lives.len() - 1);
        }
        self.follow(self.lives.len() - 1);
    }

    /// Asks a process where it writes coverage files, and holds that directory where it is to be held.
    fn ask_for_directory(&mut self, index: usize) {
        let Watched {
            life, directory, ..
        } = &mut self.lives[index];
        life.coverage_directory = proc::coverage_directory(life.pid);
        if let CoverageDirectory::Set(path) = &life.coverage_directory
            && life.added.is_some()
            && self.hold_directories
        {
            *directory = Some(open_directory(life.pid, path));
        }
    }

    /// Asks those again that were met in the middle of their exec, when a process shows no environment.
    pub(super) fn ask_again_for_directories(&mut self, now: Moment) {
        let current: Vec<usize> = self.current.values().copied().collect();
        for index in current {
            let watched = &self.lives[index];
            let boring = matches!(
                self.inspector.get(watched.file),
                Some(Inspection::Elf(found)) if found.go.is_none()
            );
            if !boring && watched.may_be_in_exec(now) {
                self.ask_for_directory(index);
            }
        }
    }

    /// Where the file lies that a process executes. One that ends in this moment shows no path any
    /// more; then it is where the same file was before.
    fn path_of(&mut self, pid: u32, file: FileKey) -> PathBuf {
        let path = proc::executable_path(pid);
        if path.is_absolute() {
            self.paths.insert(file, path.clone());
            return path;
        }
        self.paths.get(&file).cloned().unwrap_or(path)
    }

    /// Whether this is a child between fork and exec: it still runs its parent's program in its
    /// parent's memory, and is not a life of its own.
    fn shares_memory(&self, pid: u32, stat: &Stat, file: FileKey) -> bool {
        if stat.parent == self.self_pid {
            return proc::same_memory(pid, self.self_pid).unwrap_or(false);
        }
        self.current.get(&stat.parent).is_some_and(|&index| {
            let parent = &self.lives[index];
            parent.file == file
                // Where that may not be asked: it is in one thread and on its parent's stack.
                && proc::same_memory(pid, stat.parent)
                    .unwrap_or(stat.threads == 1 && stat.stack > 1 && parent.stack == stat.stack)
        })
    }
}

/// The identity of the file that a process executes; `None` when the process is gone.
pub(super) fn file_of(pid: u32, stat: Stat) -> Option<FileKey> {
    match proc::executable(pid) {
        Ok(metadata) => Some(FileKey::of(&metadata)),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            Some(FileKey::hidden(pid, stat.start_ticks))
        }
        Err(_) => None,
    }
}

/// Whether two stacks are of different execs. While an exec goes on, the address is not known (0) or
/// moves by the size of the arguments; another exec's is random over gigabytes.
pub(super) fn far(before: u64, after: u64) -> bool {
    const ARGUMENTS: u64 = 8 << 20;
    before > 1 && after > 1 && before.abs_diff(after) > ARGUMENTS
}

#[cfg(test)]
mod tests {
    use super::far;

    #[test]
    fn a_stack_that_is_being_set_up_is_no_exec() {
        assert!(!far(0, 0x7ffd_0000_1000));
        assert!(!far(0x7ffd_0000_1000, 0));
        assert!(!far(0x7ffd_0000_1000, 0x7ffd_0000_0000));
        assert!(far(0x7ffd_0000_1000, 0x7ff0_0000_1000));
    }
}
