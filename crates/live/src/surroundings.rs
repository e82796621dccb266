//! Where services run beside CMD's own processes: containers of this machine, nodes of clusters and
//! their pods. The session does not know engines and APIs; the command line gives it this.

use std::os::fd::BorrowedFd;

use covtap_model::ledger::Container;
use covtap_model::problem::Problem;
use covtap_tap::cgroup::{ContainerId, Place};

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
