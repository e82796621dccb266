//! The disk of the coverage directory is full.

use crate::rule::Signal;
use crate::rules::{in_data, logged};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 119,
    slug: "no-space",
    link: Link::Flush,
    severity: Severity::Error,
    files_only: true,
    title: "the disk of the coverage directory is full",
    checks: "`no space left on device` in the log, evictions, files that were not finished.",
    why: "What the runtime begins and cannot finish stays as `tmp.cov…` of 0 or a few bytes, which no tool reads.",
    evidence: &[Signal::Logs, Signal::Events, Signal::Data],
    fix: "Give the volume more room (`sizeLimit` of an emptyDir), or clean the directory before the run.",
    safety: Safety::Review,
    references: &["https://github.com/golang/go/blob/master/src/internal/coverage/cfile/emit.go"],
    explains: &["flush-failed", "truncated-file"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::NoSpace],
        "there was no room to write the coverage files",
    );
    of_data(facts, verdicts);
}

/// Meta-data are small and written at the start: when not even these could be written, the disk was full.
fn of_data(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let empty = data
            .unfinished
            .iter()
            .filter(|file| !file.counters && file.bytes == 0);
        let evidence: Vec<Evidence> = empty
            .map(|file| {
                in_data(
                    data,
                    &file.file,
                    "0 bytes: begun at the start, nothing could be written",
                )
            })
            .collect();
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Likely,
                "the process could make files and not fill them: the disk was full",
                evidence,
            )
            .end();
    }
}
