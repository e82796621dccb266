//! What `covtap tap --format json` says about what it read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::percent::Ratio;

/// The value of `schema` in documents that this version writes.
pub const SCHEMA: &str = "covtap.tap/1";

/// What came of the processes that were named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tapped {
    /// `covtap.tap/1`.
    pub schema: String,
    /// Where the files are: a directory that Go's tools read as it is.
    pub directory: String,
    /// One a life, in the order in which the processes were named: a process that executed another
    /// program has several.
    pub lives: Vec<Life>,
}

/// One process between its start (or an exec) and its end (or the next exec).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Life {
    /// What a person calls it: the name of the executable.
    pub name: String,
    /// Process id on this machine.
    pub pid: u32,
    /// How many programs the process ran before this one, as far as was seen.
    pub generation: u32,
    /// What was read; absent when nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// How it ended (`exit 0`, `signal 9`, `exec`, `unknown`); absent when it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Why nothing, or not the last state, was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// What would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What was read of a life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    /// Statements that ran, of all.
    pub statements: Ratio,
    /// What showed where the counters are.
    pub found_by: String,
    /// How often it was read.
    pub snapshots: u64,
    /// When the state was read that the file holds, in UTC (RFC 3339).
    pub at: String,
    /// Whether that was in its exit stop: nothing ran after it.
    pub last: bool,
    /// Records that did not fit the meta-data and were left out.
    pub dropped: u64,
    /// Name of its meta-data file in the directory.
    pub meta_file: String,
    /// Name of its counter file in the directory.
    pub counter_file: String,
}
