//! A file that was cut short.

use crate::rule::Signal;
use crate::rules::{damaged, said};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::data::DamageKind;
use covtap_model::facts::log::Said;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 405,
    slug: "truncated-file",
    link: Link::Data,
    severity: Severity::Error,
    files_only: true,
    title: "a file that was cut short",
    checks: "The length that a file's header states, and the footer that a whole counter file has.",
    why: "Copies that were interrupted and full disks leave files that end too early. Go's tool ends there, with everything else unread.",
    evidence: &[Signal::Data, Signal::Logs],
    fix: "Copy the file again after the process has ended; or let covtap merge: it uses what stands before the cut.",
    safety: Safety::Safe,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[
        "bad-record",
        "copied-before-exit",
        "meta-only-reads-as-zero",
    ],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let cause = "files were cut short: other tools stop there and give nothing";
    damaged(&RULE, facts, verdicts, &[DamageKind::CutShort], cause);
    of_logs(facts, verdicts);
}

fn of_logs(facts: &Facts, verdicts: &mut Verdicts) {
    for (log, evidence) in said(facts, &[Said::Damaged]) {
        verdicts
            .found(
                &RULE,
                &log.subject,
                Confidence::Likely,
                "covdata stopped at a file that is not whole",
                evidence,
            )
            .end();
    }
}
