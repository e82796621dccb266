//! One node's agent: a door, a connection behind it, and what to do when either fails.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use covtap_model::problem::{Problem, Severity};
use covtap_tap::life::Life;

use super::opening::{Came, Openings};
use crate::agent::message::{AgentHello, Selection};
use crate::agent::remote::{self, Condition, News, Remote};
use crate::around::Directory;
use crate::surroundings::{Door, Node, NodeId, Opened, Shut};

/// How long an agent may take to say hello once it was started.
const GREETING: Duration = Duration::from_secs(10);
/// The pauses between tries. An agent whose connection died in silence takes ten seconds to notice.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// How long it is tried before a person is told.
const LONG: Duration = Duration::from_secs(15);
/// The exit statuses of container runtimes and shells for what cannot be executed, and is not there.
const NOT_EXECUTABLE: i64 = 126;
const NOT_FOUND: i64 = 127;
/// Lines of its standard error that are kept.
const LINES: usize = 5;

/// Something that the session is told.
pub(super) enum Step {
    /// It has said hello, for the first time since its node began.
    Greeted,
    /// What a person should know.
    Problem(Problem),
}

/// What is going on.
enum Phase {
    /// Its door is being opened.
    Opening,
    /// There is a connection, on which it has not said hello.
    Greeting { until: Instant },
    /// It is there.
    Connected,
    /// The next try is due.
    Pause { until: Instant },
    /// The node has ended, or nothing helps.
    Closed,
}

/// One node's agent.
pub(super) struct Agent {
    id: NodeId,
    door: Arc<dyn Door>,
    number: u16,
    phase: Phase,
    /// Tells the answer to the last try from those to tries before.
    attempt: u64,
    /// Tries without a hello since the last one.
    failures: usize,
    /// Whether it was greeted since its node began.
    greeted: bool,
    stopped: bool,
    /// The request to read everything that is not answered yet.
    reading: Option<u64>,
    /// Since when it is tried in vain.
    trying: Option<Instant>,
    /// Whether that was said.
    missed: bool,
    /// Whether the last try was to join an agent.
    joining: bool,
    /// Whether something lies on the node that is not needed any more.
    untidy: bool,
    /// Whether its node has ended.
    node_ended: bool,
    remote: Option<Remote<UnixStream>>,
    stderr: Option<mpsc::Receiver<String>>,
    status: Option<mpsc::Receiver<i64>>,
    /// Its exit status.
    ended: Option<i64>,
    /// What it said on its standard error last.
    lines: Vec<String>,
    /// Why the last try failed, where the door said it.
    because: Option<Problem>,
    steps: Vec<Step>,
}

impl Agent {
    pub(super) fn new(node: &Node, number: u16) -> Self {
        Self {
            id: node.id.clone(),
            door: Arc::clone(&node.door),
            number,
            phase: Phase::Closed,
            attempt: 0,
            failures: 0,
            greeted: false,
            stopped: false,
            reading: None,
            trying: None,
            missed: false,
            joining: false,
            untidy: false,
            node_ended: false,
            remote: None,
            stderr: None,
            status: None,
            ended: None,
            lines: Vec::new(),
            because: None,
            steps: Vec::new(),
        }
    }

    /// The node runs, for the first time or again.
    pub(super) fn node_began(
        &mut self,
        node: &Node,
        openings: &mut Openings,
        arguments: &[String],
    ) {
        if !matches!(self.phase, Phase::Closed) || self.stopped {
            return;
        }
        self.door = Arc::clone(&node.door);
        self.failures = 0;
        self.trying = None;
        self.missed = false;
        self.greeted = false;
        self.node_ended = false;
        self.open(openings, arguments, None);
    }

    /// The node has ended, and with it everything on it.
    pub(super) fn node_ended(&mut self) {
        self.phase = Phase::Closed;
        self.node_ended = true;
        if let Some(remote) = &mut self.remote {
            remote.gone(&format!("node {} was stopped", self.id));
        }
    }

    fn open(&mut self, openings: &mut Openings, arguments: &[String], resident: Option<u32>) {
        self.attempt += 1;
        self.trying.get_or_insert_with(Instant::now);
        self.joining = resident.is_some();
        self.phase = Phase::Opening;
        let try_of_node = (self.id.clone(), self.attempt);
        openings.open(try_of_node, &self.door, arguments, resident);
    }

