//! covtap's side: takes in what an agent says, and keeps its lives as if they were watched here.
//!
//! States are written as a watcher of this machine would write them, to the same folder under the same
//! names, and lives come out as they come out of a watcher. Nothing here knows how the stream is made: it may
//! be a socket, or the standard input and output of a program that reaches into the node.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use covtap_profile::go::accumulate::{Counters, Layout, add_bytes};
use covtap_profile::go::counters::CounterFile;
use covtap_profile::go::hex;
use covtap_profile::go::meta::MetaFile;
use covtap_tap::clock::Moment;
use covtap_tap::keep::{Arguments, Folder, counter_file};
use covtap_tap::life::{End, Key, Last, Life, State, Tap};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::convert::{directory, last, life, moment, nanoseconds};
use super::frame::{Body, Frame};
use super::message::{
    AgentHello, FromAgent, Heartbeat, Hello, LifeHead, NoCommonProtocol, PROTOCOLS, Selection,
    StateHead, ToAgent, WholeHead,
};
use super::offset::Offset;
use super::pipe::{Incoming, Output, StreamError};
use crate::around::Directory;

/// An agent that was not heard of for so long is silent.
const SILENCE: Duration = Duration::from_secs(5);
/// The time between two signs of life of ours.
const SIGN: Duration = Duration::from_secs(1);
/// The time between two tries to write what could not be written.
const AGAIN: Duration = Duration::from_millis(20);
/// Runs that are read in one go, so that a talkative agent does not hold up everything else.
const RUNS: usize = 64;

/// Which agent, and where its states go.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a person calls the place that it watches: the name of a node.
    pub name: String,
    /// Tells its counter files from those of other agents, whose processes may have the same number and
    /// have started at the same time. Another one for each agent of a run, the first is 1.
    pub number: u16,
    /// The folder of states.
    pub folder: PathBuf,
    /// Version of this program.
    pub version: String,
}

/// How it stands with an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It has not said anything yet.
    Greeting,
    /// It is there.
    Connected,
    /// It is connected, and was not heard of since then.
    Silent {
        /// When it was heard last.
        since: Moment,
    },
    /// The connection is gone.
    Cut {
        /// When that was seen.
        at: Moment,
        /// Why.
        because: String,
    },
    /// It has said everything and ended.
    Over,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It has said hello.
    Greeted,
    /// What was read for this request is here.
    Read(u64),
    /// What a person should know.
    Problem(String),
    /// It stands otherwise with it: see [`Remote::condition`].
    Condition,
}

/// An agent.
pub struct Remote<S> {
    options: Options,
    folder: Folder,
    stream: Option<S>,
    incoming: Incoming,
    out: Output,
    hello: Option<AgentHello>,
    condition: Condition,
    offset: Offset,
    builds: BTreeMap<String, Arc<Build>>,
    lives: BTreeMap<Key, Entry>,
    /// How many agents this was before: one that is started anew knows nothing of the lives before.
    agents: u32,
    /// The last serial of an end.
    serial: u64,
    sign: Instant,
    beat: Heartbeat,
    selection: Selection,
    every: Option<Duration>,
    reads: u64,
    /// Bytes that came.
    bytes: u64,
    /// Whether it speaks no protocol of ours.
    foreign: bool,
}

/// A build that the agent told of.
struct Build {
    meta: MetaFile,
    layout: Arc<Layout>,
}

/// One life.
#[derive(Default)]
struct Entry {
    head: Option<LifeHead>,
    held: Option<Held>,
    /// Which agent told of it last.
    agent: u32,
    /// Why its state could not be kept.
    trouble: Option<String>,
    /// Why nothing more will come of it, and since when.
    gone: Option<(String, Moment)>,
}

impl Entry {
    /// Its state, with its counters where there may be others.
    fn counters(&self) -> Option<(&Held, &Counters)> {
        let held = self.held.as_ref()?;
        Some((held, held.counters.as_ref()?))
    }
}

/// The state of a life.
struct Held {
    build: Arc<Build>,
    /// `None` when there will be no others: they are in the file.
    counters: Option<Counters>,
    arguments: Arguments,
    whole: WholeHead,
    head: StateHead,
    /// Below the folder.
    place: PathBuf,
}

