//! The agents of a session: one on each node that the session's own tracer cannot look into.
//!
//! ```text
//! node runs ──► a thread opens the door ──► hello ──► lives, states ──► stop ──► lives of the run
//!                  ▲        │ it is shut       │ the connection is cut
//!                  └── later ◄─────────────────┘                        the node ends: what is known stays
//! ```
//!
//! Everything but the opening of doors is done in the session's own loop. What a node is and how its door opens
//! is not known here: see [`Door`](crate::surroundings::Door).

mod agent;
mod opening;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use covtap_model::problem::{Problem, Severity};
use covtap_tap::clock::Moment;
use covtap_tap::life::Life;
use covtap_tap::watch::Means;

use crate::agent::message::Selection;
use crate::around::Directory;
use crate::surroundings::{Node, NodeId};
use agent::{Agent, Step};
use opening::Openings;

/// How long the end of a run waits for what agents still have to say.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long an agent keeps what is new while its connection is cut, in seconds.
const LINGER: u32 = 30;

/// What agents are told.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The folder of states.
    pub(crate) folder: PathBuf,
    /// Version of this program.
    pub(crate) version: String,
    /// The time between two snapshots of a process.
    pub(crate) every: Duration,
    /// How they find processes.
    pub(crate) means: Means,
    /// When the run began: what had ended by then is none of it.
    pub(crate) began: Moment,
}

/// Something that a person is told.
#[derive(Debug)]
pub(crate) enum News {
    /// The processes of this node are watched from now on.
    Watching(String),
    /// Something is not as it should be.
    Trouble(Problem),
}

/// The agents of a session.
pub(crate) struct Agents {
    options: Options,
    arguments: Vec<String>,
    agents: BTreeMap<NodeId, Agent>,
    /// Nodes of clusters in which nothing was asked for so far.
    unasked: Vec<Node>,
    /// The others.
    clusters: BTreeSet<String>,
    /// Whose data agents may send.
    selection: Selection,
    openings: Openings,
    /// When they were asked for their last words.
    last: Option<Instant>,
}

impl Agents {
    /// # Errors
    /// When the system gives no pair of sockets.
    pub(crate) fn new(options: Options) -> io::Result<Self> {
        Ok(Self {
            arguments: arguments(&options),
            options,
            agents: BTreeMap::new(),
            unasked: Vec::new(),
            clusters: BTreeSet::new(),
            selection: Selection::default(),
            openings: Openings::new()?,
            last: None,
        })
    }

    /// A node runs that only an agent can look into.
    pub(crate) fn add(&mut self, node: Node) {
        if !node.asked && !self.clusters.contains(&node.id.cluster) {
            self.unasked.push(node);
            return;
        }
        let numbers = self.agents.len() + 1;
        // More nodes than numbers: counter files are then told apart by process and start alone.
        let number = u16::try_from(numbers).unwrap_or(u16::MAX);
        let agent = self
            .agents
            .entry(node.id.clone())
            .or_insert_with(|| Agent::new(&node, number));
        agent.node_began(&node, &mut self.openings, &self.arguments);
    }

    /// A node has ended.
    pub(crate) fn node_ended(&mut self, id: &NodeId) {
        self.unasked.retain(|node| node.id != *id);
        if let Some(agent) = self.agents.get_mut(id) {
            agent.node_ended();
        }
    }

    /// Whose data agents may send, beside what was said before. The nodes of that cluster get agents.
    pub(crate) fn select(&mut self, cluster: &str, pods: Vec<String>) {
        let before = self.selection.pods.len();
        self.selection.pods.extend(pods);
        if self.selection.pods.len() > before {
            for agent in self.agents.values_mut() {
                agent.select(&self.selection);
            }
        }
        if self.clusters.insert(cluster.to_owned()) {
            for node in std::mem::take(&mut self.unasked) {
                self.add(node);
            }
        }
    }

    /// Whether a node's agent is still to come.
    pub(crate) fn is_awaited(&self, node: &NodeId) -> bool {
        self.agents.get(node).is_some_and(Agent::is_awaited)
    }

    /// Whether any node's agent is still to come.
    pub(crate) fn are_awaited(&self) -> bool {
        self.agents.values().any(Agent::is_awaited)
    }

    /// Has everything read now, by those that are there.
    pub(crate) fn read_now(&mut self) {
        self.agents.values_mut().for_each(Agent::read_now);
    }

    /// Whether one of them has not said yet what it was to read.
    pub(crate) fn are_reading(&self) -> bool {
        self.agents.values().any(Agent::is_reading)
    }

