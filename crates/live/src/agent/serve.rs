//! The agent: watches a machine, and says on a pair of descriptors what covtap asked for.
//!
//! One thread does everything but the watching and reading, which are in `covtap_tap`: it waits for the
//! watcher, for states in the outbox, for covtap, and for somebody at the door, all together.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use covtap_tap::clock::Moment;
use covtap_tap::keep::Keeper;
use covtap_tap::watch::{self, Means, Scope, Watcher};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};

use super::bounds::Bounds;
use super::convert::nanoseconds;
use super::door::{self, Door, Joined, Resident};
use super::feed::Feed;
use super::frame::Body;
use super::message::{
    AgentHello, Echo, FromAgent, Heartbeat, Hello, Machine, NoCommonProtocol, PROTOCOLS, ToAgent,
};
use super::outbox::Outbox;
use super::pipe::{Incoming, Output, StreamError};
use crate::directory;
use crate::signals::Signals;

/// The time between two heartbeats.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long covtap may take to say hello, or to take the last of what is said.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection on which nothing was heard for so long is taken for cut, where another may come.
const SILENCE: Duration = Duration::from_secs(10);

/// How to watch.
#[derive(Clone, Debug)]
pub struct Options {
    /// The time between two snapshots of a process.
    pub every: Duration,
    /// Which processes.
    pub scope: Scope,
    /// How they are found.
    pub means: Means,
    /// Starts this program as the guardian of the exec hold.
    pub holder: fn() -> Option<Command>,
    /// How long to wait for another connection when one is cut; `None`: not at all.
    pub linger: Option<Duration>,
    /// Whose data may be sent at all; `None`: what is selected.
    pub bounds: Option<Bounds>,
    /// Version of this program.
    pub version: String,
}

impl Options {
    /// What this agent says of itself from now on.
    fn resident(&self, free: bool) -> Resident {
        Resident {
            pid: std::process::id(),
            since: nanoseconds(Moment::now()),
            covtap: self.version.clone(),
            free,
        }
    }
}

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// One runs, and is in use.
    #[error("an agent runs here already: process {}, covtap {}, since {}", .0.pid, .0.covtap, Moment(.0.since.into()).rfc3339())]
    Running(Resident),
    /// None waits.
    #[error("no agent waits here")]
    Absent,
    /// covtap is of another time.
    #[error(transparent)]
    Protocol(#[from] NoCommonProtocol),
    /// What covtap says cannot be understood, or it says nothing.
    #[error("standard input: {0}")]
    Stream(#[from] StreamError),
    /// The system refused something.
    #[error("cannot {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl AgentError {
    /// The next step for a person.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Running(_) => Some("end that one first: two cannot trace the same processes"),
            Self::Absent => Some("`covtap agent --stay` is one that does"),
            Self::Stream(_) => Some(
                "covtap starts its agents itself; a person has `covtap watch` and `covtap tap`",
            ),
            Self::Protocol(_) | Self::System { .. } => None,
        }
    }
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> AgentError {
    move |source| AgentError::System { what, source }
}

/// Is the agent of this machine until covtap says stop, or its connection ends and no other comes in time.
/// Joins the agent that runs here, where that waits for another connection.
///
/// # Errors
/// [`AgentError`].
pub fn serve(options: &Options, input: OwnedFd, output: OwnedFd) -> Result<(), AgentError> {
    let listener = match Door::find().map_err(system("find out whether an agent runs here"))? {
        Door::Ours(listener) => listener,
        Door::Theirs(stream, resident) if resident.free => {
            return door::join(&stream, input.as_fd(), output.as_fd())
                .map_err(system("join the agent that runs here"));
        }
        Door::Theirs(_, resident) => return Err(AgentError::Running(resident)),
    };
    let signals = Signals::take().map_err(system("take signals"))?;
    let connection = Connection::new(input, output, None)?;
    attend(options, &signals, &listener, connection)
}

