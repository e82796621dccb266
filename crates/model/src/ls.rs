//! What `covtap ls --format json` says: what would be watched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// The value of `schema` in documents that this version writes.
pub const SCHEMA: &str = "covtap.ls/1";

/// What would be watched now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listing {
    /// `covtap.ls/1`.
    pub schema: String,
    /// The containers that are asked for, sorted by where they are.
    pub targets: Vec<Listed>,
    /// What could not be looked at, and why.
    pub problems: Vec<Problem>,
}

/// A container that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// The cluster; absent for a container of an engine that is in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The namespace of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The API's uid of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The container's name.
    pub container: String,
    /// The runtime's id of the container; absent until it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The node that its pod was given to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What a person would name: `deployment/api`, `shop/api` of a Compose project; absent when its
    /// owners are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The image as it was asked for.
    pub image: String,
    /// `running`, `waiting`, `terminated`, with the reason after a colon where there is one.
    pub state: String,
    /// Whether it is ready, or has done its work.
    pub ready: bool,
    /// The value of `GOCOVERDIR`; absent when it is not set, or set from something that is not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage_directory: Option<String>,
    /// What that directory lies on: `emptyDir cover`, `hostPath /coverdata`, `the container's own file
    /// system`; where the value comes from when it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage_place: Option<String>,
    /// The user that its process runs as; absent when only the image knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}
