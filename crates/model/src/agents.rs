//! What `agents.json` says: agents that a run has made in clusters and not removed yet.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The value of `schema` in files that this version writes.
pub const SCHEMA: &str = "covtap.agents/1";

/// The agents that are to be removed. Stored as `agents.json` in the run's folder before any of them is made;
/// the file is there as long as there are any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Agents {
    /// `covtap.agents/1`.
    pub schema: String,
    /// The kubeconfig that was named, when one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Them, one a cluster.
    pub sets: Vec<Set>,
}

/// The agents in one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Set {
    /// The cluster: its context's name.
    pub cluster: String,
    /// The namespace that they are in.
    pub namespace: String,
    /// The name of their DaemonSet.
    pub name: String,
    /// Whether the namespace was made for them, and is removed with them.
    pub whole_namespace: bool,
}
