//! Holds an instrumented program before its first instruction, until the tracer has it.
//!
//! fanotify's `FAN_OPEN_EXEC_PERM` makes the kernel ask before it opens a file for execution. Whoever
//! is asked must answer: when it is stopped or hangs, every exec on the marked file systems hangs with
//! it. So three processes share the work, all of them this program:
//!
//! ```text
//!  session ──starts──► guardian ──starts──► holder
//!  (covtap)               │ ◄──heartbeat───── │   a pipe, its standard output
//!     ▲                   │                   │
//!     └───── one socket ──┴───────────────────┘   the standard input of both
//! ```
//!
//! * The **holder** alone has the fanotify group. It looks at the ELF file of each exec, once a file,
//!   and allows everything that is not instrumented at once. An instrumented program it tells to the
//!   session, and allows it when the session answers or 20 ms after the session has read of it, whatever
//!   comes first: so a `PTRACE_SEIZE` that waits for this very exec delays it by 20 ms, no more. The same
//!   goes for a session that is stopped. One that is too busy to read gets 200 ms, and one that wants to
//!   run and gets no processor a second.
//! * The **guardian** kills the holder when its heartbeat fails for 2 s. When a holder dies, the kernel
//!   allows what it held. It also kills it when the session is gone.
//! * The holder ends by itself when the session is gone, and the kernel kills it when the guardian is.
//!
//! Guardian and holder leave the session's terminal: Ctrl-C and Ctrl-Z do not reach them.
//!
//! Containers have mount namespaces of their own, with file systems that are mounted nowhere else, and
//! each has a new one. [`Hold::follow`] makes the holder mark what another process can see, a Kind node's
//! first process for example, in whose namespace the file systems of all its pods' containers are
//! mounted. New ones are marked in time, because somebody has to start the container on them:
//!
//! ```text
//!  engine: mount ──► engine: exec runc ──► holder: new mounts? mark them, allow runc ──► runc: exec program
//! ```
//!
//! What it cannot see:
//!
//! * a program in memory only (`memfd_create`), which lies on no file system that can be marked;
//! * one on a file system that is mounted only in a mount namespace that is not followed, as with
//!   `mount -t tmpfs` in `unshare --mount`. A namespace that only has other mounts of the same file systems hides nothing:
//!   marks are on file systems, not on mounts;
//! * one on a user's own file system (FUSE): asking its server for a file while the server waits for
//!   an exec of its own would block both. [`Hold::unmarked`] names these;
//! * one that is executed within a millisecond or so after its file system was mounted, by others than
//!   a container runtime: new mounts are learnt from `/proc/PID/mountinfo` after the fact;
//! * one that is the only file of its mount (`mount --bind FILE FILE`), when its file system is not
//!   visible elsewhere: such mounts are how containers get `/etc/hosts` from the host, whose whole
//!   file system would be marked.
//!
//! What it costs others: marks are on file systems, so every exec of the machine on them asks the
//! holder. While all three processes are frozen together (a paused container, a frozen cgroup), execs
//! on the marked file systems wait.
//!
//! Needs `CAP_SYS_ADMIN` in the initial user namespace and Linux 5.3. Upstream:
//! `include/uapi/linux/fanotify.h`, fanotify(7).

mod bell;
mod guardian;
mod holder;
mod looks;
mod marker;
mod mounts;
mod runtime;
mod wire;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::life::Status;
use crate::proc;
pub use guardian::guard;
pub use holder::serve;
pub use wire::Ticket;
use wire::{Message, Process};

/// How long starting may take: three programs and the marks.
const START: Duration = Duration::from_secs(5);
/// How long guardian and holder may take to end when the session wants no more of them.
const END: Duration = Duration::from_secs(1);

/// An instrumented program that is about to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What [`Hold::answer`] wants.
    pub ticket: Ticket,
    /// The thread that executes it. After the exec it is gone, or it is the first thread: the one
    /// numbered as its process.
    pub tid: u32,
    /// The process.
    pub pid: u32,
    /// Device number of the file's file system, as `stat` of the file gives it.
    pub device: u64,
    /// Inode number of the file.
    pub inode: u64,
    /// Where the file is, as the holder sees it: in another mount namespace it may be elsewhere.
    pub path: PathBuf,
    /// Whether it waits for the answer. A large file that takes more than 250 ms to look at is not
    /// held as long: it runs already, and the answer changes nothing.
    pub waits: bool,
}

/// A file system that is not marked: programs on it are not held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmarked {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// What the kernel said; `None` for a user's own file system (FUSE), which is left alone.
    pub error: Option<i32>,
}

