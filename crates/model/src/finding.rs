//! What `covtap doctor --format json` says: why coverage is missing or wrong, what proves it, which
//! suspects are innocent, and what could not be looked at.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The value of `schema` in documents that this version writes.
pub const SCHEMA: &str = "covtap.doctor/1";

/// What the doctor found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// `covtap.doctor/1`.
    pub schema: String,
    /// The route that severities are for.
    pub route: Route,
    /// What was judged, in the order of the report: workloads, images, directories, a repository.
    pub subjects: Vec<Subject>,
    /// Rules that fired: the root cause first.
    pub findings: Vec<Finding>,
    /// Suspects that were looked at and are innocent.
    pub cleared: Vec<Cleared>,
    /// What could not be decided, and why.
    pub unknown: Vec<Unknown>,
}

/// How coverage is to come from the services.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// Out of the processes' memory: only the build has to be right.
    #[default]
    Tap,
    /// Out of the files that they write: the whole chain has to be right.
    Files,
}

/// Something that was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subject {
    /// `deployment/api`, `image api:test`, `coverdata`, `docker/api.Dockerfile`.
    pub name: String,
    /// The links of its chain, from source to report, as far as they were looked at.
    pub chain: Vec<LinkState>,
}

/// What is known of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkState {
    /// Which one.
    pub link: Link,
    /// How it stands with it.
    pub state: State,
}

/// How it stands with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Looked at: nothing is wrong.
    Sound,
    /// A rule fired.
    Broken,
    /// Could not be decided.
    Unknown,
    /// A broken link before it makes it unknowable.
    NotReached,
}

/// A link of the chain from source to report.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    /// The program is built with coverage.
    Build,
    /// That program is in the image that runs.
    Image,
    /// The manifest that is applied asks for it.
    Manifest,
    /// A directory is mounted where it is expected.
    Mount,
    /// The process has the variable.
    Environment,
    /// The process may write the directory.
    Permission,
    /// It runs where it is looked for.
    Run,
    /// It ends in a way that lets it write.
    Shutdown,
    /// It writes.
    Flush,
    /// What it wrote is fetched.
    Copy,
    /// The files are whole and fit each other.
    Data,
    /// They become the right number.
    Report,
}

impl Link {
    /// Its name, as documents have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Link::Build => "build",
            Link::Image => "image",
            Link::Manifest => "manifest",
            Link::Mount => "mount",
            Link::Environment => "environment",
            Link::Permission => "permission",
            Link::Run => "run",
            Link::Shutdown => "shutdown",
            Link::Flush => "flush",
            Link::Copy => "copy",
            Link::Data => "data",
            Link::Report => "report",
        }
    }
}

/// How much a finding costs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Coverage is or will be incomplete or misleading.
    Warning,
    /// Coverage is or will be missing.
    Error,
}

/// How sure it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// The facts fit it, and something that cannot be seen from here decides.
    Possible,
    /// The facts leave no other usual explanation.
    Likely,
    /// The facts prove it.
    Certain,
}

/// A rule that fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule's stable name: the slug of `covtap explain`.
    pub rule: String,
    /// The rule's number: `CT001`.
    pub id: String,
    /// How much it costs on the route in use.
    pub severity: Severity,
    /// How sure it is.
    pub confidence: Confidence,
    /// The link that is broken.
    pub link: Link,
    /// What it is about.
    pub subject: String,
    /// Why coverage is missing, in one sentence.
    pub cause: String,
    /// What was observed: at least one.
    pub evidence: Vec<Evidence>,
    /// What to do.
    pub fix: String,
    /// Whether the fix can be applied without a look.
    pub safety: Safety,
    /// The fix as a unified diff, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// What follows from it and needs no fix of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consequences: Vec<Consequence>,
}

impl Finding {
    /// Whether coverage is, will be or looks wrong through it.
    #[must_use]
    pub fn is_ill(&self) -> bool {
        self.severity > Severity::Info
    }
}

/// Whether a fix can be applied without a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Safety {
    /// It changes nothing but coverage.
    Safe,
    /// It changes what else runs or how: look first.
    Review,
    /// Only a person can do it.
    Manual,
}

/// What follows from a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Consequence {
    /// The rule that would have named it.
    pub rule: String,
    /// What it would have said.
    pub cause: String,
    /// What was observed.
    pub evidence: Vec<Evidence>,
}

/// Something observed.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Evidence {
    /// Where: `Dockerfile:12`, `pod shop/api-7c9 container api`, `coverdata/covmeta.0123`.
    #[serde(rename = "where")]
    pub place: String,
    /// What: the line, the value, the message. Never a secret.
    pub what: String,
    /// When it was observed, in RFC 3339; absent for what lies in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl Evidence {
    /// Something observed in a file.
    pub fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
            at: None,
        }
    }
}

/// A suspect that is innocent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cleared {
    /// The rule, or the name of a suspect that is always innocent (`symbols-stripped`).
    pub rule: String,
    /// What it is about.
    pub subject: String,
    /// Its link.
    pub link: Link,
    /// Why it is innocent, in one sentence.
    pub because: String,
    /// What proves it.
    pub evidence: Vec<Evidence>,
}

/// What could not be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unknown {
    /// The rule.
    pub rule: String,
    /// What it is about.
    pub subject: String,
    /// Its link.
    pub link: Link,
    /// Why, and what would decide it.
    pub because: String,
}