impl<S: Read + Write + AsFd> Remote<S> {
    /// Says hello over a stream that an agent is behind, or soon will be. Nothing is selected yet.
    ///
    /// # Errors
    /// When the stream cannot be used.
    pub fn connect(stream: S, options: Options) -> io::Result<Self> {
        let mut remote = Self {
            folder: Folder(options.folder.clone()),
            options,
            stream: None,
            incoming: Incoming::default(),
            out: Output::default(),
            hello: None,
            condition: Condition::Greeting,
            offset: Offset::default(),
            builds: BTreeMap::new(),
            lives: BTreeMap::new(),
            agents: 0,
            serial: 0,
            sign: Instant::now(),
            beat: Heartbeat::default(),
            selection: Selection::default(),
            every: None,
            reads: 0,
            bytes: 0,
            foreign: false,
        };
        remote.resume(stream)?;
        Ok(remote)
    }

    /// Goes on over another stream: the agent says again what it has, and nothing is counted twice.
    ///
    /// # Errors
    /// When the stream cannot be used.
    pub fn resume(&mut self, stream: S) -> io::Result<()> {
        let descriptor = stream.as_fd();
        fcntl_setfl(descriptor, fcntl_getfl(descriptor)? | OFlags::NONBLOCK)?;
        self.stream = Some(stream);
        self.incoming = Incoming::default();
        self.out = Output::default();
        self.condition = Condition::Greeting;
        self.serial = 0;
        let hello = Hello {
            protocol: PROTOCOLS,
            covtap: self.options.version.clone(),
            now: nanoseconds(Moment::now()),
            builds: self.builds.keys().cloned().collect(),
        };
        self.say(&ToAgent::Hello(hello));
        if self.selection != Selection::default() {
            self.say(&ToAgent::Select(self.selection.clone()));
        }
        if let Some(every) = self.every {
            self.set_every(every);
        }
        self.write();
        Ok(())
    }

    /// Says whose data are wanted. Of others nothing comes, and nothing is lost: it comes when they are
    /// selected.
    pub fn select(&mut self, selection: Selection) {
        self.say(&ToAgent::Select(selection.clone()));
        self.selection = selection;
        self.write();
    }

    /// Sets the time between two snapshots of a process.
    pub fn set_every(&mut self, every: Duration) {
        let milliseconds = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        self.say(&ToAgent::Every {
            milliseconds: milliseconds.max(1),
        });
        self.every = Some(every);
        self.write();
    }

    /// Has everything read now. When it is here, [`News::Read`] comes with the number that is returned.
    pub fn read_now(&mut self) -> u64 {
        self.reads += 1;
        self.say(&ToAgent::Read { id: self.reads });
        self.write();
        self.reads
    }

    /// Has everything read once more; the agent then ends, and it is [`Condition::Over`].
    pub fn stop(&mut self) {
        self.say(&ToAgent::Stop);
        self.write();
    }

    /// Becomes readable when there is something to take in. `None` while there is no connection.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    /// How long to wait before the next [`Remote::take_in`], at most.
    #[must_use]
    pub fn interval(&self) -> Duration {
        if self.stream.is_some() && !self.out.is_empty() {
            return AGAIN;
        }
        SIGN.saturating_sub(self.sign.elapsed())
    }

    /// How it stands.
    #[must_use]
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// What the agent said of itself.
    #[must_use]
    pub fn hello(&self) -> Option<&AgentHello> {
        self.hello.as_ref()
    }

