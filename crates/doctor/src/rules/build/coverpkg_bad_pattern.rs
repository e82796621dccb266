//! -coverpkg is split by a blank or a quote.

use crate::rule::Signal;
use crate::tree::{is_go_build, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::Instruction;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 9,
    slug: "coverpkg-bad-pattern",
    link: Link::Build,
    severity: Severity::Error,
    files_only: false,
    title: "-coverpkg is split by a blank or a quote",
    checks: "The value of `-coverpkg` and the word behind it.",
    why: "The list has commas and no blanks. A blank ends it: the rest is taken for packages to build, and what it named is not covered.",
    evidence: &[Signal::Data, Signal::Repository],
    fix: "Write the patterns with commas and no blanks: `-coverpkg=./a/...,./b/...`.",
    safety: Safety::Review,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let in_images = tree
        .repository
        .dockerfiles
        .iter()
        .flat_map(|d| &d.stages)
        .flat_map(|s| &s.instructions)
        .filter_map(|i| match i {
            Instruction::Run(step) => Some(step),
            _ => None,
        });
    for step in in_images.chain(tree.steps()).filter(|s| is_go_build(s)) {
        let Some(patterns) = step.flag(&["-coverpkg", "--coverpkg"]) else {
            continue;
        };
        if patterns.ends_with(',') || patterns.contains([' ', '\'', '"']) {
            let cause =
                format!("-coverpkg={patterns} is not one list: a blank or a quote splits it");
            verdicts
                .found(
                    &RULE,
                    tree.subject(step),
                    Confidence::Certain,
                    cause,
                    vec![line(step)],
                )
                .end();
        }
    }
}
