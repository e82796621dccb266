//! Writing the coverage files failed.

use crate::rule::Signal;
use crate::rules::{SHOWN, in_data, logged};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 215,
    slug: "flush-failed",
    link: Link::Flush,
    severity: Severity::Error,
    files_only: true,
    title: "writing the coverage files failed",
    checks: "Files that a runtime began and did not finish (`tmp.cov…`), and its messages `… emit failed`.",
    why: "A runtime writes to a temporary file and renames it. One that is left behind is of a process that could not write, or died while it did.",
    evidence: &[Signal::Data, Signal::Logs],
    fix: "Look for `emit failed` in the service's log; read the counters from memory meanwhile (`covtap run`).",
    safety: Safety::Manual,
    references: &["https://github.com/golang/go/blob/master/src/internal/coverage/cfile/emit.go"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_data(facts, verdicts);
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::WriteFailed],
        "the runtime could not write its coverage files",
    );
}

/// What is left empty has rules of its own.
fn of_data(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let begun = data.unfinished.iter().filter(|file| file.bytes > 0);
        let evidence: Vec<Evidence> = begun
            .take(SHOWN)
            .map(|file| {
                in_data(
                    data,
                    &file.file,
                    format!("{} bytes, never finished", file.bytes),
                )
            })
            .collect();
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Likely,
                "a process died, or was stopped from writing, while it wrote its coverage files",
                evidence,
            )
            .end();
    }
}
