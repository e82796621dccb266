//! What `wired.json` says: what `covtap wire --apply` has put into files, so that it can be taken out again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The value of `schema` in files that this version writes.
pub const SCHEMA: &str = "covtap.wired/1";

/// What was put into a repository. It is written before any file is changed, and is there as long as something
/// is left to be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wired {
    /// `covtap.wired/1`.
    pub schema: String,
    /// Whether all of it was written: `false` is what a killed `covtap wire` leaves, for `covtap clean`.
    pub applied: bool,
    /// The files, those that were changed last at the end. One that was wired twice stands here twice.
    pub files: Vec<WiredFile>,
}

/// A file that was changed or made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WiredFile {
    /// Its path below the folder that the store lies beside, with `/` between folders.
    pub path: String,
    /// Its text as it was; `None` when covtap has made the file.
    pub before: Option<String>,
    /// What was put into it, in the order of places.
    pub insertions: Vec<WiredInsertion>,
}

/// Something that was put into a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WiredInsertion {
    /// The byte of the text before, in front of which it was put.
    pub at: usize,
    /// What.
    pub text: String,
}
