//! The build and the collection are switched by different variables, and only one is set.

use crate::rule::Signal;
use crate::tree::{Act, act, at, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::Step;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 104,
    slug: "env-two-switches",
    link: Link::Environment,
    severity: Severity::Warning,
    files_only: false,
    title: "the build and the collection are switched by different variables, and only one is set",
    checks: "The conditions under which images are built with coverage and under which files are collected, against what targets and jobs set.",
    why: "A run that sets one of two switches builds with coverage and collects nothing, or collects from a program that counts nothing.",
    evidence: &[Signal::Repository],
    fix: "Let one variable switch both, or set both wherever one is set.",
    safety: Safety::Review,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let builds: Vec<(String, &Step)> = tree
        .images
        .iter()
        .filter(|i| i.covers())
        .filter_map(|i| Some((switch(i.step)?, i.step)))
        .collect();
    let collects: Vec<(String, &Step)> = tree
        .steps()
        .filter(|s| matches!(act(s), Some(Act::Copy | Act::Report)))
        .filter_map(|s| Some((switch(s)?, s)))
        .collect();
    for (build, first) in &builds {
        if collects.is_empty() || collects.iter().any(|(c, _)| c == build) {
            continue;
        }
        let (collect, second) = &collects[0];
        for flow in &tree.repository.flows {
            let sets = |name: &str| {
                let of_flow = flow
                    .environment
                    .iter()
                    .find(|v| v.name == name)
                    .map(|v| at(&v.place, format!("sets {name}")));
                let of_step = || {
                    flow.steps
                        .iter()
                        .find(|s| s.environment.iter().any(|(n, _)| n == name))
                        .map(line)
                };
                of_flow.or_else(of_step)
            };
            let (set, missing) = match (sets(build), sets(collect)) {
                (Some(set), None) => (set, collect),
                (None, Some(set)) => (set, build),
                _ => continue,
            };
            let cause = format!(
                "{build} switches the build and {collect} the collection: {} does not set {missing}",
                flow.name
            );
            verdicts
                .found(
                    &RULE,
                    tree.subject(first),
                    Confidence::Likely,
                    cause,
                    vec![set, line(first), line(second)],
                )
                .end();
            break;
        }
    }
}

/// The variable that a condition asks for.
fn switch(step: &Step) -> Option<String> {
    let condition = step.condition.as_deref()?;
    let mut names =
        condition.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    names
        .find(|n| n.len() > 3 && n.contains("COV"))
        .map(str::to_owned)
}
