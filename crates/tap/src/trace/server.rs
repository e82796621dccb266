//! The tracer's thread: waits, serves stops, answers requests.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::getpid;
use rustix::thread::gettid;
use signal_hook::SigId;
use signal_hook::consts::SIGCHLD;
use signal_hook::low_level::{pipe, unregister};

use super::mailbox::{Mailbox, Request};
use super::sys::{self, Change};
use super::task::{self, Task};
use super::{Event, LONGEST_STOP, SeizeError, Stop, Survival};
use crate::life::Status;
use crate::proc;

/// Whether this process has a tracer.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// How often a process is looked at again that changes its threads while it is being seized.
const TRIES: usize = 8;

/// Changes that are served before requests and deadlines get their turn.
const BURST: usize = 256;

/// Starts the thread.
pub(super) fn start(
    mailbox: Arc<Mailbox>,
    sink: impl FnMut(Event) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let only = Only::take()?;
    let children = Children::listen()?;
    std::thread::Builder::new()
        .name("covtap-tracer".to_owned())
        .spawn(move || {
            // Closed when the thread ends, also by a panic in the sink: nobody waits for an answer in vain.
            let closes = Closes(Arc::clone(&mailbox));
            let mut server = Server {
                own_tid: gettid().as_raw_nonzero().get().unsigned_abs(),
                own_pid: getpid().as_raw_nonzero().get().unsigned_abs(),
                mailbox,
                children,
                sink,
                traced: BTreeMap::new(),
                stops: 0,
            };
            server.run();
            // The kernel detaches everything when this thread is gone: a signal on its way is delivered, a
            // stopped group stays stopped, an exit goes on.
            drop((server, closes, only));
        })
}

/// The right to be the tracer of this process.
struct Only;

impl Only {
    fn take() -> io::Result<Self> {
        if TAKEN.swap(true, Ordering::AcqRel) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "this process has a tracer already",
            ));
        }
        Ok(Self)
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