    /// A door has opened, or will not.
    pub(super) fn opened(&mut self, came: Came, options: &super::Options, selection: &Selection) {
        if came.attempt != self.attempt || !matches!(self.phase, Phase::Opening) {
            // The node has ended since: without its input, an agent ends by itself.
            return;
        }
        match came.result {
            Ok(opened) => self.connect(opened, options, selection),
            Err(Shut { problem, passing }) => {
                self.because = Some(*problem);
                self.fail(passing);
            }
        }
    }

    fn connect(&mut self, opened: Opened, options: &super::Options, selection: &Selection) {
        let Opened {
            stream,
            stderr,
            status,
        } = opened;
        self.stderr = Some(stderr);
        self.status = Some(status);
        self.ended = None;
        self.lines.clear();
        self.because = None;
        let connected = match &mut self.remote {
            Some(remote) => remote.resume(stream),
            None => Remote::connect(
                stream,
                remote::Options {
                    name: self.id.name.clone(),
                    number: self.number,
                    folder: options.folder.clone(),
                    version: options.version.clone(),
                },
            )
            .map(|mut remote| {
                remote.select(selection.clone());
                remote.set_every(options.every);
                self.remote = Some(remote);
            }),
        };
        match connected {
            Ok(()) => {
                let until = Instant::now() + GREETING;
                self.phase = Phase::Greeting { until };
            }
            Err(error) => {
                self.lines.push(error.to_string());
                self.fail(true);
            }
        }
    }

    /// A try came to nothing, or a connection to its end.
    fn fail(&mut self, passing: bool) {
        // What stands in front of an agent comes back some time; one that ends at once may do so for ever.
        let outside = self.greeted || self.because.is_some();
        let again = PAUSES.last().filter(|_| outside);
        let pause = PAUSES.get(self.failures).or(again);
        let pause = pause.filter(|_| passing);
        self.failures += 1;
        match pause {
            Some(pause) => {
                // Whoever is read again later has lost nothing.
                let long = self.trying.is_some_and(|since| since.elapsed() > LONG);
                if long && !std::mem::replace(&mut self.missed, true) {
                    self.steps.push(Step::Problem(self.out_of_reach()));
                }
                let until = Instant::now() + *pause;
                self.phase = Phase::Pause { until };
            }
            None => {
                self.phase = Phase::Closed;
                self.untidy = true;
                self.steps.push(Step::Problem(self.given_up()));
            }
        }
    }

    fn given_up(&self) -> Problem {
        let effect = if self.greeted {
            "what happened on this node since then is not collected"
        } else {
            "what runs on this node is not collected"
        };
        Problem {
            effect: effect.into(),
            ..self.failure()
        }
    }

    fn out_of_reach(&self) -> Problem {
        Problem {
            effect: "it is tried again; what ends on this node meanwhile is collected as far as it was read".into(),
            hint: None,
            ..self.failure()
        }
    }

    /// Why the last try failed.
    fn failure(&self) -> Problem {
        self.because.clone().unwrap_or_else(|| {
            let status = self.ended.map(|status| format!("it ended with status {status}"));
            let condition = self.remote.as_ref().map(Remote::condition);
            let cut = match condition {
                Some(Condition::Cut { because, .. }) => Some(because.clone()),
                _ => None,
            };
            let mut found = self.lines.clone();
            found.extend(status.or(cut));
            Problem::new(
                Severity::Warning,
                format!("node {}", self.id),
                "an agent",
                found.join("; "),
                "",
            )
            .hint(
                "what runs on the node has to be a covtap for its processor, linked statically where \
                 the node has other libraries than this machine: --agent-binary names one",
            )
        })
    }

    pub(super) fn select(&mut self, selection: &Selection) {
        if let Some(remote) = &mut self.remote {
            remote.select(selection.clone());
        }
    }

