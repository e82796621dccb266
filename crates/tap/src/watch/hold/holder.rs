//! The holder: answers the kernel's questions.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, Response,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, chdir, getpid, getppid, getrlimit,
    set_parent_process_death_signal, setpriority_process, setrlimit,
};
use rustix::stdio::{stdin, stdout};

use super::bell::Bell;
use super::looks::{FileKey, Looks, Program};
use super::marker::{Marker, News};
use super::runtime::is_runtime;
use super::wire::{LONGEST, Message, Ticket};
use super::{Ended, Held};
use crate::proc::{self, Stat};

/// A sign of life for the guardian, so often.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long an instrumented program waits for the answer, once the session has read of it.
/// `PTRACE_SEIZE` of the held thread takes a few microseconds; where the kernel keeps it waiting until
/// this program is allowed, longer would not help. A session that is stopped gets no more either.
const ANSWER: Duration = Duration::from_millis(20);
/// How long it waits for a session that runs and has not read of it: it does something else.
const UNREAD: Duration = Duration::from_millis(200);
/// How long it waits for a session that wants to run and gets no processor: on a busy machine.
const BUSY: Duration = Duration::from_secs(1);
/// How long a program waits for the first look at its file.
const LOOK: Duration = Duration::from_millis(250);
/// How long a container runtime waits until new mounts are marked. Thousands of mounts take 20 ms;
/// longer takes a file system on the way to one that does not answer.
const MARK: Duration = Duration::from_millis(500);
/// Descriptors that are kept free: those of one read from the kernel (4096 bytes of events with 24
/// bytes each), twice, since a look has its own; and our own. When there is none left, the kernel
/// denies an exec.
const SPARE: u64 = 512;
/// Of so many descriptors one process may be followed.
const FOLLOWED: u64 = 16;
/// How it is scheduled (setpriority(2)): before others, who wait for it. It takes little.
const PRIORITY: i32 = -10;
/// With less it is not worth beginning.
const FEWEST: u64 = 1024;

/// What the holder process does, from its start to its end.
///
/// # Errors
/// When it was not started by [`guard`](super::guard).
pub fn serve() -> io::Result<()> {
    // First of all, so that nothing is changed where this was started by hand.
    let session = pid(Some(sockopt::socket_peercred(stdin())?.pid));
    // A holder without guardian must not be.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A guardian that is stopped must not stop this one.
    rustix::io::ioctl_fionbio(stdout(), true)?;
    // A working directory could not be unmounted.
    chdir("/")?;
    // Everybody who executes a program waits for this one. Without CAP_SYS_NICE it is as it is.
    let _ = setpriority_process(None, PRIORITY);
    let ours = [session, pid(getppid()), pid(Some(getpid()))];
    // From here on the session is told.
    let last = match Holder::start(ours).map_err(Stop::NotStarted) {
        Ok(holder) => holder.run(),
        Err(stop) => Err(stop),
    };
    match last {
        Err(Stop::NotStarted(error)) => tell(&Message::Failed {
            error: error as i32,
        }),
        Err(Stop::Failed(error)) => tell(&Message::Ended(Ended::GaveUp(error as i32))),
        Err(Stop::Over) | Ok(()) => true,
    };
    Ok(())
}

/// 0 for a process of another pid namespace.
fn pid(pid: Option<Pid>) -> u32 {
    pid.map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
}

/// Why the holder ends.
enum Stop {
    /// The session or the guardian is gone.
    Over,
    /// Nothing could be marked.
    NotStarted(Errno),
    /// The kernel's events cannot be read or answered. Ending allows everything.
    Failed(Errno),
}

impl From<Errno> for Stop {
    fn from(error: Errno) -> Self {
        Self::Failed(error)
    }
}

/// An exec that the session has been told of.
struct Waiting {
    event: FanotifyEvent,
    /// Whether the session knows.
    read: bool,
    /// When to look at it again.
    until: Instant,
    began: Instant,
}

/// An exec whose file is being looked at.
struct Looking {
    key: FileKey,
    event: FanotifyEvent,
    until: Instant,
}

/// An exec of a container runtime, until new mounts are marked.
struct Mounting {
    key: FileKey,
    instrumented: bool,
    event: FanotifyEvent,
    /// The refresh that it waits for.
    refresh: u64,
    until: Instant,
}

/// An exec that was allowed before it was known whether it should be told.
struct Late {
    key: FileKey,
    tid: i32,
    path: PathBuf,
}

