//! One process wrote its counts several times.

use crate::rule::Signal;
use crate::rules::{SHOWN, in_data};
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 213,
    slug: "double-flush",
    link: Link::Data,
    severity: Severity::Warning,
    files_only: true,
    title: "one process wrote its counts several times",
    checks: "Counter files of one process id and build of which each holds all counts of the one before.",
    why: "A flush that does not clear the counters writes all of them again, and so does the exit. Merging adds them up: counts multiply, percentages stay.",
    evidence: &[Signal::Data, Signal::Repository],
    fix: "Clear the counters after each flush (`coverage.ClearCounters`), or keep the last file of each process only, as covtap does.",
    safety: Safety::Safe,
    references: &["https://pkg.go.dev/runtime/coverage"],
    explains: &[],
    check,
};

/// In containers every process is number 1: two files of such are as likely of two replicas. Three in a row
/// that grow, or two of another number, are of one process.
fn check(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let grown = data.counters.iter().filter(|file| {
            let chain = |file: &str| {
                let earlier = data.counters.iter().find(|other| other.file == file);
                earlier.is_some_and(|earlier| earlier.grew_from.is_some())
            };
            match &file.grew_from {
                Some(earlier) => file.pid != 1 || chain(earlier),
                None => false,
            }
        });
        let evidence: Vec<Evidence> = grown
            .filter_map(|file| {
                let earlier = file.grew_from.as_ref()?;
                Some(in_data(
                    data,
                    &file.file,
                    format!("holds every count of {earlier}, and more"),
                ))
            })
            .take(SHOWN)
            .collect();
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Likely,
                "a process flushed its counters without clearing them: merging adds the same counts up again",
                evidence,
            )
            .end();
    }
}
