//! The process was killed for its memory.

use crate::rule::Signal;
use crate::rules::logged;
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 204,
    slug: "oom-killed",
    link: Link::Shutdown,
    severity: Severity::Error,
    files_only: true,
    title: "the process was killed for its memory",
    checks: "The reason OOMKilled of a container, the kernel's `Out of memory: Killed process`.",
    why: "A killed process writes no counters. Instrumented programs need a little more memory than others.",
    evidence: &[Signal::Specification, Signal::Logs, Signal::Events],
    fix: "Raise the memory limit for the test, or let covtap read the counters while the service runs.",
    safety: Safety::Review,
    references: &[
        "https://kubernetes.io/docs/tasks/configure-pod-container/assign-memory-resource/",
    ],
    explains: &["killed", "copied-before-exit", "restarted"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::OutOfMemory],
        "the process was killed for its memory and wrote no counters",
    );
}
