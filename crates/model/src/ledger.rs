//! The ledger: for every target that was expected, what came of it, or the reason why nothing did.
//!
//! A *target* is one process life. The ledger answers "is this all?", which no percentage can.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::problem::Problem;

/// The value of `schema` in ledgers that this version writes.
pub const SCHEMA: &str = "covtap.ledger/1";

/// What was expected and what came. Stored as `ledger.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// `covtap.ledger/1`.
    pub schema: String,
    /// How processes were found: `poll 10 ms` and the like.
    pub watching: String,
    /// One row a target, in order of their start.
    pub targets: Vec<Target>,
    /// Coverage files that belong to no target, damaged ones and so on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// One process life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// What a person calls it: `deployment/api` in a cluster, elsewhere the name of the executable.
    pub workload: String,
    /// The container that it ran in; absent for a process of the command itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Process id on this machine; absent for a life that is known from its files alone and whose
    /// files do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How many programs the process ran before this one (exec).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u32,
    /// Path of the executable, when it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// When it was first seen, in UTC (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<String>,
    /// When its end was seen, in UTC (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// How it ended, when that is known: `exit 0`, `signal 9`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<String>,
    /// Whether it carries coverage, and how that is known.
    pub instrumented: Instrumented,
    /// Why it is expected to give data; absent when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Meta-data hash of its build, in hexadecimal, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Coverage files it wrote, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// How the state that the report holds was got; absent when it holds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// What came of it.
    pub outcome: Outcome,
}

/// The container of a target. What is not known is absent: a pod that no cluster told of has its uid
/// only, as the control group of its processes says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Container {
    /// The cluster, by the name of its context: `kind-dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The node that it ran on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The namespace of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The uid of its pod; of a static pod the hash of its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The name of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id that its engine gave it: 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The image as it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The image as the engine resolved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How the state of a target was got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    /// The way it came.
    pub route: Route,
    /// How the counters were found in the process's memory: `symbols`, `sections`, `memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// When they were found, in UTC (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<String>,
    /// How often they were read.
    #[serde(default, skip_serializing_if = "is_none_read")]
    pub snapshots: u64,
    /// Its counter file in `raw/<build>/`, when it was made from memory: of this target alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What else is to be said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

fn is_none_read(number: &u64) -> bool {
    *number == 0
}

/// The way data came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// Out of the memory of the running process.
    Tap,
    /// Out of the memory of the process in its exit stop: its last state.
    Exit,
    /// From the files that it wrote.
    Files,
}

impl Route {
    /// The word for it, as in the ledger.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tap => "tap",
            Self::Exit => "exit",
            Self::Files => "files",
        }
    }
}

/// Whether a process carries coverage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum Instrumented {
    /// It does; `evidence` is what shows it.
    Yes {
        /// For example `pclntab name runtime.addCovMeta`, `wrote covmeta`.
        evidence: String,
    },
    /// It does not; `evidence` is what shows it.
    No {
        /// For example `Go 1.26.8 binary without runtime.addCovMeta`.
        evidence: String,
    },
    /// It could not be told.
    Unknown {
        /// Why.
        because: String,
    },
}

/// What came of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum Outcome {
    /// Its last state was captured and is in the report.
    Merged,
    /// It is a row and nothing more: a test binary, a tool built by the command, a process that is
    /// not expected to give data.
    Listed {
        /// Why it is not merged.
        because: String,
    },
    /// Expected, and no data came.
    Missing {
        /// What shows it and what it means.
        because: String,
    },
    /// Data came, but not (or not certainly) its last state.
    Partial {
        /// What is missing.
        because: String,
    },
    /// It still ran when the run ended.
    Running {
        /// What that means for its data.
        because: String,
    },
}

impl Target {
    /// Whether this row makes a run incomplete: it was expected, and its last state is not in.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        self.expected.is_some()
            && matches!(
                self.outcome,
                Outcome::Missing { .. } | Outcome::Partial { .. } | Outcome::Running { .. }
            )
    }

    /// Whether any data of it are in the report.
    #[must_use]
    pub fn gave_data(&self) -> bool {
        match self.outcome {
            Outcome::Merged | Outcome::Partial { .. } => true,
            Outcome::Running { .. } => !self.files.is_empty(),
            Outcome::Listed { .. } | Outcome::Missing { .. } => false,
        }
    }
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(watching: impl Into<String>) -> Self {
        Self {
            schema: SCHEMA.into(),
            watching: watching.into(),
            targets: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// What the ledger says as an exit code: 3 when nothing came, 4 when something expected is
    /// missing or data had to be left out, else 0.
    #[must_use]
    pub fn verdict(&self) -> Exit {
        let lost = self
            .problems
            .iter()
            .any(|p| p.severity == crate::problem::Severity::Error);
        if !self.targets.iter().any(Target::gave_data) {
            Exit::Nothing
        } else if lost || self.targets.iter().any(Target::is_gap) {
            Exit::Incomplete
        } else {
            Exit::Success
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Severity;

    fn target(expected: bool, outcome: Outcome) -> Target {
        Target {
            workload: "svc".into(),
            container: None,
            pid: Some(7),
            generation: 0,
            executable: None,
            first_seen: None,
            ended: None,
            exit_status: None,
            instrumented: Instrumented::Unknown {
                because: "test".into(),
            },
            expected: expected.then(|| "instrumented".into()),
            build: None,
            files: Vec::new(),
            state: None,
            outcome,
        }
    }

    fn why() -> String {
        "because".into()
    }

    fn verdict(targets: Vec<Target>) -> Exit {
        Ledger {
            targets,
            ..Ledger::new("poll")
        }
        .verdict()
    }

    #[test]
    fn nothing_is_three() {
        assert_eq!(verdict(vec![]), Exit::Nothing);
        assert_eq!(
            verdict(vec![target(true, Outcome::Missing { because: why() })]),
            Exit::Nothing
        );
        assert_eq!(
            verdict(vec![target(false, Outcome::Listed { because: why() })]),
            Exit::Nothing
        );
    }

    #[test]
    fn a_missing_expected_target_is_four() {
        let merged = || target(true, Outcome::Merged);
        assert_eq!(verdict(vec![merged()]), Exit::Success);
        for gap in [
            Outcome::Missing { because: why() },
            Outcome::Partial { because: why() },
            Outcome::Running { because: why() },
        ] {
            assert_eq!(
                verdict(vec![merged(), target(true, gap.clone())]),
                Exit::Incomplete
            );
            assert_eq!(verdict(vec![merged(), target(false, gap)]), Exit::Success);
        }
        let listed = target(true, Outcome::Listed { because: why() });
        assert_eq!(verdict(vec![merged(), listed]), Exit::Success);
    }

    #[test]
    fn lost_data_are_four() {
        let mut ledger = Ledger::new("poll");
        ledger.targets.push(target(true, Outcome::Merged));
        ledger
            .problems
            .push(Problem::new(Severity::Warning, "f", "a", "b", "c"));
        assert_eq!(ledger.verdict(), Exit::Success);
        ledger
            .problems
            .push(Problem::new(Severity::Error, "f", "a", "b", "c"));
        assert_eq!(ledger.verdict(), Exit::Incomplete);
    }

    #[test]
    fn a_running_target_gave_data_when_it_has_files() {
        let mut t = target(true, Outcome::Running { because: why() });
        assert!(!t.gave_data());
        t.files.push("covcounters.x".into());
        assert!(t.gave_data());
    }
}
