//! The tracer's thread: waits, serves stops, answers requests. Which thread it traces is decided in
//! `anchor`.

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
use super::task;
use super::{Event, LONGEST_STOP, Stop};
use crate::life::Status;

/// Whether this process has a tracer.
static TAKEN: AtomicBool = AtomicBool::new(false);

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
pub(super) struct Traced {
    /// With the number, its identity. An exec does not change it.
    pub(super) start_ticks: u64,
    /// Where an anchor that is not the leader has its process's stack: that tells an exec from none.
    pub(super) stack: u64,
    /// The thread that is traced, if need be beside its ended leader.
    pub(super) anchor: u32,
    /// Whether the leader is our tracee. Then it goes nowhere without our wait, unless an exec takes its
    /// place.
    pub(super) leader: bool,
    pub(super) state: State,
    /// To be let go at the next stop.
    pub(super) detach: bool,
    /// The exec of [`super::Survival::Exec`] may still be on its way to its stop.
    pub(super) told_of_exec: bool,
}

/// Where a traced process is.
pub(super) enum State {
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

/// The thread's state.
pub(super) struct Server<S> {
    pub(super) own_tid: u32,
    pub(super) own_pid: u32,
    mailbox: Arc<Mailbox>,
    children: Children,
    pub(super) sink: S,
    /// By process id.
    pub(super) traced: BTreeMap<u32, Traced>,
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
}

/// The signals that stop a group. An event stop with another one is no group stop.
fn stops_a_group(signal: i32) -> bool {
    matches!(
        signal,
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU
    )
}
