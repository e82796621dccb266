//! Which thread of a process is traced: the first one, and the next when that ends.

use super::server::{Server, State, Traced};
use super::task::{self, Task};
use super::{Event, SeizeError, Survival, sys};
use crate::life::Status;
use crate::proc;

/// How often a process is looked at again that changes its threads while it is being seized.
const TRIES: usize = 8;

impl<S: FnMut(Event)> Server<S> {
    pub(super) fn seize(&mut self, tid: u32) -> Result<(), SeizeError> {
        let task = Task::find(tid).ok_or(SeizeError::Gone { pid: tid })?;
        let pid = task.pid;
        if pid == self.own_pid {
            return Err(SeizeError::Own { pid });
        }
        if let Some(traced) = self.traced.get_mut(&pid) {
            traced.detach = false;
            return Ok(());
        }
        let gone = SeizeError::Gone { pid };
        let start_ticks = proc::stat(pid).ok_or(gone)?.start_ticks;
        let anchor = match self.try_seize(pid, tid)? {
            Some(anchor) => anchor,
            // The thread has ended; its process may go on.
            None => self.seize_any(pid, start_ticks)?,
        };
        self.begin(pid, start_ticks, anchor);
        Ok(())
    }

    fn begin(&mut self, pid: u32, start_ticks: u64, anchor: u32) {
        let (stack, leader) = if anchor == pid {
            (0, true)
        } else {
            // By the anchor: a leader that has ended shows none.
            let stack = proc::stat(anchor).map_or(0, |s| s.stack);
            let leader = Task::find(pid).is_some_and(|t| t.tracer == self.own_tid);
            (stack, leader)
        };
        let traced = Traced {
            start_ticks,
            stack,
            anchor,
            leader,
            state: State::Running,
            detach: false,
            told_of_exec: false,
        };
        self.traced.insert(pid, traced);
    }

    /// Seizes a thread of `pid`; returns its number, which an exec may have changed meanwhile. `None`
    /// when that thread has ended.
    fn try_seize(&self, pid: u32, tid: u32) -> Result<Option<u32>, SeizeError> {
        // What is found after a refusal may be a new thread: one that took the number of the refused
        // one over by an exec. Then it is not known why, and the next try tells.
        let mut again = true;
        loop {
            let Err(error) = sys::seize(tid) else {
                let there = tid == pid || task::is_thread_of(tid, pid);
                return Ok(Some(if there { tid } else { pid }));
            };
            match error.raw_os_error() {
                Some(libc::ESRCH) => return Ok(None),
                Some(libc::EPERM) => {}
                _ => return Err(SeizeError::Failed { pid, source: error }),
            }
            match Task::find(tid) {
                None => return Ok(None),
                Some(task) if task.tracer == self.own_tid || task.ended() => return Ok(None),
                Some(_) if again => again = false,
                Some(task) => return Err(refused(pid, tid, task)),
            }
        }
    }

    /// Seizes a thread of a process that lives, the leader if possible.
    fn seize_any(&self, pid: u32, start_ticks: u64) -> Result<u32, SeizeError> {
        for _ in 0..TRIES {
            if proc::stat(pid).is_none_or(|s| s.start_ticks != start_ticks) {
                break;
            }
            for tid in task::living(pid) {
                if let Some(anchor) = self.try_seize(pid, tid)? {
                    return Ok(anchor);
                }
            }
        }
        Err(SeizeError::Gone { pid })
    }

    /// Looks at the leaders that are past their exit stop and whose end has not come: their processes
    /// may go on. (The kernel raises SIGCHLD for each when it becomes a zombie, and no later one if an exec
    /// takes its number over.)
    pub(super) fn look_after_leaders(&mut self) {
        let leaving: Vec<u32> = self
            .traced
            .iter()
            .filter(|(_, t)| matches!(t.state, State::Leaving))
            .map(|(&pid, _)| pid)
            .collect();
        for pid in leaving {
            match Task::find(pid) {
                // On its way.
                Some(task) if task.tracer == self.own_tid && !task.ended() => {}
                // All of it has ended: that comes next.
                Some(task) if task.tracer == self.own_tid && task.threads <= 1 => {}
                _ => self.find_new_anchor(pid),
            }
        }
    }

    /// The anchor of this process has ended: goes on with another thread, if there is one.
    pub(super) fn find_new_anchor(&mut self, pid: u32) {
        let Some(traced) = self.traced.get(&pid) else {
            return;
        };
        let (start_ticks, stack, leader_was_ours) =
            (traced.start_ticks, traced.stack, traced.leader);
        let detach = traced.detach;
        // An exec that is at work lets this wait until its new image is there. It waits for nothing from
        // us: the anchor has ended.
        let seized = if detach {
            Err(SeizeError::Gone { pid })
        } else {
            self.seize_any(pid, start_ticks)
        };
        let leader = Task::find(pid);
        match seized {
            Ok(anchor) => {
                let other = || proc::stat(pid).is_some_and(|s| s.stack != stack);
                let exec = anchor == pid && (leader_was_ours || other());
                self.begin(pid, start_ticks, anchor);
                if let Some(traced) = self.traced.get_mut(&pid) {
                    traced.told_of_exec = exec;
                }
                (self.sink)(Event::Survived {
                    pid,
                    tid: anchor,
                    because: if exec {
                        Survival::Exec
                    } else {
                        Survival::Thread
                    },
                });
            }
            // The rest is ending, or was let go. The leader is our tracee: its end comes by wait.
            Err(SeizeError::Gone { .. }) if leader.is_some_and(|t| t.tracer == self.own_tid) => {
                self.set_state(pid, State::Leaving);
            }
            Err(SeizeError::Gone { .. }) => self.ended_untraced(pid, start_ticks, leader),
            Err(because) => {
                self.traced.remove(&pid);
                (self.sink)(Event::Lost { pid, because });
            }
        }
    }

    fn set_state(&mut self, pid: u32, state: State) {
        if let Some(traced) = self.traced.get_mut(&pid) {
            traced.anchor = pid;
            traced.state = state;
        }
    }

    /// Nothing of a process can be traced any more, and its leader, if there is one, is none of our
    /// tracees.
    fn ended_untraced(&mut self, pid: u32, start_ticks: u64, leader: Option<Task>) {
        let Some(traced) = self.traced.get(&pid) else {
            return;
        };
        let (leader_was_ours, detach) = (traced.leader, traced.detach);
        let stat = proc::stat(pid).filter(|s| s.start_ticks == start_ticks);
        let ended = stat.is_none_or(|s| s.ended());
        if detach && !ended {
            self.traced.remove(&pid);
            return;
        }
        if leader_was_ours {
            (self.sink)(Event::Survived {
                pid,
                tid: pid,
                because: Survival::Exec,
            });
        }
        if leader.is_some_and(|t| t.parent == self.own_pid) {
            self.set_state(pid, State::Ended);
            return;
        }
        self.traced.remove(&pid);
        let status = stat
            .filter(|s| s.ended())
            .map(|s| Status::from_wait(s.exit_code));
        (self.sink)(Event::Gone { pid, status });
    }
}

/// Why the kernel said EPERM.
fn refused(pid: u32, tid: u32, task: Task) -> SeizeError {
    if task.tracer != 0 {
        // A tracer is a thread; people know its process.
        let by = Task::find(task.tracer).map_or(task.tracer, |t| t.pid);
        SeizeError::AlreadyTraced { pid, by }
    } else if task::is_kernel_thread(tid) {
        SeizeError::KernelThread { pid }
    } else {
        SeizeError::Denied { pid }
    }
}