    /// What the agent said of itself last.
    #[must_use]
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.beat
    }

    /// Bytes of bodies and heads that came.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its clock minus ours, in nanoseconds.
    #[must_use]
    pub fn clock(&self) -> i64 {
        self.offset.nanoseconds()
    }

    /// Whether the last one that said hello speaks no protocol of ours.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// The machine has ended, and everything that ran there: what is known of it is all there will be.
    pub fn gone(&mut self, because: &str) {
        let at = Moment::now();
        let running = |entry: &&mut Entry| entry.head.as_ref().is_none_or(|h| h.end.is_none());
        for entry in self.lives.values_mut().filter(running) {
            entry.gone.get_or_insert_with(|| (because.to_owned(), at));
        }
        self.stream = None;
        self.condition = Condition::Cut {
            at,
            because: because.to_owned(),
        };
    }

    /// Takes in what has come, and says that covtap is there.
    pub fn take_in(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        let before = self.condition.clone();
        if let Err(error) = self.hear(&mut news) {
            self.cut(error.to_string());
        }
        if self.stream.is_some() && self.sign.elapsed() >= SIGN {
            let heard = ToAgent::Heard {
                serial: self.serial,
                now: nanoseconds(Moment::now()),
            };
            // Before its hello nothing but ours is said.
            if matches!(
                self.condition,
                Condition::Connected | Condition::Silent { .. }
            ) {
                self.say(&heard);
            }
            self.sign = Instant::now();
        }
        self.write();
        if self.condition != before {
            news.push(News::Condition);
        }
        news
    }

    fn hear(&mut self, news: &mut Vec<News>) -> Result<(), StreamError> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let mut end = None;
        for _ in 0..RUNS {
            match self.incoming.read(stream) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    end = Some(error);
                    break;
                }
            }
        }
        while let Some(frame) = self.incoming.next()? {
            self.bytes += (frame.head.len() + frame.body.len()) as u64;
            self.take(frame, news)?;
        }
        if let Some(error) = end {
            return if self.condition == Condition::Over {
                self.stream = None;
                Ok(())
            } else {
                Err(error)
            };
        }
        let silent = self.incoming.silence() > SILENCE;
        match self.condition {
            Condition::Connected if silent => {
                let since = self.incoming.heard.unwrap_or(Moment::now());
                self.condition = Condition::Silent { since };
            }
            Condition::Silent { .. } if !silent => self.condition = Condition::Connected,
            _ => {}
        }
        Ok(())
    }

    fn take(&mut self, frame: Frame, news: &mut Vec<News>) -> Result<(), StreamError> {
        let message = serde_json::from_slice(&frame.head).map_err(StreamError::Head)?;
        match message {
            FromAgent::Hello(hello) => {
                self.greeted(hello)?;
                news.push(News::Greeted);
            }
            FromAgent::Problem { text } => news.push(News::Problem(text)),
            FromAgent::Bye => self.condition = Condition::Over,
            FromAgent::Unknown => {}
            _ if matches!(self.condition, Condition::Greeting) => {
                return Err(StreamError::Nonsense(
                    "something was said before hello".into(),
                ));
            }
            FromAgent::Life(head) => self.life(*head),
            FromAgent::Meta { build } => self.meta(build, frame.body)?,
            FromAgent::State(head) => self.state(head, &frame.body, news)?,
            FromAgent::Heartbeat(beat) => {
                if let Some(echo) = beat.echo {
                    self.offset.exchange(echo, Moment::now());
                }
                self.beat = beat;
            }
            FromAgent::Read { id } => news.push(News::Read(id)),
        }
        Ok(())
    }

    fn greeted(&mut self, hello: AgentHello) -> Result<(), StreamError> {
        self.foreign = PROTOCOLS.common(hello.protocol).is_none();
        if self.foreign {
            let error = NoCommonProtocol {
                who: format!("the agent on {}", self.options.name),
                theirs_version: hello.covtap,
                theirs: hello.protocol,
                ours_version: self.options.version.clone(),
                ours: PROTOCOLS,
            };
            return Err(StreamError::Nonsense(error.to_string()));
        }
        if self
            .hello
            .as_ref()
            .is_none_or(|before| before.agent != hello.agent)
        {
            self.agents += 1;
            self.beat = Heartbeat::default();
            let ours = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
            // Elsewhere than on Linux there is none.
            let same = ours.is_ok_and(|ours| ours.trim() == hello.machine.boot);
            self.offset = if same {
                Offset::none()
            } else {
                Offset::default()
            };
        }
        self.offset.exchange(hello.echo, Moment::now());
        self.hello = Some(hello);
        self.condition = Condition::Connected;
        Ok(())
    }

    fn life(&mut self, head: LifeHead) {
        self.serial = self.serial.max(head.serial);
        let entry = self.lives.entry(head.life.into()).or_default();
        entry.agent = self.agents;
        entry.gone = None;
        if head.end.is_some()
            && let Some(held) = &mut entry.held
        {
            held.counters = None;
        }
        entry.head = Some(head);
    }

    fn meta(&mut self, build: String, body: Vec<u8>) -> Result<(), StreamError> {
        let wrong =
            |what: String| StreamError::Nonsense(format!("meta-data of build {build}: {what}"));
        let (meta, damages) = MetaFile::parse(body).map_err(|damage| wrong(damage.to_string()))?;
        if let Some(first) = damages.first() {
            return Err(wrong(first.damage.to_string()));
        }
        let found = hex(&meta.hash);
        if found != build {
            return Err(wrong(format!("they are those of {found}")));
        }
        let layout = Arc::new(Layout::new(&meta));
        self.builds.insert(build, Arc::new(Build { meta, layout }));
        Ok(())
    }

    fn state(
        &mut self,
        head: StateHead,
        body: &[u8],
        news: &mut Vec<News>,
    ) -> Result<(), StreamError> {
        let key = Key::from(head.life);
        let wrong = |what: &str| {
            let (pid, generation) = (key.pid, key.generation);
            StreamError::Nonsense(format!("a state of process {pid} ({generation}): {what}"))
        };
        let entry = self.lives.entry(key).or_default();
        entry.agent = self.agents;
        if let Some(whole) = &head.whole {
            let build = self.builds.get(&whole.build);
            let build = build.ok_or_else(|| wrong("its build's meta-data did not come"))?;
            let segment = CounterFile::parse(body).and_then(|file| file.first_segment());
            let segment = segment.map_err(|damage| wrong(&damage.to_string()))?;
            let started = whole.started.saturating_add(self.options.number.into());
            entry.held = Some(Held {
                arguments: Arguments::of(&segment),
                place: Folder::place(&build.meta, key, moment(started)),
                counters: Some(Counters::new(Arc::clone(&build.layout))),
                build: Arc::clone(build),
                whole: whole.clone(),
                head: head.clone(),
            });
        }
        let Some(held) = &mut entry.held else {
            return Err(wrong("changes of nothing"));
        };
        let Some(counters) = &mut held.counters else {
            return Err(wrong("changes of what has ended"));
        };
        let mut newer = Counters::new(Arc::clone(&held.build.layout));
        if let Some(problem) = add_bytes(&held.build.meta, &mut newer, body, &held.place) {
            news.push(News::Problem(format!(
                "counters of process {} on {}: expected {}, found {}: {}",
                key.pid, self.options.name, problem.expected, problem.found, problem.effect
            )));
        }
        counters.replace(&newer);
        held.head = head;
        let bytes = counter_file(&held.build.meta, counters, &held.arguments.named());
        let written = self.folder.write(&held.place, &held.build.meta, &bytes);
        entry.trouble = written
            .err()
            .map(|e| format!("its state cannot be kept: {e}"));
        // What came after its end is all there is.
        if entry.head.as_ref().is_some_and(|head| head.end.is_some()) {
            held.counters = None;
        }
        Ok(())
    }

    fn say(&mut self, message: &ToAgent) {
        if self.stream.is_none() {
            return;
        }
        if let Err(error) = self.out.push(message, Body::Bytes(Vec::new())) {
            self.cut(error.to_string());
        }
    }

    fn write(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        match self.out.write(stream) {
            Ok(()) => {}
            // What it said before it went is still to be read.
            Err(StreamError::Closed) => self.out = Output::default(),
            Err(error) => self.cut(error.to_string()),
        }
    }

    fn cut(&mut self, because: String) {
        self.stream = None;
        self.condition = Condition::Cut {
            at: self.incoming.heard.unwrap_or(Moment::now()),
            because,
        };
    }

    /// Writes the states of all lives into `folder` as well, as they are known now. Returns how many.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn mark(&self, folder: &Path) -> io::Result<usize> {
        let folder = Folder(folder.to_path_buf());
        let held = self.lives.values().filter_map(|entry| entry.held.as_ref());
        let mut written = 0;
        for held in held {
            let bytes = match &held.counters {
                Some(counters) => counter_file(&held.build.meta, counters, &held.arguments.named()),
                None => std::fs::read(self.folder.0.join(&held.place))?,
            };
            folder.write(&held.place, &held.build.meta, &bytes)?;
            written += 1;
        }
        Ok(written)
    }

    /// All lives that the agent told of, as they are known now, by the clock of this machine.
    #[must_use]
    pub fn lives(&self) -> Vec<Life> {
        // Without a head nothing is known but that it was there: the head is on its way.
        let told = self
            .lives
            .iter()
            .filter_map(|(key, e)| Some((key, e, e.head.as_ref()?)));
        told.filter(|(key, entry, _)| !self.is_told_again(**key, entry))
            .map(|(_, entry, head)| {
                let mut life = life(head, |theirs| self.offset.ours(theirs));
                life.tap = self.tap(entry, head, life.end);
                if let (End::None, Some((_, at))) = (life.end, &entry.gone) {
                    life.end = End::Gone {
                        at: *at,
                        status: None,
                    };
                }
                life
            })
            .collect()
    }

    /// Whether an agent that was started anew tells of this life under another key. It does not know how
    /// many programs a process ran before; what has counted on from where this life was is the same.
    fn is_told_again(&self, key: Key, entry: &Entry) -> bool {
        let over = entry.head.as_ref().is_some_and(|head| head.end.is_some());
        if over || entry.agent == self.agents {
            return false;
        }
        let Some((held, counters)) = entry.counters() else {
            return false;
        };
        let same_process = self.lives.iter().filter(|(other, _)| {
            other.pid == key.pid && other.start_ticks == key.start_ticks && **other != key
        });
        let mut newer = same_process.filter(|(_, other)| other.agent > entry.agent);
        newer.any(|(_, other)| {
            other.counters().is_some_and(|(theirs, newer)| {
                theirs.whole.build == held.whole.build && newer.at_least(counters)
            })
        })
    }

    /// The user of a life, and the directory that it would write to, as the agent saw it.
    #[must_use]
    pub fn directory(&self, key: Key) -> Option<(Option<u32>, Directory)> {
        let head = self.lives.get(&key)?.head.as_ref()?;
        Some((head.user, directory(head)))
    }

    fn tap(&self, entry: &Entry, head: &LifeHead, end: End) -> Tap {
        let ours = |theirs| self.offset.ours(theirs);
        let told = head.tap.as_ref();
        let failed = |because: &str| Tap::Failed {
            because: because.to_owned(),
        };
        if let Some(because) = told.and_then(|tap| tap.failed.as_deref()) {
            return failed(because);
        }
        let lost = self.lost(entry, end);
        let Some(held) = &entry.held else {
            return match (head.program.instrumented, lost) {
                (true, Some((because, _))) => failed(&because),
                (true, None) => failed("its counters were not read yet"),
                (false, _) => Tap::None,
            };
        };
        if let Some(because) = &entry.trouble {
            return failed(because);
        }
        let read = held
            .head
            .at
            .max(self.beat.read.filter(|_| end == End::None));
        let last = match (told.and_then(|tap| tap.last.as_ref()), lost, held.head.at) {
            (Some(told), ..) => last(told, ours),
            (None, _, None) => Last::Exit,
            (None, lost, Some(_)) => {
                let at = read.map(ours).unwrap_or_default();
                match lost {
                    None => Last::Running { at },
                    Some((because, _)) if entry.gone.is_some() => Last::Snapshot { at, because },
                    Some((because, when)) => Last::Snapshot {
                        at,
                        because: format!(
                            "{because} {} ms after it",
                            (when.0 - at.0).max(0) / 1_000_000
                        ),
                    },
                }
            }
        };
        Tap::State(State {
            build: held.whole.build.clone(),
            file: self.folder.0.join(&held.place),
            found: held.whole.found.clone(),
            attached: ours(held.whole.attached),
            snapshots: told.map_or(held.head.snapshots, |tap| tap.snapshots),
            dropped: held.head.dropped,
            last,
        })
    }

    /// Why nothing more is known of a life whose end was not told, and since when.
    fn lost(&self, entry: &Entry, end: End) -> Option<(String, Moment)> {
        if let Some(gone) = &entry.gone {
            return Some(gone.clone());
        }
        let name = &self.options.name;
        let heard = self.incoming.heard.unwrap_or(Moment::now());
        if end != End::None {
            return None;
        }
        if entry.agent < self.agents {
            let since = self
                .hello
                .as_ref()
                .map_or(heard, |h| self.offset.ours(h.since));
            return Some((format!("the agent on {name} was started anew"), since));
        }
        match &self.condition {
            Condition::Cut { at, .. } => Some((
                format!("the connection to the agent on {name} was cut"),
                *at,
            )),
            Condition::Silent { since } => {
                Some((format!("the agent on {name} fell silent"), *since))
            }
            Condition::Greeting => {
                Some((format!("the agent on {name} was not heard of again"), heard))
            }
            Condition::Connected | Condition::Over => None,
        }
    }
}
