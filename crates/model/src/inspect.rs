//! What `covtap inspect --format json` says about a program, and about a process that runs it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counter::CounterMode;
use crate::percent::Ratio;

/// The value of `schema` in documents that this version writes.
pub const SCHEMA: &str = "covtap.inspect/1";

/// What is known of a program. What cannot be told is absent, never guessed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// `covtap.inspect/1`.
    pub schema: String,
    /// The file; absent when a process's could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// The process, when one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
}

/// What the file of a program tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Program {
    /// Its path.
    pub path: String,
    /// Whether it counts.
    pub instrumented: bool,
    /// What shows that, and what else was looked for.
    pub evidence: Vec<Evidence>,
    /// Whether the process writes its counters by itself when it ends; absent when it has none.
    /// Without the hook (`-coverpkg` that leaves out package main) it never writes anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_hook: Option<bool>,
    /// How Go built it; absent when it is no Go program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub go: Option<GoBuild>,
    /// The file itself.
    pub file: File,
    /// The packages that count, by path.
    pub packages: Vec<Package>,
}

/// Something that shows whether a program counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What was looked at.
    pub source: Source,
    /// Whether it speaks for counting; absent when this file cannot tell.
    pub found: Option<bool>,
    /// What was found, in words.
    pub detail: String,
}

/// Where the evidence is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The name `runtime.addCovMeta` in the function table: this one decides.
    FunctionName,
    /// The build setting `-cover` (Go 1.23 and later record it).
    BuildSetting,
    /// Meta-data of packages in the read-only data.
    MetaData,
    /// Room for counters, as the module data state it.
    Counters,
}

/// How Go built a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GoBuild {
    /// `go1.27.3`; empty when it is not recorded (Go 1.17 and older).
    pub version: String,
    /// Import path of the main package; empty when it is not recorded.
    pub main_package: String,
    /// Path of the main module; empty when there is none.
    pub module: String,
    /// Build settings, in the file's order.
    pub settings: Vec<Setting>,
}

/// A build setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// `-tags`, `CGO_ENABLED` and so on.
    pub name: String,
    /// Its value; absent where values may hold secrets (`-ldflags` with `-X`, C compiler flags).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What kind of file it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// The processor, in Go's words.
    pub architecture: String,
    /// A program at a fixed address, a position independent one, or a shared library.
    pub kind: Kind,
    /// Whether the system's loader starts it, with libraries; else it is static.
    pub dynamic: bool,
    /// Whether it has a symbol table; else it is stripped.
    pub symbols: bool,
    /// Whether it has sections.
    pub sections: bool,
    /// The id that Go's linker gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub go_build_id: Option<String>,
    /// The id that the C linker gave it, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gnu_build_id: Option<String>,
}

/// What kind of file a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A program at a fixed address.
    Fixed,
    /// A position independent program.
    PositionIndependent,
    /// A shared library.
    Library,
}

/// A package that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Package {
    /// Import path.
    pub path: String,
    /// Path of its module; empty for the standard library's.
    pub module: String,
    /// Number of functions.
    pub functions: u64,
    /// Number of units: runs of statements with one counter.
    pub units: u64,
    /// Number of statements.
    pub statements: u64,
    /// Statements that ran; present for a process that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered: Option<u64>,
}

/// A look into a process, stage by stage. The first stage that fails is the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Which process.
    pub target: Target,
    /// The program or library that counts, as it is mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// What was found where in its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// What is read there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tap: Option<Tap>,
    /// What its counters say now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// Why it went no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Process id on this machine.
    pub pid: u32,
    /// Process id as the process sees it (another one in a pid namespace).
    pub inner_pid: u32,
    /// What it executes; absent when that may not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// The name that it was called by, its `argv[0]`; absent when that may not be seen. Its other
    /// arguments may hold secrets and are not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<String>,
    /// When it was started, in UTC (RFC 3339).
    pub started: String,
}

/// The program or library that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    /// Its path, as the process sees it.
    pub path: String,
    /// The linker's id of the build; empty without one.
    pub build_id: String,
    /// The processor, in Go's words.
    pub architecture: String,
    /// What has to be added to the addresses in the file.
    pub bias: u64,
}

/// What was found where; addresses are those of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Layout {
    /// What showed it: `symbols`, `sections`, or a search through the memory.
    pub found_by: String,
    /// The runtime's module data.
    pub module_data: u64,
    /// The list of packages.
    pub list: u64,
    /// The runtime's own hash of the meta-data; absent where the program does not compute it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_hash: Option<u64>,
    /// First address of the counters.
    pub counters_start: u64,
    /// The address behind the last.
    pub counters_end: u64,
}

/// What is read there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tap {
    /// What a counter's number means.
    pub mode: CounterMode,
    /// The hash of the meta-data, as in the names of Go's files.
    pub hash: String,
    /// How many packages count.
    pub packages: u64,
    /// How many functions they have.
    pub functions: u64,
    /// How many units those have.
    pub units: u64,
}

/// What its counters say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// When, in UTC (RFC 3339).
    pub at: String,
    /// How often the counters were read until two reads agreed.
    pub reads: u32,
    /// How many bytes that were.
    pub bytes: u64,
    /// Statements that ran, of all.
    pub statements: Ratio,
    /// How many functions ran.
    pub functions_run: u64,
    /// Records that did not fit the meta-data and were left out.
    pub dropped: u64,
}

/// Why a look into a process went no further.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// What was missing.
    pub error: String,
    /// What would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Inspection {
    /// Whether what was looked at counts; `None` when nothing could be told.
    #[must_use]
    pub fn instrumented(&self) -> Option<bool> {
        let by_memory = self.process.as_ref().is_some_and(|p| p.layout.is_some());
        if by_memory {
            return Some(true);
        }
        self.program.as_ref().map(|program| program.instrumented)
    }
}
