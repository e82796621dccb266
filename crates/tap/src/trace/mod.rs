//! ptrace: the exit stop of a process, its execs, its signals.
//!
//! [`Tracer`] is a thread of its own that makes all ptrace calls and all waits of this process: the
//! kernel lets only the thread that seized control a tracee, and a wait of any thread would take the
//! stops and the ends that are meant for this one. So **nothing else in this process waits for children**
//! (`Command::output`, `Child::wait`) while there is a tracer; there is one at a time. A child is started
//! through [`Tracer::spawn`]; or, where its exec may be held until the tracer has seized it, from
//! another thread, with a `Command` that needs no wait of its own when the exec fails (`posix_spawn`, so
//! without `pre_exec` and other users).
//!
//! One thread of a target is traced, its *anchor*: the leader, or, where that has ended before its
//! process, another one. A thread that traps at its exit holds the memory of the whole process, so one is
//! enough; the others run as if nobody watched. Children are never traced.
//!
//! What a target notices: each signal to the anchor and each exec takes one more way through the
//! scheduler. Signals, stops, exit status and its parent's view stay what they are. When this process
//! dies, by whatever means, the kernel lets all targets go on. A target has one tracer: as long as this is it,
//! no debugger can attach. And a traced process that execs a setuid program gives it no rights, unless
//! the tracer has `CAP_SYS_PTRACE` itself: trace only what is known to be worth it.
//!
//! # The kernel's rules that shape this
//!
//! * An exit stop of the anchor is no death for sure: the same stop comes when another thread calls
//!   execve (the old image is still mapped), or when the anchor alone ends. [`Event::Survived`] tells;
//!   a death is followed by [`Event::Gone`].
//! * An execve of another thread than the leader lets the leader vanish without a word. It holds
//!   `cred_guard_mutex` from before it kills the other threads until its new image is there, and
//!   PTRACE_SEIZE takes that mutex. So when the leader has become a zombie, a SEIZE of what else lives in
//!   that process returns when the exec is done, and has got the new program before its first
//!   instruction, as a rule.
//! * The same mutex is why no thread of a process is seized while another of its threads is an anchor
//!   that may have to be served: the tracer would wait for the exec, which waits for the anchor's end,
//!   which waits for the tracer.
//! * `exit_group` kills the other threads, but one that runs on another processor may run on for
//!   microseconds of the exit stop: a counter read there may still grow.
//! * SIGKILL may come between the moment that a signal stop is seen and the moment that it is
//!   continued. If the tracer is off the processor for exactly so long that the target reaches its exit stop
//!   meanwhile, that is what gets continued, and [`Event::Gone`] comes without an
//!   [`Event::Exiting`]. No order of calls avoids it; nothing else is between the two calls.
//!
//! Sources: ptrace(2), wait(2); Linux kernel/ptrace.c, kernel/exit.c, kernel/signal.c, fs/exec.c (6.18).

mod anchor;
mod mailbox;
mod server;
mod sys;
mod task;

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mailbox::{Mailbox, Request};

use crate::life::Status;

/// The longest time that a process is held at a stop: then it goes on, whatever its reader does.
pub const LONGEST_STOP: Duration = Duration::from_millis(500);

/// Traces processes and reaps children: a handle to the thread that does. When it is dropped, every
/// process goes on untraced and the thread ends.
///
/// The handle may be used from all threads, but not from within the sink: its thread would wait for
/// itself. (Dropping a [`Stop`] there is fine.)
pub struct Tracer {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl Tracer {
    /// Starts the thread. `sink` is called on it, for every event, in the order in which they happened to
    /// each process; as long as it works no process is served, so it should do no more than send into a
    /// channel.
    ///
    /// # Errors
    /// `AlreadyExists` when this process has a tracer; those of making descriptors and a thread.
    pub fn start(sink: impl FnMut(Event) + Send + 'static) -> io::Result<Self> {
        let mailbox = Arc::new(Mailbox::new()?);
        let thread = server::start(Arc::clone(&mailbox), sink)?;
        Ok(Self {
            mailbox,
            thread: Some(thread),
        })
    }

    /// Starts a child and returns its process id. It is not traced; its end comes as
    /// [`Event::Reaped`], maybe before this returns. Pipes that `command` would make are closed: give it
    /// descriptors.
    ///
    /// The tracer's thread is its parent thread: a child that asked for a signal at its parent's death
    /// (`PR_SET_PDEATHSIG`) gets it when the tracer is dropped.
    ///
    /// # Errors
    /// As of [`Command::spawn`]; `BrokenPipe` when the thread has ended.
    pub fn spawn(&self, command: Command) -> io::Result<u32> {
        let (reply, answer) = channel();
        self.mailbox.send(Request::Spawn {
            command: Box::new(command),
            reply,
        });
        answer
            .recv()
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::BrokenPipe)))
    }

    /// Begins to trace a process, given by its number or that of one of its threads: the thread of an
    /// exec that is being held. The process is not stopped. One that is traced by this tracer already
    /// stays so; in that case a thread of it that is in execve is not seized beside its anchor (see
    /// the module), and the new program is met by [`Event::Survived`].
    ///
    /// This blocks, with the tracer and the processes that it traces, while the kernel holds
    /// `cred_guard_mutex` for an exec of that process, for instance while someone holds the opening of its
    /// interpreter. Whoever holds an exec uses [`Tracer::seize_async`] and lets the exec go after a
    /// short time, whatever happens.
    ///
    /// # Errors
    /// [`SeizeError`].
    pub fn seize(&self, pid_or_tid: u32) -> Result<(), SeizeError> {
        let (reply, answer) = channel();
        self.mailbox.send(Request::Seize {
            tid: pid_or_tid,
            reply: Some(reply),
        });
        answer.recv().unwrap_or(Err(SeizeError::TracerEnded))
    }

    /// As [`Tracer::seize`], but returns at once; the answer comes as [`Event::Seized`], unless the
    /// tracer has ended.
    ///
    /// While a SEIZE blocks, everything that is traced waits with it: the calls for a tracee have to come
    /// from the thread that seized it, so there is no second thread that could serve the others.
    /// The side that holds the exec bounds that time (20 ms).
    pub fn seize_async(&self, pid_or_tid: u32) {
        self.mailbox.send(Request::Seize {
            tid: pid_or_tid,
            reply: None,
        });
    }

    /// Lets a process go on untraced, soon. If it ends before, that is still reported.
    pub fn detach(&self, pid: u32) {
        self.mailbox.send(Request::Detach(pid));
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.mailbox.send(Request::End);
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A sink that panicked has ended the thread before; the kernel has let everything go.
            let _ = thread.join();
        }
    }
}