struct Holder {
    group: Arc<Fanotify>,
    /// The session, the guardian, this process: they are never held.
    ours: [u32; 3],
    bell: Bell,
    looks: Looks,
    marker: Marker,
    /// The last refresh of the marks that is done, and the last that took too long.
    refreshed: u64,
    overdue: u64,
    /// Whether the session knows that everything is marked.
    ready: bool,
    held: BTreeMap<Ticket, Waiting>,
    next: u64,
    /// In the order of their times.
    looking: Vec<Looking>,
    late: Vec<Late>,
    /// In the order of their times.
    mounting: Vec<Mounting>,
    /// At most so many execs are in work here; all others wait in the kernel.
    most: usize,
    lost: u64,
    beat: Instant,
}

impl Holder {
    fn start(ours: [u32; 3]) -> Result<Self, Errno> {
        let (most, followed) = raise_limit()?;
        let group = Arc::new(Fanotify::init(
            InitFlags::FAN_CLASS_CONTENT
                | InitFlags::FAN_REPORT_TID
                | InitFlags::FAN_CLOEXEC
                | InitFlags::FAN_NONBLOCK
                | InitFlags::FAN_UNLIMITED_QUEUE
                | InitFlags::FAN_UNLIMITED_MARKS,
            EventFFlags::O_RDONLY | EventFFlags::O_LARGEFILE | EventFFlags::O_CLOEXEC,
        )?);
        let bell = Bell::new().map_err(errno)?;
        Ok(Self {
            marker: Marker::start(&group, &bell, followed).map_err(errno)?,
            refreshed: 0,
            overdue: 0,
            group,
            ours,
            looks: Looks::start(&bell),
            bell,
            ready: false,
            held: BTreeMap::new(),
            next: 0,
            looking: Vec::new(),
            late: Vec::new(),
            mounting: Vec::new(),
            most,
            lost: 0,
            beat: Instant::now(),
        })
    }

    fn run(mut self) -> Result<(), Stop> {
        loop {
            self.heartbeat()?;
            let [session, bell, kernel] = self.wait();
            if session {
                self.take_answers()?;
            }
            if bell {
                self.bell.answer();
                self.take_looks()?;
                self.take_marks()?;
            }
            if kernel {
                self.take_events()?;
            }
            self.expire()?;
        }
    }

    fn heartbeat(&mut self) -> Result<(), Stop> {
        let now = Instant::now();
        if now < self.beat {
            return Ok(());
        }
        self.beat = now + HEARTBEAT;
        if self.lost > 0 && tell(&Message::Lost(self.lost)) {
            self.lost = 0;
        }
        match rustix::io::write(stdout(), b".") {
            // A guardian that is stopped.
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
            Err(_) => Err(Stop::Over),
        }
    }

    /// Waits until something is to be done. Returns who has something: session, bell, kernel.
    fn wait(&self) -> [bool; 3] {
        let first_answer = self.held.values().map(|w| w.until).min();
        let first_look = self.looking.first().map(|l| l.until);
        let first_mark = self.mounting.first().map(|m| m.until);
        let next = [Some(self.beat), first_answer, first_look, first_mark]
            .into_iter()
            .flatten()
            .min();
        let left = next.map(|n| n.saturating_duration_since(Instant::now()));
        let timeout = Timespec::try_from(left.unwrap_or_default()).unwrap_or_default();
        let mut ready = vec![
            PollFd::from_borrowed_fd(stdin(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN),
        ];
        let here = self.held.len() + self.looking.len() + self.late.len() + self.mounting.len();
        if here < self.most {
            ready.push(PollFd::from_borrowed_fd(self.group.as_fd(), PollFlags::IN));
        }
        // Interrupted, it is as if nothing had come.
        let _ = poll(&mut ready, Some(&timeout));
        let has = |index: usize| ready.get(index).is_some_and(|r| !r.revents().is_empty());
        [has(0), has(1), has(2)]
    }

    fn take_events(&mut self) -> Result<(), Stop> {
        let events = match self.group.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            // The exec that it was about has been denied: no further one must be.
            Err(error) => return Err(error.into()),
        };
        for event in events {
            self.see(event)?;
        }
        Ok(())
    }

    fn see(&mut self, event: FanotifyEvent) -> Result<(), Stop> {
        let Some(fd) = event.fd() else {
            // The queue was full, and the kernel allowed what did not fit.
            self.lost += 1;
            return Ok(());
        };
        let file = fd.try_clone_to_owned().map(File::from).map_err(errno)?;
        let Ok(metadata) = file.metadata() else {
            // A file that is not there any more, on a network file system.
            return self.allow(&event);
        };
        let key = FileKey::of(&metadata);
        match self.looks.known(&key) {
            Some(program) => self.decide(key, program, event),
            None => {
                if !self.looks.is_asked(&key) {
                    self.looks.ask(key, file, is_runtime(&path_of(&event)));
                }
                self.looking.push(Looking {
                    key,
                    event,
                    until: Instant::now() + LOOK,
                });
                Ok(())
            }
        }
    }

