//! A shared library never writes its counters.

use crate::rule::Signal;
use crate::tree::{is_go_build, line, says_cover, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::Instruction;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 14,
    slug: "c-shared",
    link: Link::Flush,
    severity: Severity::Error,
    files_only: true,
    title: "a shared library never writes its counters",
    checks: "The build mode: `-buildmode=c-shared` beside `-cover`.",
    why: "The files are written when main returns or calls os.Exit. A library has neither: it writes nothing. Its memory can be read.",
    evidence: &[Signal::Binary, Signal::Repository],
    fix: "Call `coverage.WriteCountersDir` from an exported function, or let covtap read the memory.",
    safety: Safety::Review,
    references: &["https://github.com/golang/go/issues/64371"],
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
        let flags = step.environment.iter().map(|(_, v)| v.as_str());
        let covers = says_cover(flags.chain(step.words.iter().map(String::as_str)));
        if covers && step.flag(&["-buildmode", "--buildmode"]) == Some("c-shared") {
            let cause = "a library of -buildmode=c-shared counts, and never writes its counters";
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