/// What the hold did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Programs told to the session.
    pub held: u64,
    /// Of these: allowed without an answer, since the time was over.
    pub expired: u64,
    /// Programs that were not told: the session did not read, or they were gone before their file
    /// had been looked at. Also container runtimes that were not held until new mounts were marked: what
    /// they start may not be told. Look at all processes.
    pub lost: u64,
}

/// Why there is no hold any more. Nothing is held by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The guardian killed the holder, because it gave no sign of life.
    #[error("the holder gave no sign of life for two seconds and was ended")]
    Hung,
    /// The holder ended.
    #[error("the holder ended{}", .0.map(|s| format!(" ({s})")).unwrap_or_default())]
    Holder(Option<Status>),
    /// The holder gave up: the kernel's events could not be read or answered.
    #[error("the holder gave up: {}", io::Error::from_raw_os_error(*.0))]
    GaveUp(i32),
    /// Guardian and holder are gone without a word: somebody killed the guardian.
    #[error("the guardian is gone")]
    Guardian,
}

/// Why there is no hold.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The kernel wants more rights.
    #[error("holding programs needs CAP_SYS_ADMIN in the machine's own user namespace")]
    Rights,
    /// The kernel cannot do it.
    #[error(
        "this kernel cannot hold programs: {0} (it takes Linux 5.3 with CONFIG_FANOTIFY_ACCESS_PERMISSIONS)"
    )]
    Kernel(io::Error),
    /// Something else is in the way.
    #[error("cannot hold programs: {0}")]
    System(io::Error),
    /// The guardian could not be started.
    #[error("cannot start the guardian of the hold: {0}")]
    Start(io::Error),
    /// The guardian or the holder ended at once.
    #[error("the hold did not start: {0}")]
    Ended(Ended),
    /// No answer.
    #[error("the hold did not start within five seconds")]
    Silent,
}

/// The hold, as the session has it. Readable ([`AsFd`]) when there are [`Hold::messages`]. Dropping it
/// ends it.
#[derive(Debug)]
pub struct Hold {
    /// `None` only while it is dropped.
    socket: Option<OwnedFd>,
    guardian: Child,
    guardian_handle: OwnedFd,
    holder: u32,
    marked: u64,
    unmarked: Vec<Unmarked>,
    counts: Counts,
    ended: Option<Ended>,
}

/// Starts guardian and holder. `command` starts this program again in a way that makes it call
/// [`guard`] and nothing else; its standard input and output are set here.
///
/// When this returns, every file system that can be seen is marked.
///
/// # Errors
/// [`HoldError`]: rights, kernel, or what went wrong. Nothing is left behind.
pub fn start(mut command: Command) -> Result<Hold, HoldError> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|e| HoldError::Start(e.into()))?;
    command.stdin(theirs).stdout(Stdio::null());
    let mut guardian = command.spawn().map_err(HoldError::Start)?;
    // It has a copy of the other end: with it here, the end of the others would not show.
    drop(command);
    let handle = match handle_of(guardian.id()) {
        Ok(handle) => handle,
        Err(error) => {
            drop(ours);
            // Without the session it ends.
            let _ = guardian.wait();
            return Err(HoldError::of(error.raw_os_error().unwrap_or_default()));
        }
    };
    let mut hold = Hold {
        socket: Some(ours),
        guardian,
        guardian_handle: handle,
        holder: 0,
        marked: 0,
        unmarked: Vec::new(),
        counts: Counts::default(),
        ended: None,
    };
    hold.await_start()?;
    Ok(hold)
}