    /// Writes the states of all lives into `folder` as well, as they are known now. Returns how many.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn mark(&self, folder: &Path) -> io::Result<usize> {
        self.agents.values().map(|agent| agent.mark(folder)).sum()
    }

    /// Whether a node is looked into by an agent.
    pub(crate) fn has(&self, node: &NodeId) -> bool {
        self.agents.contains_key(node)
    }

    /// Become readable when [`Agents::take_in`] should be called.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let streams = self.agents.values().filter_map(Agent::descriptor);
        streams.chain([self.openings.descriptor()]).collect()
    }

    /// How long to wait before the next [`Agents::take_in`], at most.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.agents.values().filter_map(Agent::interval).min()
    }

    /// Takes in what has come, and does what is due.
    pub(crate) fn take_in(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        let Self {
            agents, openings, ..
        } = self;
        for opened in openings.take() {
            if let Some(agent) = agents.get_mut(&opened.node) {
                agent.opened(opened, &self.options, &self.selection);
            }
        }
        for (id, agent) in agents {
            for step in agent.take_in(openings, &self.arguments) {
                news.push(match step {
                    Step::Greeted => News::Watching(format!("node {id} through an agent on it")),
                    Step::Problem(problem) => News::Trouble(problem),
                });
            }
        }
        news
    }

    /// Asks all agents for their last words, those that are still to come too.
    pub(crate) fn stop(&mut self) {
        self.last.get_or_insert_with(Instant::now);
        for agent in self.agents.values_mut() {
            agent.stop();
        }
    }

    /// How long their last words may still take; `None` when nobody has any more to say.
    pub(crate) fn left(&self) -> Option<Duration> {
        let busy = self.agents.values().any(Agent::is_busy) || self.openings.is_busy();
        let left = LAST_WORDS.checked_sub(self.last?.elapsed())?;
        busy.then_some(left)
    }

    /// The lives that agents told of, as far as they are of this run, and the node of each.
    pub(crate) fn lives(&self) -> Vec<(Life, &NodeId)> {
        let began = self.options.began;
        let of_agents = self.agents.iter().flat_map(|(id, agent)| {
            let lives = agent.lives().into_iter();
            lives.map(move |life| (life, id))
        });
        of_agents
            .filter(|(life, _)| life.end.at().is_none_or(|end| end >= began))
            .collect()
    }

    /// The user of a life on a node, and the directory that it would write to.
    pub(crate) fn directory(&self, node: &NodeId, life: &Life) -> (Option<u32>, Directory) {
        let agent = self.agents.get(node);
        agent
            .and_then(|agent| agent.directory(life))
            .unwrap_or((None, Directory::Unknown))
    }

    /// How agents find processes, for the ledger: `on dev-worker exec hold (…)`.
    pub(crate) fn methods(&self) -> Vec<String> {
        let mut methods: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (id, agent) in &self.agents {
            if let Some(hello) = agent.hello() {
                methods
                    .entry(&hello.watching)
                    .or_default()
                    .push(id.name.clone());
            }
        }
        methods
            .into_iter()
            .map(|(method, nodes)| format!("on {} {method}", nodes.join(", ")))
            .collect()
    }

    /// What was left on nodes that are still there.
    pub(crate) fn left_behind(&self) -> Vec<Problem> {
        let there = |id: &NodeId| !self.agents.get(id).is_some_and(Agent::is_gone);
        let left = self.openings.left().iter();
        left.filter(|(id, _)| there(id))
            .map(|(_, problem)| problem.clone())
            .collect()
    }

    /// What agents said of how they find processes.
    pub(crate) fn notes(&self) -> Vec<Problem> {
        let agents = self.agents.iter();
        let hellos = agents.filter_map(|(id, agent)| Some((id, agent.hello()?)));
        hellos
            .flat_map(|(id, hello)| hello.notes.iter().map(move |note| of_node(id, note)))
            .collect()
    }
}

/// What an agent noted.
fn of_node(id: &NodeId, note: &str) -> Problem {
    Problem::new(
        Severity::Note,
        format!("node {id}"),
        "the best way to find processes",
        note,
        "they are found in the way that the ledger names",
    )
}

/// What makes an agent of covtap.
fn arguments(options: &Options) -> Vec<String> {
    let means = match options.means {
        Means::Auto => "auto",
        Means::Hold => "hold",
        Means::Events => "events",
        Means::Poll => "poll",
    };
    vec![
        "agent".into(),
        "--scope=containers".into(),
        format!("--watching={means}"),
        format!("--every={}ms", options.every.as_millis().max(1)),
        format!("--linger={LINGER}s"),
    ]
}