struct Closes(Arc<Mailbox>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// SIGCHLD as something to wait for: every stop and every end raises it.
struct Children {
    stream: UnixStream,
    id: SigId,
}

impl Children {
    fn listen() -> io::Result<Self> {
        let (stream, write) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let id = pipe::register(SIGCHLD, write)?;
        Ok(Self { stream, id })
    }

    /// Forgets what has come so far. Done before looking: the other order would lose some.
    fn drain(&self) {
        let mut buffer = [0; 256];
        // It does not block: an error is "nothing there".
        while (&self.stream)
            .read(&mut buffer)
            .is_ok_and(|n| n == buffer.len())
        {}
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        unregister(self.id);
    }
}

/// A traced process.
struct Traced {
    /// With the number, its identity. An exec does not change it.
    start_ticks: u64,
    /// Where an anchor that is not the leader has its process's stack: that tells an exec from none.
    stack: u64,
    /// The thread that is traced, if need be beside its ended leader.
    anchor: u32,
    /// Whether the leader is our tracee. Then it goes nowhere without our wait, unless an exec takes its
    /// place.
    leader: bool,
    state: State,
    /// To be let go at the next stop.
    detach: bool,
    /// The exec of [`Survival::Exec`] may still be on its way to its stop.
    told_of_exec: bool,
}

enum State {
    /// Its anchor runs, as far as we know.
    Running,
    /// Its anchor stands at a stop that somebody holds.
    Held {
        number: u64,
        until: Instant,
        exiting: bool,
    },
    /// Its anchor, the leader, is past its exit stop.
    Leaving,
    /// It is a child of ours that has ended untraced: to be reaped.
    Ended,
}

struct Server<S> {
    own_tid: u32,
    own_pid: u32,
    mailbox: Arc<Mailbox>,
    children: Children,
    sink: S,
    /// By process id.
    traced: BTreeMap<u32, Traced>,
    /// How many stops there were.
    stops: u64,
}

impl<S: FnMut(Event)> Server<S> {
    fn run(&mut self) {
        // Whoever made this thread may have blocked it, and then it would reach nobody.
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        // It fails for invalid arguments only.
        let _ = signals.thread_unblock();
        loop {
            self.children.drain();
            let mut busy = true;
            for _ in 0..BURST {
                let Some((tid, change)) = sys::wait_any() else {
                    busy = false;
                    break;
                };
                self.serve(tid, change);
            }
            self.look_after_leaders();
            for request in self.mailbox.take() {
                if matches!(request, Request::End) {
                    return;
                }
                self.answer(request);
            }
            self.end_overdue_stops();
            if !busy {
                self.wait();
            }
        }
    }

    /// Waits until a child changes, a request comes or a stop has been held for too long.
    fn wait(&self) {
        let mut fds = [
            PollFd::new(&self.children.stream, PollFlags::IN),
            PollFd::from_borrowed_fd(self.mailbox.wake(), PollFlags::IN),
        ];
        let next = self.traced.values().filter_map(|t| match t.state {
            State::Held { until, .. } => Some(until),
            State::Running | State::Leaving | State::Ended => None,
        });
        let timeout = next.min().map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        // Interrupted (by SIGCHLD itself): the loop looks again.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    /// The process of which this is the number, or the anchor.
    fn process_of(&self, tid: u32) -> Option<u32> {
        if self.traced.contains_key(&tid) {
            return Some(tid);
        }
        let mut all = self.traced.iter();
        all.find_map(|(&pid, t)| (t.anchor == tid).then_some(pid))
    }

    fn serve(&mut self, tid: u32, change: Change) {
        match change {
            Change::Ended(raw) => self.ended(tid, raw),
            Change::Stopped { signal, event } => self.stopped(tid, signal, event),
        }
    }

    fn ended(&mut self, tid: u32, raw: i32) {
        let status = Status::from_wait(raw);
        if self.traced.remove(&tid).is_some() {
            (self.sink)(Event::Gone {
                pid: tid,
                status: Some(status),
            });
        } else if let Some(pid) = self.process_of(tid) {
            self.find_new_anchor(pid);
        } else {
            (self.sink)(Event::Reaped { pid: tid, status });
        }
    }

    fn stopped(&mut self, tid: u32, signal: i32, event: i32) {
        let Some(pid) = self.process_of(tid) else {
            // A child that had itself traced (PTRACE_TRACEME) without anybody's wish.
            self.go_on(tid, tid, if event == 0 { signal } else { 0 });
            return;
        };
        match event {
            libc::PTRACE_EVENT_EXIT => self.stopped_at_exit(pid, tid),
            libc::PTRACE_EVENT_EXEC => self.stopped_at_exec(pid),
            libc::PTRACE_EVENT_STOP if stops_a_group(signal) && !self.is_to_go(pid) => {
                // Refused only when it was killed meanwhile: then it is not stopped any more, and the
                // next change tells. The same holds for all calls below.
                let _ = sys::listen(tid);
            }
            // The end of a group stop, or our own PTRACE_INTERRUPT. (Where the group is stopped, it stays
            // so after a detach.)
            libc::PTRACE_EVENT_STOP => self.go_on(pid, tid, 0),
            0 => self.go_on(pid, tid, signal),
            _ => self.go_on(pid, tid, 0),
        }
    }

    fn stopped_at_exit(&mut self, pid: u32, tid: u32) {
        // It is killed once more or released by an exec: that comes as the next change.
        let Ok(message) = sys::event_message(tid) else {
            return;
        };
        let stop = self.hold(pid, true);
        (self.sink)(Event::Exiting {
            pid,
            tid,
            // A wait status: 16 bits.
            wait_status: i32::try_from(message & 0xffff).unwrap_or_default(),
            stop,
        });
    }

    fn stopped_at_exec(&mut self, pid: u32) {
        let Ok(message) = sys::event_message(pid) else {
            return;
        };
        let Ok(former_tid) = u32::try_from(message) else {
            return;
        };
        let known = self.traced.get_mut(&pid).is_some_and(|t| {
            t.anchor = pid;
            t.leader = true;
            std::mem::take(&mut t.told_of_exec) && former_tid != pid
        });
        if known || self.is_to_go(pid) {
            self.go_on(pid, pid, 0);
            return;
        }
        let stop = self.hold(pid, false);
        (self.sink)(Event::Exec {
            pid,
            former_tid,
            stop,
        });
    }

    /// Notes that the anchor of a process is being held from now on.
    fn hold(&mut self, pid: u32, exiting: bool) -> Stop {
        self.stops += 1;
        let until = Instant::now() + LONGEST_STOP;
        if let Some(traced) = self.traced.get_mut(&pid) {
            traced.state = State::Held {
                number: self.stops,
                until,
                exiting,
            };
        }
        Stop {
            number: self.stops,
            until,
            detach: false,
            mailbox: Arc::clone(&self.mailbox),
        }
    }

    fn is_to_go(&self, pid: u32) -> bool {
        self.traced.get(&pid).is_some_and(|t| t.detach)
    }

    /// Lets a stopped thread go on: traced, unless its process is to be let go.
    fn go_on(&mut self, pid: u32, tid: u32, signal: i32) {
        if !self.is_to_go(pid) {
            let _ = sys::cont(tid, signal);
        } else if sys::detach(tid, signal).is_ok() {
            self.traced.remove(&pid);
        }
    }

    fn release(&mut self, stop: u64, detach: bool) {
        let mut all = self.traced.iter();
        let held = all.find_map(|(&pid, t)| match t.state {
            State::Held {
                number, exiting, ..
            } if number == stop => Some((pid, t.anchor, exiting)),
            _ => None,
        });
        // Otherwise it was held for too long, or killed at an exec stop.
        let Some((pid, anchor, exiting)) = held else {
            return;
        };
        // It may be at its exit stop by now, which this must not end.
        if !exiting && let Some((tid, change)) = sys::wait_for(anchor) {
            self.serve(tid, change);
            if let Some(traced) = self.traced.get_mut(&pid) {
                traced.detach |= detach;
            }
            return;
        }
        let Some(traced) = self.traced.get_mut(&pid) else {
            return;
        };
        traced.detach |= detach;
        if !exiting {
            traced.state = State::Running;
            self.go_on(pid, anchor, 0);
            return;
        }
        // Not detached even when it is to be let go: so its end is ours to report.
        if anchor != pid {
            // That it has ended comes as a change, and then we look further.
            traced.state = State::Running;
            let _ = sys::cont(anchor, 0);
            return;
        }
        traced.state = State::Leaving;
        // While it stands still, no exec gets on. If there is one, it is waited for at once: a short
        // program may have ended before the leader's end wakes us.
        let lives_on = task::living(pid).iter().any(|&tid| tid != pid);
        let _ = sys::cont(anchor, 0);
        if lives_on {
            self.find_new_anchor(pid);
        }
    }

    fn end_overdue_stops(&mut self) {
        let now = Instant::now();
        let overdue: Vec<u64> = self
            .traced
            .values()
            .filter_map(|t| match t.state {
                State::Held { number, until, .. } if until <= now => Some(number),
                _ => None,
            })
            .collect();
        for number in overdue {
            self.release(number, false);
        }
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Seize { tid, reply } => {
                let result = self.seize(tid);
                match reply {
                    // Nobody waits any more: then nobody wants to know.
                    Some(reply) => drop(reply.send(result)),
                    None => (self.sink)(Event::Seized {
                        pid_or_tid: tid,
                        result,
                    }),
                }
            }
            Request::Spawn { mut command, reply } => {
                // Dropping the `Child` neither waits nor kills: it is reaped by our wait.
                drop(reply.send(command.spawn().map(|child| child.id())));
            }
            Request::Detach(pid) => self.detach(pid),
            Request::Release { stop, detach } => self.release(stop, detach),
            // Seen before.
            Request::End => {}
        }
    }

    fn detach(&mut self, pid: u32) {
        let Some(traced) = self.traced.get_mut(&pid) else {
            return;
        };
        traced.detach = true;
        match traced.state {
            State::Running => {
                // It stops for us, or for something else that comes first; gone, it is reported anyway.
                let _ = sys::interrupt(traced.anchor);
            }
            State::Held {
                number,
                exiting: false,
                ..
            } => self.release(number, true),
            State::Held { .. } | State::Leaving | State::Ended => {}
        }
    }

    fn seize(&mut self, tid: u32) -> Result<(), SeizeError> {
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
    fn look_after_leaders(&mut self) {
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
    fn find_new_anchor(&mut self, pid: u32) {
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

/// The signals that stop a group. An event stop with another one is no group stop.
fn stops_a_group(signal: i32) -> bool {
    matches!(
        signal,
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU
    )
}