fn handle_of(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// What came over the socket.
enum Received {
    Message(Message),
    Nothing,
    End,
}

impl Hold {
    fn await_start(&mut self) -> Result<(), HoldError> {
        let end = Instant::now() + START;
        loop {
            match self.receive() {
                Received::Message(Message::Ready { holder, marked }) => {
                    self.holder = holder;
                    self.marked = marked;
                    return Ok(());
                }
                Received::Message(Message::Failed { error }) => {
                    return Err(HoldError::of(error));
                }
                Received::Message(Message::Unmarked(unmarked)) => self.unmarked.push(unmarked),
                Received::Message(Message::Ended(ended)) => return Err(HoldError::Ended(ended)),
                Received::End => return Err(HoldError::Ended(Ended::Guardian)),
                Received::Message(_) => {}
                Received::Nothing if Instant::now() >= end => return Err(HoldError::Silent),
                Received::Nothing => wait_for(self.as_fd(), end),
            }
        }
    }

    fn receive(&self) -> Received {
        let mut buffer = [0; wire::LONGEST];
        loop {
            return match recv(self.as_fd(), &mut buffer, RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => Received::Nothing,
                Err(Errno::INTR) => continue,
                Ok((0, _)) | Err(_) => Received::End,
                Ok((length, _)) => match buffer.get(..length).and_then(Message::decode) {
                    Some(message) => Received::Message(message),
                    // Both ends are the same program: it says nothing that this does not know.
                    None => continue,
                },
            };
        }
    }

    /// Takes what has come, without waiting. Each program wants an [`Hold::answer`] as soon as it is
    /// traced, or is not to be: 20 ms from now it runs without.
    ///
    /// One exec can be told several times: the file of an overlay and the one below it, a script's
    /// interpreter, and execs that fail in the end.
    pub fn messages(&mut self) -> Vec<Held> {
        let mut held = Vec::new();
        loop {
            match self.receive() {
                Received::Message(Message::Held(program)) => {
                    self.counts.held += 1;
                    if program.waits {
                        // As with the answer.
                        let _ = self.say(&Message::Read(program.ticket));
                    }
                    held.push(program);
                }
                Received::Message(Message::Expired(_)) => self.counts.expired += 1,
                Received::Message(Message::Lost(count)) => self.counts.lost += count,
                Received::Message(Message::Unmarked(unmarked)) => self.unmarked.push(unmarked),
                Received::Message(Message::Ended(why)) => {
                    // The first word tells most: the guardian's about the holder's end comes after
                    // the holder's own.
                    self.ended.get_or_insert(why);
                }
                // Those were for the start; answers go the other way.
                Received::Message(
                    Message::Ready { .. }
                    | Message::Failed { .. }
                    | Message::Read(_)
                    | Message::Answer(_)
                    | Message::Follow(_),
                ) => {}
                Received::Nothing => return held,
                Received::End => {
                    self.ended.get_or_insert(Ended::Guardian);
                    return held;
                }
            }
        }
    }

    /// Allows a program to run. Late and repeated answers do no harm.
    pub fn answer(&self, ticket: Ticket) {
        // When it does not arrive, the program is allowed all the same; when nobody is there, it runs
        // already, and `messages` will tell.
        let _ = self.say(&Message::Answer(ticket));
    }

    /// Holds programs in another mount namespace too: on everything that this process can see, from
    /// now on and until it ends. What cannot be marked there becomes one of [`Hold::unmarked`], by its
    /// path below `/proc/PID/root`.
    ///
    /// # Errors
    /// `NotFound` when there is no such process; when the holder does not listen.
    pub fn follow(&self, pid: u32) -> io::Result<()> {
        let start_ticks = proc::stat(pid).ok_or(io::ErrorKind::NotFound)?.start_ticks;
        self.say(&Message::Follow(Process { pid, start_ticks }))
    }

    /// Without waiting.
    fn say(&self, message: &Message) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        send(self.as_fd(), &message.encode(), flags)?;
        Ok(())
    }

    /// Why programs are not held any more; `None` while they are. Known after [`Hold::messages`].
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// How many mounts had their file system marked at the start.
    #[must_use]
    pub fn marked(&self) -> u64 {
        self.marked
    }

    /// Where programs are not held.
    #[must_use]
    pub fn unmarked(&self) -> &[Unmarked] {
        &self.unmarked
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The process ids of guardian and holder: below the session in the tree of processes, and not
    /// CMD's. They must not be asked to end with the others.
    #[must_use]
    pub fn processes(&self) -> [u32; 2] {
        [self.guardian.id(), self.holder]
    }
}

impl HoldError {
    fn of(error: i32) -> Self {
        match Errno::from_raw_os_error(error) {
            Errno::PERM | Errno::ACCESS => Self::Rights,
            Errno::INVAL | Errno::NOSYS => Self::Kernel(io::Error::from_raw_os_error(error)),
            _ => Self::System(io::Error::from_raw_os_error(error)),
        }
    }
}

impl AsFd for Hold {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket
            .as_ref()
            .map_or_else(|| self.guardian_handle.as_fd(), AsFd::as_fd)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // That is the order to end.
        self.socket = None;
        let end = Instant::now() + END;
        wait_for(self.guardian_handle.as_fd(), end);
        // Of one that has ended it is no more than a failed call. The kernel ends the holder with it.
        let _ = pidfd_send_signal(&self.guardian_handle, Signal::KILL);
        // A session that reaps all of its children may have reaped it before.
        let _ = self.guardian.wait();
    }
}

/// Waits until it is readable, at most until `end`.
fn wait_for(what: BorrowedFd<'_>, end: Instant) {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut ready = [PollFd::from_borrowed_fd(what, PollFlags::IN)];
        let timeout = Timespec::try_from(left).unwrap_or_default();
        if poll(&mut ready, Some(&timeout)) != Err(Errno::INTR) {
            return;
        }
    }
}
