//! Go's exit hook panics on counters at an odd address.

use crate::rule::Signal;
use crate::rules::{in_data, logged};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 15,
    slug: "odd-counter-start",
    link: Link::Flush,
    severity: Severity::Error,
    files_only: true,
    title: "Go's exit hook panics on counters at an odd address",
    checks: "The log line `fatal error: exit hook invoked panic`; counter files of 0 bytes that were not finished.",
    why: "Go up to 1.26 places the counters right behind the largest variables without pointers. When those have an odd size, the exit hook reads the counters at an odd address and panics: the process ends with 2 and leaves a `tmp.covcounters` of 0 bytes (golang/go issue 58936, fixed in Go 1.27).",
    evidence: &[Signal::Logs, Signal::Data, Signal::Binary],
    fix: "Build with Go 1.27, or read the counters from memory: covtap rounds the address up, as the records lie.",
    safety: Safety::Review,
    references: &["https://github.com/golang/go/issues/58936"],
    explains: &["panicked", "flush-failed"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::ExitHookPanicked],
        "the exit hook that writes the counters panicked: they begin at an odd address",
    );
    of_data(facts, verdicts);
}

/// A counter file of 0 bytes is also what a full disk leaves: a log that says so decides.
fn of_data(facts: &Facts, verdicts: &mut Verdicts) {
    if facts
        .logs
        .iter()
        .any(|log| log.lines.iter().any(|line| line.said == Said::NoSpace))
    {
        return;
    }
    for data in &facts.data {
        let no_room = data.unfinished.iter().any(|file| !file.counters);
        let empty = data
            .unfinished
            .iter()
            .filter(|file| file.counters && file.bytes == 0);
        let evidence: Vec<Evidence> = empty
            .map(|file| in_data(data, &file.file, "0 bytes: the write ended before it began"))
            .collect();
        if no_room {
            continue;
        }
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Possible,
                "the process began to write its counters and failed at once: its exit hook panicked (Go up to 1.26, counters at an odd address), or the disk was full by then",
                evidence,
            )
            .end();
    }
}
