//! What has changed since the last look.

use std::time::SystemTime;

use covtap_model::problem::Problem;

use crate::facts::{Cluster, Container, Engine, Node, Pod};

/// Something that changed. [`Facts`](crate::facts::Facts) hold the sum of all news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A container engine answered, for the first time or again.
    Engine(Engine),
    /// A cluster answered, for the first time or again.
    Cluster(Cluster),
    /// A node was found or started (again): it may be acted upon.
    NodeStarted(Node),
    /// The API said more about a node, or something else.
    NodeChanged(Node),
    /// A node ended.
    NodeEnded(Node),
    /// A container of an engine that is no node was found, started or ended.
    Container(Container),
    /// A pod was created or changed.
    Pod(Pod),
    /// The API has this pod no more.
    PodGone {
        /// The cluster.
        cluster: String,
        /// The pod's uid.
        uid: String,
        /// When that was learnt.
        at: SystemTime,
    },
    /// Something cannot be followed, with the reason and the next step. Said once.
    Trouble(Problem),
}
