//! How lives end, and which are forgotten then.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{PassedOn, Watched, Watcher};
use crate::clock::Moment;
use crate::life::{End, Inspection, Life, Status};
use crate::proc;
use crate::watch::Scope;

impl Watcher {
    /// The last life of a process that was seen later than `since`.
    pub(super) fn last_life(&mut self, pid: u32, since: Moment) -> Option<&mut Watched> {
        let mut lives = self.lives.iter_mut().rev();
        // They are in the order of their first sight.
        lives
            .by_ref()
            .take_while(|w| w.life.first_seen >= since)
            .find(|w| w.life.pid == pid)
    }

    /// Tells how a life ended where that was not seen.
    pub(super) fn ended_as(&mut self, pid: u32, since: Moment, status: Status) {
        if let Some(Watched { life, .. }) = self.last_life(pid, since)
            && let End::Gone { at, status: None } = life.end
        {
            life.end = End::Gone {
                at,
                status: Some(status),
            };
        }
    }

    /// Looks whether a process has ended; `told` is how, as its first thread's end was told.
    pub(super) fn check_end(&mut self, pid: u32, now: Moment, told: Option<Status>) {
        let Some(&index) = self.current.get(&pid) else {
            return;
        };
        if self.lives[index].traced {
            // The tracer tells.
            return;
        }
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
        self.end(pid, index, now, status.or(told));
    }

    pub(super) fn end(&mut self, pid: u32, index: usize, at: Moment, status: Option<Status>) {
        self.lives[index].life.end = End::Gone { at, status };
        self.over(index, "its end was not awaited");
        self.current.remove(&pid);
    }

    pub(super) fn over(&mut self, index: usize, because: &str) {
        self.lives[index].end = None;
        self.lives[index].traced = false;
        self.leave(index);
        if let Some(states) = &self.states {
            states.over(self.lives[index].life.key(), because);
        }
    }

    /// A child was reaped: that is the surest word about how it ended.
    pub(super) fn reaped_child(&mut self, pid: u32, status: Status, now: Moment) {
        if let Some(&index) = self.current.get(&pid) {
            self.end(pid, index, now, Some(status));
            return;
        }
        // It was seen as a zombie before.
        self.ended_as(pid, Moment::default(), status);
    }

    /// Forgets the lives that nobody will ask for, of those that have ended: what was passed on; programs
    /// of others than Go; and of
    /// Go's without coverage all but one of each in a container: what runs and probes containers is
    /// written in Go, and never ceases.
    pub(super) fn forget_ended(&mut self) {
        let Self {
            lives,
            current,
            inspector,
            reach,
            ..
        } = self;
        let mut kept = HashSet::new();
        lives.retain(|watched| {
            let Watched { life, file, .. } = watched;
            if watched.passed_on == PassedOn::End {
                return false;
            }
            let many = life.added.is_some() || matches!(reach.scope(), Scope::Containers);
            let mut is_first = || kept.insert((*file, life.cgroup.clone()));
            life.running()
                || match inspector.get(*file) {
                    Some(Inspection::Elf(found)) if many && !found.instrumented => {
                        found.go.is_some() && is_first()
                    }
                    Some(Inspection::Elf(found)) => found.go.is_some(),
                    Some(Inspection::Failed(_)) => false,
                    // What was missed has no file that could be looked at, and is told in the end.
                    Some(Inspection::Pending) | None => true,
                }
        });
        current.clear();
        for (index, watched) in lives.iter().enumerate() {
            if watched.life.running() {
                current.insert(watched.life.pid, index);
            }
        }
    }
}

/// A descriptor of the process of a life; `None` when it has ended.
pub(super) fn open(life: &Life) -> Option<OwnedFd> {
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
