//! Where services run beside CMD's own processes: containers of this machine, nodes of clusters and
//! their pods. The session does not know engines and APIs; the command line gives it this.

use std::os::fd::BorrowedFd;

use covtap_model::ledger::Container;
use covtap_model::problem::Problem;
use covtap_tap::cgroup::{ContainerId, Place, PodUid};

/// What is around CMD.
pub trait Surroundings {
    /// Becomes readable when there is news.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// The news since the last call.
    fn news(&mut self) -> Vec<News>;

    /// Asks once more what is not known for sure yet, and waits for that, for a moment.
    fn settle(&mut self);

    /// What lies at a place; `None` when nothing is known of it.
    fn whereabouts(&self, place: &Place) -> Option<Whereabouts>;

    /// Whether anything at all was found that was asked for; said when nothing came.
    fn summary(&self) -> String;
}

/// Something changed around CMD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A container of this machine runs: its processes are to be watched, and those of all containers in
    /// it.
    Began {
        /// Its id.
        id: ContainerId,
        /// Its first process.
        pid: u32,
        /// What a person calls it: `node dev-worker`, `container api`.
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

/// A pod that is ready to be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its uid, as control groups name it.
    pub pod: PodUid,
    /// What a person calls it: `shop/api-7c9`.
    pub name: String,
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
    /// Where `GOCOVERDIR` of its specification lies, in words: `/coverdata on hostPath /coverdata`.
    pub coverage_directory: Option<String>,
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
