//! A file changed while it was copied.

use crate::rule::Signal;
use crate::rules::logged;
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 304,
    slug: "changed-while-read",
    link: Link::Copy,
    severity: Severity::Warning,
    files_only: true,
    title: "a file changed while it was copied",
    checks: "tar's lines `file changed as we read it`, `File shrank`.",
    why: "Files that are still written are copied half. Go renames when a file is whole; other runtimes, and tar over a directory that is written to, do not wait.",
    evidence: &[Signal::Logs, Signal::Data],
    fix: "Copy after the processes have ended.",
    safety: Safety::Manual,
    references: &[],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::FileChanged],
        "files changed while they were copied: the copy is not one moment's",
    );
}
