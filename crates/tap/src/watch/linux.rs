//! The watcher for Linux: polls `/proc`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal, set_child_subreaper,
};

use super::inspect::{FileKey, Inspector};
use crate::clock::Moment;
use crate::life::{CoverageDirectory, End, Inspection, Life, Status};
use crate::proc::{self, Stat};

/// The time between two looks, unless looking is slow.
const INTERVAL: Duration = Duration::from_millis(10);
/// The longest time between two looks.
const LONGEST: Duration = Duration::from_millis(50);
/// Looking takes at most one part in so many of the time, as long as [`LONGEST`] allows.
const SHARE: u32 = 10;

/// Watches the processes below this one.
pub struct Watcher {
    self_pid: u32,
    lists_children: bool,
    boot: Moment,
    inspector: Inspector,
    lives: Vec<Watched>,
    /// The life that each process is in now: index into `lives`.
    current: BTreeMap<u32, usize>,
    last_look: Moment,
    /// What the last looks took. The least of them is the work; the rest is a busy machine.
    costs: [Duration; 4],
}

/// A life with what the watcher needs beside.
struct Watched {
    life: Life,
    file: FileKey,
    stack: u64,
    /// Becomes readable when it ends. Only for lives of interest: a descriptor each.
    end: Option<OwnedFd>,
}