    /// What is to be done about an exec of a file that is known.
    fn decide(&mut self, key: FileKey, program: Program, event: FanotifyEvent) -> Result<(), Stop> {
        let Program {
            instrumented,
            runtime,
        } = program;
        // One refresh that hangs is enough: until it is done nobody waits for the next.
        if runtime && self.overdue <= self.refreshed {
            self.mounting.push(Mounting {
                key,
                instrumented,
                event,
                refresh: self.marker.refresh(),
                until: Instant::now() + MARK,
            });
            return Ok(());
        }
        self.lost += u64::from(runtime);
        self.hold_or_allow(key, instrumented, event)
    }

    fn hold_or_allow(
        &mut self,
        key: FileKey,
        instrumented: bool,
        event: FanotifyEvent,
    ) -> Result<(), Stop> {
        if instrumented {
            self.hold(key, event)
        } else {
            self.allow(&event)
        }
    }

    fn hold(&mut self, key: FileKey, event: FanotifyEvent) -> Result<(), Stop> {
        // Without a process, it has been killed meanwhile, or is in another pid namespace.
        let told = process_of(event.pid())
            .filter(|(pid, _)| !self.ours.contains(pid))
            .and_then(|process| self.tell_of(key, process, path_of(&event), true));
        match told {
            Some(ticket) => {
                let now = Instant::now();
                let waiting = Waiting {
                    event,
                    read: false,
                    until: now + ANSWER,
                    began: now,
                };
                self.held.insert(ticket, waiting);
                Ok(())
            }
            None => self.allow(&event),
        }
    }

    /// Tells the session of an exec; `None` when it does not read. `process` is process and thread.
    fn tell_of(
        &mut self,
        key: FileKey,
        (pid, tid): (u32, u32),
        path: PathBuf,
        waits: bool,
    ) -> Option<Ticket> {
        let ticket = Ticket(self.next);
        self.next += 1;
        let told = tell(&Message::Held(Held {
            ticket,
            tid,
            pid,
            device: key.device,
            inode: key.inode,
            path,
            waits,
        }));
        if !told {
            self.lost += 1;
        }
        told.then_some(ticket)
    }