/// Is the agent of this machine for whoever comes to its door, one after the other, until it is asked to end
/// by a signal. While nobody is there it looks at no process.
///
/// # Errors
/// [`AgentError`].
pub fn stay(options: &Options) -> Result<(), AgentError> {
    let listener = match Door::find().map_err(system("find out whether an agent runs here"))? {
        Door::Ours(listener) => listener,
        Door::Theirs(_, resident) => return Err(AgentError::Running(resident)),
    };
    let signals = Signals::take().map_err(system("take signals"))?;
    let resident = options.resident(true);
    while signals.requests().is_empty() {
        // Who was turned away knows why.
        if let Some(joined) = door::answer(&listener, &resident).unwrap_or_default() {
            let connection = Connection::of(joined)?;
            match attend(options, &signals, &listener, connection) {
                // Who said what cannot be understood has been told, or has gone. The next one may do better.
                Ok(()) | Err(AgentError::Stream(_) | AgentError::Protocol(_)) => continue,
                Err(error) => return Err(error),
            }
        }
        signals
            .wait(&[listener.as_fd()], HEARTBEAT)
            .map_err(system("wait for events"))?;
    }
    Ok(())
}

/// How long an agent may take to be there, when somebody wants to join it, and the time between two looks.
const COMING: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(10);

/// Hands this process's input and output over to the agent that waits here, and waits until that is done with
/// them.
///
/// # Errors
/// [`AgentError::Absent`] and [`AgentError::Running`]; and when they cannot be handed over.
pub fn join(input: &OwnedFd, output: &OwnedFd) -> Result<(), AgentError> {
    let until = Instant::now() + COMING;
    let (stream, resident) = loop {
        let visited = door::visit().map_err(system("find out whether an agent waits here"))?;
        match visited {
            Some(visited) => break visited,
            // Its container was started a moment ago. Nothing tells that a name is taken.
            None if Instant::now() < until => std::thread::sleep(AGAIN),
            None => return Err(AgentError::Absent),
        }
    };
    if !resident.free {
        return Err(AgentError::Running(resident));
    }
    door::join(&stream, input.as_fd(), output.as_fd())
        .map_err(system("join the agent that waits here"))
}

/// Is the agent of a connection, and of those that come after it, until it is over.
fn attend(
    options: &Options,
    signals: &Signals,
    listener: &UnixListener,
    mut connection: Connection,
) -> Result<(), AgentError> {
    let hello = connection.await_hello(signals)?;
    let Some((hello, read)) = hello else {
        return Ok(());
    };
    let outbox = Arc::new(Outbox::new().map_err(system("make a pair of sockets"))?);
    let watcher = Watcher::start(watch::Options {
        scope: options.scope.clone(),
        means: options.means,
        holder: (options.holder)(),
        states: Some(Arc::clone(&outbox) as Arc<dyn Keeper>),
        every: options.every,
        exit: true,
        keep_arguments: false,
    });
    let watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            let text = format!("the agent cannot watch processes: {error}");
            connection.say(&FromAgent::Problem { text })?;
            connection.say(&FromAgent::Bye)?;
            connection.flush(signals)?;
            return Err(system("watch processes")(error));
        }
    };
    let mut agent = Agent {
        options,
        signals,
        resident: options.resident(false),
        watcher,
        outbox,
        feed: Feed::new(options.bounds.clone()),
        listener,
        noted: 0,
        dropped: 0,
    };
    agent.greet(&mut connection, hello, read)?;
    agent.run(connection)
}

/// A pair of descriptors, with covtap behind them.
struct Connection {
    input: File,
    output: File,
    incoming: Incoming,
    out: Output,
    greeted: bool,
    /// Requests to read everything whose answers are to be sent.
    reads: Vec<u64>,
    beat: Instant,
    /// Who handed the descriptors over waits for the end of this.
    _joined: Option<UnixStream>,
}

impl Connection {
    fn new(
        input: OwnedFd,
        output: OwnedFd,
        joined: Option<UnixStream>,
    ) -> Result<Self, AgentError> {
        for descriptor in [&input, &output] {
            never_block(descriptor).map_err(system("prepare standard input and output"))?;
        }
        Ok(Self {
            input: input.into(),
            output: output.into(),
            incoming: Incoming::default(),
            out: Output::default(),
            greeted: false,
            reads: Vec::new(),
            beat: Instant::now(),
            _joined: joined,
        })
    }