impl Watcher {
    /// How processes are found, for the ledger.
    #[must_use]
    pub fn method() -> &'static str {
        "poll 10 ms"
    }

    /// Begins: from now on, orphans below this process become its children.
    #[must_use]
    pub fn start() -> Self {
        let own = getpid();
        // Linux 3.4 and later have it; before that, orphans are lost from sight, no more.
        let _ = set_child_subreaper(Some(own));
        Self {
            self_pid: own.as_raw_nonzero().get().unsigned_abs(),
            lists_children: proc::lists_children(),
            boot: proc::boot(),
            inspector: Inspector::start(),
            lives: Vec::new(),
            current: BTreeMap::new(),
            last_look: Moment::now(),
            costs: [Duration::ZERO; 4],
        }
    }

    /// How long to wait before the next [`Watcher::look`].
    #[must_use]
    pub fn interval(&self) -> Duration {
        let cost = self.costs.into_iter().min().unwrap_or_default();
        (cost * SHARE).clamp(INTERVAL, LONGEST)
    }

    /// Looks once: finds new processes, execs and ends.
    pub fn look(&mut self) {
        let began = Instant::now();
        let now = Moment::now();
        let last = std::mem::replace(&mut self.last_look, now);
        for pid in self.descendants() {
            let Some(stat) = proc::stat(pid) else {
                continue;
            };
            self.see(pid, stat, now, last);
        }
        let present: Vec<u32> = self.current.keys().copied().collect();
        for pid in present {
            self.check_end(pid, now);
        }
        if self.inspector.take() {
            self.hold_ends();
        }
        self.costs.rotate_left(1);
        self.costs[3] = began.elapsed();
    }

    /// All processes below this one.
    fn descendants(&self) -> Vec<u32> {
        let mut found = Vec::new();
        if self.lists_children {
            proc::children(self.self_pid, &mut found);
            let mut next = 0;
            while let Some(&pid) = found.get(next) {
                proc::children(pid, &mut found);
                next += 1;
            }
        } else {
            let parents = proc::parents();
            let mut above = vec![self.self_pid];
            while let Some(parent) = above.pop() {
                for (pid, _) in parents.iter().filter(|(_, p)| *p == parent) {
                    found.push(*pid);
                    above.push(*pid);
                }
            }
        }
        found
    }

    fn see(&mut self, pid: u32, stat: Stat, now: Moment, last: Moment) {
        if stat.ended() {
            return;
        }
        let file = match proc::executable(pid) {
            Ok(metadata) => FileKey::of(&metadata),
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                FileKey::hidden(pid, stat.start_ticks)
            }
            Err(_) => return,
        };
        let mut generation = 0;
        let mut began = proc::started(self.boot, stat.start_ticks);
        if let Some(&index) = self.current.get(&pid) {
            let known = &mut self.lives[index];
            let same_process = known.life.start_ticks == stat.start_ticks;
            // An exec of the same file shows in the stack's place only.
            if same_process && known.file == file && !far(known.stack, stat.stack) {
                known.stack = stat.stack;
                return;
            }
            if same_process {
                known.life.end = End::Exec { at: now };
                generation = known.life.generation + 1;
                began = last;
            } else {
                known.life.end = End::Gone {
                    at: now,
                    status: None,
                };
            }
            known.end = None;
            self.current.remove(&pid);
        }
        if generation == 0 && self.shares_memory(&stat, file) {
            return;
        }
        self.inspector.want(file, || proc::open_executable(pid));
        let boring = matches!(
            self.inspector.get(file),
            Some(Inspection::Elf(found)) if found.go.is_none()
        );
        self.current.insert(pid, self.lives.len());
        self.lives.push(Watched {
            life: Life {
                pid,
                inner_pid: proc::inner_pid(pid),
                start_ticks: stat.start_ticks,
                generation,
                executable: proc::executable_path(pid),
                inspection: Inspection::Pending,
                coverage_directory: if boring {
                    CoverageDirectory::Unknown
                } else {
                    proc::coverage_directory(pid)
                },
                began,
                first_seen: now,
                end: End::None,
                tap: crate::life::Tap::None,
            },
            file,
            stack: stat.stack,
            end: None,
        });
        self.hold_end(self.lives.len() - 1);
    }

    /// Whether this is a child between fork and exec: it still runs its parent's program, in one
    /// thread and on its parent's stack, and is not a life of its own.
    fn shares_memory(&self, stat: &Stat, file: FileKey) -> bool {
        self.current.get(&stat.parent).is_some_and(|&index| {
            let parent = &self.lives[index];
            stat.threads == 1 && stat.stack > 1 && parent.file == file && parent.stack == stat.stack
        })
    }

    fn check_end(&mut self, pid: u32, now: Moment) {
        let Some(&index) = self.current.get(&pid) else {
            return;
        };
        let start = self.lives[index].life.start_ticks;
        let status = match proc::stat(pid) {
            Some(stat) if stat.start_ticks != start => None,
            Some(stat) if stat.ended() => {
                // Nobody who may not trace it sees the status: then it reads 0, and so does success.
                readable(pid).then(|| Status::from_wait(stat.exit_code))
            }
            Some(_) => return,
            None => None,
        };
        self.end(pid, index, now, status);
    }

    fn end(&mut self, pid: u32, index: usize, at: Moment, status: Option<Status>) {
        self.lives[index].life.end = End::Gone { at, status };
        self.lives[index].end = None;
        self.current.remove(&pid);
    }

    /// Notes that a child was reaped: that is the surest word about how it ended.
    pub fn reaped(&mut self, pid: u32, status: Status) {
        let now = Moment::now();
        if let Some(&index) = self.current.get(&pid) {
            self.end(pid, index, now, Some(status));
            return;
        }
        // It was seen as a zombie before.
        let last = self.lives.iter_mut().rev().find(|w| w.life.pid == pid);
        if let Some(Watched { life, .. }) = last
            && let End::Gone { at, .. } = life.end
        {
            life.end = End::Gone {
                at,
                status: Some(status),
            };
        }
    }

    /// Opens descriptors for the lives of interest that are known by now.
    fn hold_ends(&mut self) {
        let current: Vec<usize> = self.current.values().copied().collect();
        for index in current {
            self.hold_end(index);
        }
    }

    fn hold_end(&mut self, index: usize) {
        let watched = &mut self.lives[index];
        let instrumented = matches!(
            self.inspector.get(watched.file),
            Some(Inspection::Elf(found)) if found.instrumented
        );
        if instrumented && watched.end.is_none() {
            watched.end = open(&watched.life);
        }
    }

    /// Become readable when a process of interest ends.
    #[must_use]
    pub fn ends(&self) -> Vec<BorrowedFd<'_>> {
        self.current
            .values()
            .filter_map(|&index| self.lives[index].end.as_ref())
            .map(AsFd::as_fd)
            .collect()
    }

    /// Asks what still runs to end: SIGTERM.
    pub fn terminate(&self) {
        for life in self.running() {
            if let Some(process) = open(life) {
                // It may have ended in this moment; that is what we want.
                let _ = pidfd_send_signal(&process, Signal::TERM);
            }
        }
    }

    /// What still runs.
    #[must_use]
    pub fn running(&self) -> Vec<&Life> {
        self.current
            .values()
            .map(|&index| &self.lives[index].life)
            .collect()
    }

    /// Everything that was seen.
    #[must_use]
    pub fn finish(self) -> Vec<Life> {
        let known = self.inspector.finish();
        self.lives
            .into_iter()
            .map(|watched| {
                let mut life = watched.life;
                if let Some(inspection) = known.get(&watched.file) {
                    life.inspection = inspection.clone();
                }
                life
            })
            .collect()
    }
}

/// Whether two stacks are of different execs. While an exec goes on, the address is not known (0) or
/// moves by the size of the arguments; another exec's is random over gigabytes.
fn far(before: u64, after: u64) -> bool {
    const ARGUMENTS: u64 = 8 << 20;
    before > 1 && after > 1 && before.abs_diff(after) > ARGUMENTS
}

/// A descriptor of the process of a life; `None` when it has ended.
fn open(life: &Life) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(life.pid).ok()?)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // The number may be another process's by now. Once it is open, it stays what it is.
    (proc::stat(life.pid)?.start_ticks == life.start_ticks).then_some(process)
}

/// Whether we may see how a process ended: whether it is ours.
fn readable(pid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let ours = rustix::process::geteuid();
    std::fs::metadata(format!("/proc/{pid}"))
        .is_ok_and(|m| ours.is_root() || m.uid() == ours.as_raw())
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
