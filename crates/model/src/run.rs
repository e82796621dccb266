//! What `run.json` says about one `covtap run`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The value of `schema` in run files that this version writes.
pub const SCHEMA: &str = "covtap.run/1";

/// One run. Stored as `run.json` in the run's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// `covtap.run/1`.
    pub schema: String,
    /// Name of the run's folder: UTC time and four hexadecimal digits.
    pub id: String,
    /// Version of covtap.
    pub covtap: String,
    /// The wrapped command: its first word only, unless `--keep-args` was given, because arguments
    /// may hold secrets.
    pub command: Vec<String>,
    /// UTC, RFC 3339.
    pub started: String,
    /// UTC, RFC 3339; absent while it runs or when covtap itself died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// How the command ended: `exit 0`, `signal 15`; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_status: Option<String>,
    /// The exit code of `covtap run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
}