    /// One that was handed over.
    fn of(joined: Joined) -> Result<Self, AgentError> {
        Self::new(joined.input, joined.output, Some(joined.stream))
    }

    /// Waits for the first hello, which may not take for ever; `None` when this process is asked to end.
    fn await_hello(&mut self, signals: &Signals) -> Result<Option<(Hello, Moment)>, AgentError> {
        while signals.requests().is_empty() {
            match self.next()? {
                Some(ToAgent::Hello(hello)) => return Ok(Some((hello, Moment::now()))),
                Some(_) => return Err(first_is_hello().into()),
                None => {}
            }
            if !self.incoming.read(&mut self.input)? {
                if self.incoming.silence() > PATIENCE {
                    return Err(StreamError::Nonsense("nobody said hello".into()).into());
                }
                signals
                    .wait(&[self.input.as_fd()], PATIENCE)
                    .map_err(system("wait for events"))?;
            }
        }
        Ok(None)
    }

    fn next(&mut self) -> Result<Option<ToAgent>, StreamError> {
        let Some(frame) = self.incoming.next()? else {
            return Ok(None);
        };
        let message = serde_json::from_slice(&frame.head).map_err(StreamError::Head)?;
        Ok(Some(message))
    }

    fn say(&mut self, message: &FromAgent) -> Result<(), StreamError> {
        self.out.push(message, Body::Bytes(Vec::new()))
    }

    fn write(&mut self) -> Result<(), StreamError> {
        self.out.write(&mut self.output)
    }

    /// Writes everything, unless nobody takes it.
    fn flush(&mut self, signals: &Signals) -> Result<(), AgentError> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.write()?;
            let left = until.saturating_duration_since(Instant::now());
            if self.out.is_empty() || left.is_zero() {
                return Ok(());
            }
            signals
                .wait_for(&[], Some(self.output.as_fd()), left)
                .map_err(system("wait for events"))?;
        }
    }
}

/// A pipe or socket is never waited for; another file never makes one wait.
fn never_block(descriptor: &OwnedFd) -> io::Result<()> {
    let kind = FileType::from_raw_mode(fstat(descriptor)?.st_mode);
    if matches!(kind, FileType::Fifo | FileType::Socket) {
        fcntl_setfl(descriptor, fcntl_getfl(descriptor)? | OFlags::NONBLOCK)?;
    }
    Ok(())
}

fn first_is_hello() -> StreamError {
    StreamError::Nonsense("something was said before hello".into())
}

/// What a message asks for.
enum Asked {
    Nothing,
    Stop,
}

struct Agent<'a> {
    options: &'a Options,
    signals: &'a Signals,
    resident: Resident,
    watcher: Watcher,
    outbox: Arc<Outbox>,
    feed: Feed,
    listener: &'a UnixListener,
    /// Notes of the watcher that were told.
    noted: usize,
    /// Lives that were dropped, as far as that was told.
    dropped: u64,
}

