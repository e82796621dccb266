//! What `stopped.json` says: services that a run has scaled to zero and not restored yet.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The value of `schema` in files that this version writes.
pub const SCHEMA: &str = "covtap.stopped/1";

/// The services that are to be restored. Stored as `stopped.json` in the run's folder before any of them is
/// touched; the file is there as long as there are any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stopped {
    /// `covtap.stopped/1`.
    pub schema: String,
    /// The kubeconfig that was named, when one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Them.
    pub services: Vec<Service>,
}

/// A service that was scaled to zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// The cluster: its context's name.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Kubernetes' kind: `Deployment`, `StatefulSet`, `ReplicaSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The API's uid: another one of the same name is left alone.
    pub uid: String,
    /// How many replicas it had.
    pub replicas: i32,
}

impl std::fmt::Display for Service {
    /// `shop/deployment/api`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind.to_lowercase();
        write!(f, "{}/{kind}/{}", self.namespace, self.name)
    }
}