/// Something that happened to a traced process or a child.
#[derive(Debug)]
pub enum Event {
    /// The answer to [`Tracer::seize_async`].
    Seized {
        /// The number that was asked for.
        pid_or_tid: u32,
        /// Whether the process is traced.
        result: Result<(), SeizeError>,
    },
    /// A traced process runs another program: its memory is there, no instruction of it has run. It is
    /// held until `stop` is dropped.
    Exec {
        /// The process.
        pid: u32,
        /// The number that the thread had which called execve: `pid`, or another thread's.
        former_tid: u32,
        /// Holds it.
        stop: Stop,
    },
    /// The anchor of a traced process is about to end: a death, unless [`Event::Survived`] follows. The
    /// memory is as it was, and stays so until `stop` is dropped.
    Exiting {
        /// The process.
        pid: u32,
        /// Its anchor. Read the memory by this number: a process whose leader has ended before shows none
        /// under its own.
        tid: u32,
        /// How it ends, as `wait` will say it ([`Status::from_wait`]), if it is a death.
        wait_status: i32,
        /// Holds it.
        stop: Stop,
    },
    /// A process that was at an exit stop lives on, and is traced again. (A program that another thread
    /// called may live for less time than it takes to seize it, on a busy machine; and a thread that has
    /// called `exit_group` can be seized until it gets to its end: then [`Event::Gone`] is next, with or
    /// without another [`Event::Exiting`].)
    Survived {
        /// The process.
        pid: u32,
        /// The thread that is its anchor now.
        tid: u32,
        /// Why.
        because: Survival,
    },
    /// A traced process has ended, and is not traced any more.
    Gone {
        /// The process.
        pid: u32,
        /// How; `None` when somebody else has got that word.
        status: Option<Status>,
    },
    /// A child of this process that was not traced has ended and was reaped: one that was spawned, or an
    /// orphan that was adopted.
    Reaped {
        /// The process.
        pid: u32,
        /// How.
        status: Status,
    },
    /// A process that lives on is not traced any more.
    Lost {
        /// The process.
        pid: u32,
        /// Why.
        because: SeizeError,
    },
}

/// Why a process lives on after an exit stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// One of its threads called execve: it runs another program, and has another memory. No
    /// [`Event::Exec`] tells of this exec.
    Exec,
    /// Only the thread has ended: the program and its memory are the same.
    Thread,
}

/// Holds a process at a stop until it is dropped, [`Stop::detach`] is called or [`LONGEST_STOP`] is
/// over, whatever comes first. May be given to another thread.
#[derive(Debug)]
#[must_use = "the process goes on when this is dropped"]
pub struct Stop {
    number: u64,
    until: Instant,
    detach: bool,
    mailbox: Arc<Mailbox>,
}

impl Stop {
    /// When the process goes on at the latest.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Lets the process go on untraced. At an exit stop its end is still reported.
    pub fn detach(mut self) {
        self.detach = true;
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.mailbox.send(Request::Release {
            stop: self.number,
            detach: self.detach,
        });
    }
}

/// Why a process cannot be traced.
#[derive(Debug, thiserror::Error)]
pub enum SeizeError {
    /// It has ended, or there is no such process.
    #[error("process {pid} is gone")]
    Gone {
        /// The process.
        pid: u32,
    },
    /// We may not.
    #[error("no permission to trace process {pid}")]
    Denied {
        /// The process.
        pid: u32,
    },
    /// A process has one tracer.
    #[error("process {pid} is traced by process {by} already")]
    AlreadyTraced {
        /// The process.
        pid: u32,
        /// Its tracer.
        by: u32,
    },
    /// It is a thread of the kernel, without a program.
    #[error("process {pid} is a thread of the kernel")]
    KernelThread {
        /// The process.
        pid: u32,
    },
    /// It is this process.
    #[error("process {pid} cannot trace itself")]
    Own {
        /// The process.
        pid: u32,
    },
    /// The tracer's thread has ended.
    #[error("the tracer has ended")]
    TracerEnded,
    /// Something else.
    #[error("cannot trace process {pid}: {source}")]
    Failed {
        /// The process.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
    },
}