impl Agent<'_> {
    fn run(mut self, connection: Connection) -> Result<(), AgentError> {
        let mut connection = Some(connection);
        let mut until = None;
        loop {
            // Nobody is this process's child; ends come as changes.
            self.watcher.look();
            self.take_in();
            if !self.signals.requests().is_empty() {
                return self.finish(connection);
            }
            if let Some(current) = &mut connection {
                match self.talk(current) {
                    Ok(Asked::Nothing) => {}
                    Ok(Asked::Stop) => return self.finish(connection),
                    Err(error) => {
                        let Some(linger) = self.options.linger else {
                            return match error {
                                StreamError::Closed => {
                                    self.leave();
                                    Ok(())
                                }
                                error => Err(error.into()),
                            };
                        };
                        connection = None;
                        until = Some(Instant::now() + linger);
                    }
                }
            }
            // After that: who joins may have seen that the connection ended.
            if let Some(joined) = self.at_the_door(connection.is_none()) {
                connection = Some(Connection::of(joined)?);
                until = None;
            }
            let left = until.map(|until: Instant| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                self.leave();
                return Ok(());
            }
            self.wait(connection.as_ref(), left)?;
        }
    }

    fn wait(
        &self,
        connection: Option<&Connection>,
        left: Option<Duration>,
    ) -> Result<(), AgentError> {
        let mut readable = self.watcher.descriptors();
        readable.push(self.outbox.as_fd());
        readable.push(self.listener.as_fd());
        let mut writable: Option<BorrowedFd<'_>> = None;
        let mut time = self.watcher.interval().min(left.unwrap_or(HEARTBEAT));
        if let Some(connection) = connection {
            readable.push(connection.input.as_fd());
            writable = (!connection.out.is_empty()).then(|| connection.output.as_fd());
            time = time.min(HEARTBEAT.saturating_sub(connection.beat.elapsed()));
        }
        self.signals
            .wait_for(&readable, writable, time)
            .map_err(system("wait for events"))
    }

    /// Takes over what the watcher and its threads have seen.
    fn take_in(&mut self) {
        for life in self.watcher.changes() {
            let counts = life.running() && life.instrumented() == Some(true);
            self.feed
                .life(&life, counts.then(|| directory::of_life(&life)));
        }
        self.feed.states(self.outbox.take());
    }

    /// Somebody who hands over another connection.
    fn at_the_door(&mut self, free: bool) -> Option<Joined> {
        self.resident.free = free;
        // Who was turned away knows why; for this agent nothing has changed.
        door::answer(self.listener, &self.resident).unwrap_or_default()
    }

    /// Hears what covtap says, and says what is new.
    fn talk(&mut self, connection: &mut Connection) -> Result<Asked, StreamError> {
        // What was said before the end of the stream counts.
        let ended = loop {
            match connection.incoming.read(&mut connection.input) {
                Ok(true) => {}
                Ok(false) => break None,
                Err(error) => break Some(error),
            }
        };
        while let Some(message) = connection.next()? {
            if let Asked::Stop = self.hear(connection, message)? {
                return Ok(Asked::Stop);
            }
        }
        if let Some(error) = ended {
            return Err(error);
        }
        if self.options.linger.is_some() && connection.incoming.silence() > SILENCE {
            return Err(StreamError::Nonsense("covtap has fallen silent".into()));
        }
        if connection.greeted {
            self.report(connection)?;
            if connection.beat.elapsed() >= HEARTBEAT {
                self.beat(connection, None)?;
            }
        }
        connection.write()?;
        Ok(Asked::Nothing)
    }

    fn hear(
        &mut self,
        connection: &mut Connection,
        message: ToAgent,
    ) -> Result<Asked, StreamError> {
        let read = Moment::now();
        match message {
            ToAgent::Hello(hello) => self
                .greet(connection, hello, read)
                .map_err(|error| StreamError::Nonsense(error.to_string()))?,
            _ if !connection.greeted => return Err(first_is_hello()),
            ToAgent::Select(selection) => self.feed.select(selection),
            ToAgent::Every { milliseconds } => {
                if let Some(states) = self.watcher.states() {
                    states.set_every(Duration::from_millis(milliseconds.max(1)));
                }
            }
            ToAgent::Read { id } => {
                // What has only just been found is of it: covtap may ask right after its hello.
                self.watcher.settle().map_err(StreamError::Broken)?;
                self.read_everything();
                connection.reads.push(id);
            }
            ToAgent::Heard { serial, now } => {
                self.feed.stored(serial);
                self.report(connection)?;
                let echo = Echo {
                    asked: now,
                    read: nanoseconds(read),
                    now: nanoseconds(Moment::now()),
                };
                self.beat(connection, Some(echo))?;
            }
            ToAgent::Stop => return Ok(Asked::Stop),
            ToAgent::Unknown => {}
        }
        Ok(Asked::Nothing)
    }

    fn read_everything(&mut self) {
        if let Some(states) = self.watcher.states() {
            states.read_all();
        }
        self.take_in();
    }

    /// Answers a hello.
    fn greet(
        &mut self,
        connection: &mut Connection,
        hello: Hello,
        read: Moment,
    ) -> Result<(), AgentError> {
        let notes = self.watcher.notes();
        self.noted = notes.len();
        let machine = machine();
        let answer = AgentHello {
            protocol: PROTOCOLS,
            covtap: self.options.version.clone(),
            agent: format!(
                "{} {} {} {}",
                machine.boot, machine.pid_namespace, self.resident.pid, self.resident.since
            ),
            pid: self.resident.pid,
            since: self.resident.since,
            machine,
            watching: self.watcher.method(),
            notes,
            echo: Echo {
                asked: hello.now,
                read: nanoseconds(read),
                now: nanoseconds(Moment::now()),
            },
        };
        connection.say(&FromAgent::Hello(answer))?;
        if PROTOCOLS.common(hello.protocol).is_none() {
            // covtap is told the same by the hello.
            connection.flush(self.signals)?;
            return Err(AgentError::Protocol(NoCommonProtocol {
                who: "who started this agent".into(),
                theirs_version: hello.covtap,
                theirs: hello.protocol,
                ours_version: self.options.version.clone(),
                ours: PROTOCOLS,
            }));
        }
        self.feed.connect(hello.builds);
        connection.greeted = true;
        Ok(())
    }

    /// Says what is new of lives.
    fn report(&mut self, connection: &mut Connection) -> Result<bool, StreamError> {
        let all = self.feed.send(&mut connection.out)?;
        if all {
            for id in std::mem::take(&mut connection.reads) {
                connection.say(&FromAgent::Read { id })?;
            }
        }
        if self.feed.dropped > self.dropped {
            let text = format!(
                "the states of {} processes that have ended were not fetched, and are lost",
                self.feed.dropped - self.dropped
            );
            self.dropped = self.feed.dropped;
            connection.say(&FromAgent::Problem { text })?;
        }
        Ok(all)
    }

    fn beat(&mut self, connection: &mut Connection, echo: Option<Echo>) -> Result<(), StreamError> {
        let read = self.watcher.states().and_then(|states| states.oldest());
        self.take_in();
        let all = self.report(connection)?;
        let notes = self.watcher.notes();
        for text in notes.iter().skip(self.noted).cloned() {
            connection.say(&FromAgent::Problem { text })?;
        }
        self.noted = notes.len();
        let (lives, kept_back) = self.feed.counts();
        let beat = Heartbeat {
            now: nanoseconds(Moment::now()),
            lives,
            kept_back,
            bytes: connection.out.bytes,
            read: read.filter(|_| all).map(nanoseconds),
            echo,
        };
        connection.say(&FromAgent::Heartbeat(beat))?;
        connection.beat = Instant::now();
        Ok(())
    }

    /// Lets go of all, with nobody there to hear of it.
    fn leave(self) {
        drop(self.watcher.finish());
    }

    /// Reads everything once more, says it, and lets go of all.
    fn finish(mut self, connection: Option<Connection>) -> Result<(), AgentError> {
        let Some(mut connection) = connection.filter(|connection| connection.greeted) else {
            return Ok(());
        };
        // What has only just been found counts too.
        self.watcher.settle().map_err(system("look at what runs"))?;
        self.read_everything();
        while !self.report(&mut connection)? {
            connection.flush(self.signals)?;
            if connection.out.waiting() > 0 {
                // Nobody takes it.
                return Ok(());
            }
        }
        let Self {
            watcher,
            mut feed,
            outbox,
            signals,
            ..
        } = self;
        for life in watcher.finish() {
            let boring = life.inspection.elf().is_some_and(|elf| elf.go.is_none());
            if !boring {
                feed.life(&life, None);
            }
        }
        feed.states(outbox.take());
        while !feed.send(&mut connection.out)? {
            connection.flush(signals)?;
            if connection.out.waiting() > 0 {
                return Ok(());
            }
        }
        connection.say(&FromAgent::Bye)?;
        connection.flush(signals)
    }
}

/// Where this process runs. What cannot be told is empty.
fn machine() -> Machine {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let pid_namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let system = rustix::system::uname();
    Machine {
        architecture: system.machine().to_string_lossy().into_owned(),
        kernel: system.release().to_string_lossy().into_owned(),
        boot: boot.trim().to_owned(),
        pid_namespace: pid_namespace.to_string_lossy().into_owned(),
    }
}