    fn allow(&self, event: &FanotifyEvent) -> Result<(), Stop> {
        let Some(fd) = event.fd() else {
            return Ok(());
        };
        let allow = FanotifyResponse::new(fd, Response::FAN_ALLOW);
        match self.group.write_response(allow) {
            // The thread has been killed while it waited.
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn take_answers(&mut self) -> Result<(), Stop> {
        let mut buffer = [0; LONGEST];
        loop {
            match recv(stdin(), &mut buffer, RecvFlags::DONTWAIT) {
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Ok((0, _)) | Err(_) => return Err(Stop::Over),
                Ok((length, _)) => match buffer.get(..length).and_then(Message::decode) {
                    Some(Message::Read(ticket)) => {
                        if let Some(waiting) = self.held.get_mut(&ticket) {
                            waiting.read = true;
                            waiting.until = Instant::now() + ANSWER;
                        }
                    }
                    Some(Message::Answer(ticket)) => {
                        if let Some(waiting) = self.held.remove(&ticket) {
                            self.allow(&waiting.event)?;
                        }
                    }
                    Some(Message::Follow(process)) => self.marker.follow(process),
                    _ => {}
                },
            }
        }
    }

    fn take_looks(&mut self) -> Result<(), Stop> {
        for (key, program) in self.looks.take() {
            for waiting in self
                .looking
                .extract_if(.., |l| l.key == key)
                .collect::<Vec<_>>()
            {
                self.decide(key, program, waiting.event)?;
            }
            for late in self
                .late
                .extract_if(.., |l| l.key == key)
                .collect::<Vec<_>>()
            {
                match process_of(late.tid) {
                    _ if !program.instrumented || late.tid == 0 => {}
                    Some(process) => {
                        self.tell_of(key, process, late.path, false);
                    }
                    // It has come and gone.
                    None => self.lost += 1,
                }
            }
        }
        Ok(())
    }

    fn take_marks(&mut self) -> Result<(), Stop> {
        while let Some(news) = self.marker.news() {
            let News { round, refreshed } = news.map_err(errno)?;
            self.refreshed = refreshed;
            let first_error = round.unmarked.iter().find_map(|u| u.error);
            for unmarked in round.unmarked {
                tell(&Message::Unmarked(unmarked));
            }
            if !self.ready {
                self.ready = true;
                if round.marked == 0 {
                    let error = first_error.map_or(Errno::ENODEV, Errno::from_raw);
                    return Err(Stop::NotStarted(error));
                }
                tell(&Message::Ready {
                    holder: std::process::id(),
                    marked: round.marked,
                });
            }
        }
        let done = self
            .mounting
            .partition_point(|m| m.refresh <= self.refreshed);
        for waited in self.mounting.drain(..done).collect::<Vec<_>>() {
            self.hold_or_allow(waited.key, waited.instrumented, waited.event)?;
        }
        Ok(())
    }

    /// Allows what has waited long enough.
    fn expire(&mut self) -> Result<(), Stop> {
        let now = Instant::now();
        let due = |waiting: &Waiting| waiting.until <= now;
        if self.held.values().any(due) {
            let [session, ..] = self.ours;
            let longest = [is_stopped(session), wants_to_run(session)];
            for waiting in self.held.values_mut().filter(|w| due(w)) {
                let longest = match longest {
                    [true, _] => ANSWER,
                    [_, true] => BUSY,
                    _ if waiting.read => ANSWER,
                    _ => UNREAD,
                };
                waiting.until = (waiting.began + longest).min(now + ANSWER);
            }
        }
        let over = self.held.iter().filter(|(_, w)| due(w));
        for ticket in over.map(|(ticket, _)| *ticket).collect::<Vec<_>>() {
            if let Some(waiting) = self.held.remove(&ticket) {
                self.allow(&waiting.event)?;
                tell(&Message::Expired(ticket));
            }
        }
        let over = self.mounting.partition_point(|m| m.until <= now);
        for waited in self.mounting.drain(..over).collect::<Vec<_>>() {
            self.overdue = waited.refresh;
            self.lost += 1;
            self.hold_or_allow(waited.key, waited.instrumented, waited.event)?;
        }
        let over = self.looking.partition_point(|l| l.until <= now);
        for waited in self.looking.drain(..over).collect::<Vec<_>>() {
            self.late.push(Late {
                key: waited.key,
                tid: waited.event.pid(),
                path: path_of(&waited.event),
            });
            self.allow(&waited.event)?;
        }
        Ok(())
    }
}

/// Says something to the session, without waiting. Returns whether it will arrive; when it will not
/// because the session is gone, the next wait shows that.
fn tell(message: &Message) -> bool {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    send(stdin(), &message.encode(), flags).is_ok()
}

/// As many descriptors as this process may have; returns how many execs may wait here, and how many
/// processes be followed.
fn raise_limit() -> Result<(usize, usize), Errno> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if most < FEWEST || setrlimit(Resource::Nofile, raised).is_err() {
        return Err(Errno::EMFILE);
    }
    // An exec takes two descriptors at most, a process that is followed three.
    let number = |of: u64| usize::try_from(of).unwrap_or(usize::MAX);
    let followed = most / FOLLOWED;
    let execs = (most - SPARE - 3 * followed) / 2;
    Ok((number(execs), number(followed)))
}

/// Where the file of an event is, as this process sees it.
fn path_of(event: &FanotifyEvent) -> PathBuf {
    // It is there for people to read: without it, they have the numbers.
    event
        .fd()
        .and_then(|fd| fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok())
        .unwrap_or_default()
}

/// The process of a thread, and the thread; `None` when it is gone, and for a thread of another pid
/// namespace, whose number is 0 here.
fn process_of(tid: i32) -> Option<(u32, u32)> {
    let tid = u32::try_from(tid).ok().filter(|tid| *tid != 0)?;
    let status = fs::read(format!("/proc/{tid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|l| l.strip_prefix("Tgid:"))?;
    Some((line.trim().parse().ok()?, tid))
}

/// Whether a process is stopped, by Ctrl-Z for example, and will not answer.
fn is_stopped(pid: u32) -> bool {
    proc::stat(pid).is_some_and(|stat| matches!(stat.state, b'T' | b't'))
}

/// Whether any thread of a process runs, or would if it had a processor or what it has asked the disk for.
fn wants_to_run(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads.into_iter().flatten().flatten().any(|thread| {
        let line = fs::read(thread.path().join("stat")).unwrap_or_default();
        let stat = Stat::parse(&String::from_utf8_lossy(&line));
        stat.is_some_and(|stat| matches!(stat.state, b'R' | b'D'))
    })
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
