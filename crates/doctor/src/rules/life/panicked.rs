//! The program panicked.

use crate::rule::Signal;
use crate::rules::logged;
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 205,
    slug: "panicked",
    link: Link::Shutdown,
    severity: Severity::Error,
    files_only: true,
    title: "the program panicked",
    checks: "Exit code 2, and `panic: …` or `fatal error: …` in the log.",
    why: "A panic ends a Go program without its exit hook: it leaves meta-data and no counters.",
    evidence: &[Signal::Logs, Signal::Specification],
    fix: "Mend the panic; until then covtap reads the counters at the moment of the end.",
    safety: Safety::Manual,
    references: &["https://go.dev/doc/build-cover"],
    explains: &["copied-before-exit", "restarted"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::Panicked],
        "the program panicked: it ended without writing its counters",
    );
}
