//! Where services run beside CMD's own processes: containers of this machine, nodes of clusters and
//! their pods. The session does not know engines and APIs; the command line gives it this.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use covtap_model::ledger::Container;
use covtap_model::problem::Problem;
use covtap_tap::cgroup::{ContainerId, Place};

use crate::stopped::Record;
use crate::store::Folder;

/// What is around CMD.
pub trait Surroundings {
    /// The run has a folder now. What is made anywhere from now on is recorded there first.
    fn begin(&mut self, folder: &Folder);

    /// Becomes readable when there is news.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// The news since the last call.
    fn news(&mut self) -> Vec<News>;

    /// Whether something in particular was asked for.
    fn asked(&self) -> bool;

    /// Asks once more what is not known for sure yet, and waits for that, at most so long.
    fn settle(&mut self, patience: Duration);

    /// What lies at a place; `None` when nothing is known of it.
    fn whereabouts(&self, place: &Place) -> Option<Whereabouts>;

    /// The containers that were asked for and ran during the run, each of their lives for itself, as far
    /// as their cluster or engine has told.
    fn ran(&self) -> Vec<Whereabouts>;

    /// Begins to end the services of these pods gracefully, by their uids; its programs need at least
    /// `grace` to end. What is changed is recorded first. `None` when nothing can be ended here.
    ///
    /// # Errors
    /// When there is no thread to be had.
    fn stop(
        &self,
        pods: &[String],
        grace: Duration,
        record: Record,
    ) -> io::Result<Option<Box<dyn Stop>>>;
}

/// Services that are being ended.
pub trait Stop {
    /// Becomes readable when there is news.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// The news since the last call.
    fn news(&mut self) -> Vec<StopNews>;

    /// Brings back what was ended. What could not be brought back, or was changed by others, is returned;
    /// the record keeps what is still to be done.
    fn restore(self: Box<Self>) -> Vec<Problem>;
}

/// Something about services that are being ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopNews {
    /// It was asked to end: `shop/deployment/api`, and how many replicas it had.
    Asked {
        /// Its name.
        name: String,
        /// How many.
        replicas: i32,
    },
    /// It is not ended, or not as it should be.
    Trouble(Problem),
    /// Everything was asked. So long may it take, as far as grace periods say.
    All {
        /// At the longest.
        grace: Duration,
    },
}

/// Something changed around CMD.
#[derive(Clone, Debug)]
pub enum News {
    /// A node of a cluster runs: the processes of all pods on it are to be watched, from here where that
    /// can be, else by an agent.
    Node(Node),
    /// A node has ended, or was removed. Its container, where it is one, is not told as ended beside.
    NodeEnded(NodeId),
    /// Pods that were asked for, by their uids: agents may send what is of these.
    Asked {
        /// The cluster that they are in.
        cluster: String,
        /// What control groups call them.
        pods: Vec<String>,
    },
    /// A container of this machine runs that is no node: its processes are to be watched, and those of all
    /// containers in it.
    Began {
        /// Its id.
        id: ContainerId,
        /// Its first process.
        pid: u32,
        /// What a person calls it: `container api`.
        name: String,
    },
    /// It has ended.
    Ended {
        /// Its id.
        id: ContainerId,
    },
    /// A pod that was asked for is ready.
    Ready(Ready),
    /// Something cannot be followed.
    Trouble(Problem),
}

/// Which node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId {
    /// Its cluster.
    pub cluster: String,
    /// Its name there.
    pub name: String,
}

/// Its name alone, which is what people know it by.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A node of a cluster.
#[derive(Clone, Debug)]
pub struct Node {
    /// Which.
    pub id: NodeId,
    /// The container of an engine that it is; `None` for a machine of its own.
    pub container: Option<ContainerId>,
    /// Its first process, where that is one of this machine.
    pub pid: Option<u32>,
    /// Whether it was asked for: by name, or because it began during the run. An agent is put on it at once;
    /// else when there is a pod in its cluster that was asked for.
    pub asked: bool,
    /// The way to an agent on it.
    pub door: Arc<dyn Door>,
}

/// A way to an agent on a node. Both calls are made from a thread of their own, and may take their time.
pub trait Door: fmt::Debug + Send + Sync {
    /// Starts `covtap` on the node with these arguments, which make it an agent. `resident` is the process
    /// id, on the node, of an agent that was started through this door before and may still be there: the
    /// one that is started now joins it.
    ///
    /// # Errors
    /// [`Shut`].
    fn open(&self, arguments: &[String], resident: Option<u32>) -> Result<Opened, Shut>;

    /// Takes away what starting an agent has left on the node and what a running one needs no more. Called
    /// when one runs, and when none could be started.
    ///
    /// # Errors
    /// Why something is left, for a person.
    fn tidy(&self) -> Result<(), Box<Problem>>;
}

/// Why a door does not open.
#[derive(Clone, Debug)]
pub struct Shut {
    /// For a person.
    pub problem: Box<Problem>,
    /// Whether it is worth another try.
    pub passing: bool,
}

/// An agent that was started.
#[derive(Debug)]
pub struct Opened {
    /// Its standard input and output.
    pub stream: UnixStream,
    /// The lines of its standard error, until it ends.
    pub stderr: mpsc::Receiver<String>,
    /// Its exit status, once, when it has ended; nothing when that was not to be learnt.
    pub status: mpsc::Receiver<i64>,
}

/// A pod that is ready to be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What a person calls it: `shop/api-7c9`.
    pub name: String,
    /// What it belongs to: `deployment/api`.
    pub workload: Option<String>,
    /// Where it runs.
    pub node: NodeId,
    /// Its containers that were asked for and run.
    pub containers: Vec<ReadyContainer>,
}

/// A container that is ready to be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyContainer {
    /// Its name in the pod.
    pub name: String,
    /// Its id.
    pub id: ContainerId,
}

/// Where a target ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// What a person calls what it belongs to: `deployment/api`.
    pub workload: String,
    /// Its container.
    pub container: Container,
    /// Whether it was asked for.
    pub selected: bool,
}

impl Whereabouts {
    /// Of a place that nobody has told more of than a control group does. It counts: what came is not
    /// thrown away because its name is not known.
    pub(crate) fn of_place(workload: String, place: &Place) -> Self {
        Self {
            workload,
            container: Container {
                pod_uid: place.pod.as_ref().map(ToString::to_string),
                id: place.container.as_ref().map(ToString::to_string),
                ..Container::default()
            },
            selected: true,
        }
    }
}