    /// Asks for its last words, now or as soon as it is there.
    pub(super) fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true)
            && matches!(self.phase, Phase::Connected)
            && let Some(remote) = &mut self.remote
        {
            remote.stop();
        }
    }

    /// Has everything read now.
    pub(super) fn read_now(&mut self) {
        self.reading = match &mut self.remote {
            Some(remote) if matches!(self.phase, Phase::Connected) => Some(remote.read_now()),
            _ => None,
        };
    }

    /// Whether it has not said yet what it was to read.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Writes the states of its lives into `folder` as well. Returns how many.
    pub(super) fn mark(&self, folder: &Path) -> io::Result<usize> {
        self.remote
            .as_ref()
            .map_or(Ok(0), |remote| remote.mark(folder))
    }

    pub(super) fn is_awaited(&self) -> bool {
        !self.greeted && !matches!(self.phase, Phase::Closed)
    }

    /// Whether its node has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.node_ended
    }

    /// Whether it has something to say yet.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.phase, Phase::Closed)
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.remote.as_ref()?.descriptor()
    }

    pub(super) fn interval(&self) -> Option<Duration> {
        let left = |until: &Instant| until.saturating_duration_since(Instant::now());
        match &self.phase {
            Phase::Opening | Phase::Closed => None,
            Phase::Pause { until } => Some(left(until)),
            Phase::Greeting { until } => {
                let remote = self.remote.as_ref()?;
                Some(left(until).min(remote.interval()))
            }
            Phase::Connected => Some(self.remote.as_ref()?.interval()),
        }
    }

    /// Takes in what has come, and does what is due.
    pub(super) fn take_in(&mut self, openings: &mut Openings, arguments: &[String]) -> Vec<Step> {
        if let Some(stderr) = &self.stderr {
            self.lines.extend(stderr.try_iter());
            let old = self.lines.len().saturating_sub(LINES);
            self.lines.drain(..old);
        }
        match self.phase {
            Phase::Greeting { until } => {
                self.hear();
                if matches!(self.phase, Phase::Greeting { .. }) && Instant::now() >= until {
                    self.lines.push("it says nothing".into());
                    self.fail(true);
                }
            }
            Phase::Connected => self.hear(),
            Phase::Pause { until } if Instant::now() >= until => {
                // Who has tried to join it and failed starts another one.
                let resident = self.hello().filter(|_| self.greeted && self.failures < 2);
                let resident = resident.map(|hello| hello.pid);
                self.open(openings, arguments, resident);
            }
            Phase::Pause { .. } | Phase::Opening | Phase::Closed => {}
        }
        if std::mem::take(&mut self.untidy) {
            openings.tidy(&self.id, &self.door);
        }
        std::mem::take(&mut self.steps)
    }

    fn hear(&mut self) {
        let Some(remote) = &mut self.remote else {
            return;
        };
        for news in remote.take_in() {
            match news {
                News::Greeted => {
                    self.phase = Phase::Connected;
                    self.failures = 0;
                    self.missed = false;
                    self.trying = None;
                    if !std::mem::replace(&mut self.greeted, true) {
                        self.steps.push(Step::Greeted);
                    }
                    self.untidy = true;
                    if self.stopped {
                        remote.stop();
                    }
                }
                News::Problem(text) => self.steps.push(Step::Problem(Problem::new(
                    Severity::Warning,
                    format!("node {}", self.id),
                    "an agent that sees everything",
                    text,
                    "what it still sees is collected",
                ))),
                News::Read(id) => self.reading = self.reading.filter(|asked| *asked != id),
                News::Condition => {}
            }
        }
        match remote.condition() {
            Condition::Over if remote.descriptor().is_some() => {}
            Condition::Over if self.stopped => self.phase = Phase::Closed,
            Condition::Over | Condition::Cut { .. } => {
                let passing = self.may_pass();
                self.fail(passing);
            }
            Condition::Greeting | Condition::Connected | Condition::Silent { .. } => {}
        }
        if !matches!(self.phase, Phase::Connected) {
            // A cut takes the question with it.
            self.reading = None;
        }
    }

    /// Whether another try may do better. One that does not speak our language will not learn it, and a
    /// program that cannot be executed stays so; but that of an agent to join may have gone with it.
    fn may_pass(&mut self) -> bool {
        self.ended = self.status.as_ref().and_then(|s| s.try_recv().ok());
        let executed = !matches!(self.ended, Some(NOT_EXECUTABLE | NOT_FOUND));
        let foreign = self.remote.as_ref().is_some_and(Remote::is_foreign);
        !foreign && (executed || self.joining)
    }

    pub(super) fn hello(&self) -> Option<&AgentHello> {
        self.remote.as_ref()?.hello()
    }

    pub(super) fn lives(&self) -> Vec<Life> {
        self.remote.as_ref().map(Remote::lives).unwrap_or_default()
    }

    pub(super) fn directory(&self, life: &Life) -> Option<(Option<u32>, Directory)> {
        self.remote.as_ref()?.directory(life.key())
    }
}
