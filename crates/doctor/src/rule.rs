//! What a rule says of itself: the text of `covtap explain` and of `docs/rules`.

use covtap_model::finding::{Link, Safety, Severity};

use crate::{Facts, Verdicts};

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its number, for ever: shown as `CT001`.
    pub number: u16,
    /// Its name, for ever: `not-instrumented`.
    pub slug: &'static str,
    /// The link of the chain that it looks at.
    pub link: Link,
    /// What it costs when it fires, on a route that has this link.
    pub severity: Severity,
    /// Whether only the files route needs this link: on the other its findings are infos.
    pub files_only: bool,
    /// The cause in a few words.
    pub title: &'static str,
    /// What it looks at, and what makes it fire.
    pub checks: &'static str,
    /// What happens then, and why.
    pub why: &'static str,
    /// What it has to see to fire.
    pub evidence: &'static [Signal],
    /// What to do.
    pub fix: &'static str,
    /// Whether the fix can be applied without a look.
    pub safety: Safety,
    /// Where more is to be read: upstream documents and issues.
    pub references: &'static [&'static str],
    /// Slugs of rules whose findings on the same subject follow from this one.
    pub explains: &'static [&'static str],
    /// Looks.
    pub check: fn(&Facts, &mut Verdicts),
}

impl Rule {
    /// `CT001`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("CT{:03}", self.number)
    }
}

/// Where something is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// Logs of pods and processes, current and previous.
    Logs,
    /// Specification and status of workloads.
    Specification,
    /// Events of the API.
    Events,
    /// The binary, in an image or of a process.
    Binary,
    /// Collected files.
    Data,
    /// A node: mounts, owners, processes.
    Node,
    /// The Kind configuration and the nodes' containers.
    Kind,
    /// Files of the repository.
    Repository,
}
