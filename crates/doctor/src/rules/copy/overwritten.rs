//! Replicas wrote files of the same name.

use crate::rule::Signal;
use crate::rules::{SHOWN, in_data};
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 309,
    slug: "overwritten",
    link: Link::Copy,
    severity: Severity::Error,
    files_only: true,
    title: "replicas wrote files of the same name",
    checks: "Counter files of one name and differing contents in the directories of several replicas.",
    why: "The name of a counter file is the build, the process id and the time. In containers the id is 1 for all, so that two replicas that end at one moment, or tools that name files otherwise, can have the same: copied into one directory only the last remains.",
    evidence: &[Signal::Data],
    fix: "Keep a directory for each replica and name all of them to the tool, or let covtap collect: its names hold the machine's own process number.",
    safety: Safety::Safe,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let pairs = data.same_name.iter().take(SHOWN);
        let evidence: Vec<Evidence> = pairs
            .map(|(one, other)| {
                in_data(
                    data,
                    other,
                    format!("the name of {one}, and other contents"),
                )
            })
            .collect();
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Certain,
                "replicas wrote counter files of the same name: in one directory only the last of them remains",
                evidence,
            )
            .end();
    }
}
