//! The image is built again without coverage after it was built with it.

use crate::rule::Signal;
use crate::tree::{ImageBuild, Tree, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{FlowKind, Step};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 4,
    slug: "image-rebuilt-without-coverage",
    link: Link::Image,
    severity: Severity::Error,
    files_only: false,
    title: "the image is built again without coverage after it was built with it",
    checks: "All commands that build the same image, in the order in which a target, script, job or suite runs them.",
    why: "The later build takes the tag: the tests run a program without counters, while the log of the first build says that everything is right.",
    evidence: &[Signal::Specification, Signal::Repository],
    fix: "Give the flag to every build of that image which the coverage run passes, or let the suite use the image that is there.",
    safety: Safety::Review,
    references: &["https://docs.docker.com/reference/cli/docker/buildx/build/#tag"],
    explains: &[
        "env-missing",
        "never-collected",
        "copied-before-exit",
        "no-volume",
    ],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let covered: Vec<&ImageBuild<'_>> = tree.images.iter().filter(|i| i.covers()).collect();
    if covered.is_empty() {
        return;
    }
    let same = |a: &ImageBuild<'_>, b: &ImageBuild<'_>| match (a.dockerfile, b.dockerfile) {
        (Some(a), Some(b)) => std::ptr::eq(a, b),
        _ => a.tags.iter().any(|t| b.tags.contains(t)),
    };
    let mut told: Vec<&Step> = Vec::new();
    // One flow builds it twice.
    for flow in &tree.repository.flows {
        let steps = tree.expanded(flow);
        let at = |image: &ImageBuild<'_>| steps.iter().rposition(|s| std::ptr::eq(*s, image.step));
        for first in &covered {
            let Some(before) = at(first) else { continue };
            let plain = tree
                .images
                .iter()
                .filter(|i| i.is_plain() && same(first, i));
            for second in plain.filter(|i| at(i).is_some_and(|n| n > before)) {
                if told.iter().any(|t| std::ptr::eq(*t, second.step))
                    || second.step.condition.is_some()
                {
                    continue;
                }
                told.push(second.step);
                found(&tree, first, second, verdicts);
            }
        }
    }
    // A suite builds it, after whoever starts the suite has.
    let of_suite = |i: &&ImageBuild<'_>| {
        matches!(
            i.flow.kind,
            FlowKind::Go | FlowKind::GoTest | FlowKind::Python
        )
    };
    for second in tree
        .images
        .iter()
        .filter(|i| i.is_plain() && i.step.condition.is_none())
        .filter(of_suite)
    {
        let own = covered.iter().any(|i| of_suite(i) && same(i, second));
        let before = covered.iter().find(|i| !of_suite(i) && same(i, second));
        if let (Some(first), false) = (
            before,
            own || told.iter().any(|t| std::ptr::eq(*t, second.step)),
        ) {
            told.push(second.step);
            found(&tree, first, second, verdicts);
        }
    }
}

fn found(
    tree: &Tree<'_>,
    first: &ImageBuild<'_>,
    second: &ImageBuild<'_>,
    verdicts: &mut Verdicts,
) {
    let service = tree
        .services
        .iter()
        .find(|s| match (s.dockerfile, second.dockerfile) {
            (Some(a), Some(b)) => std::ptr::eq(a, b),
            _ => false,
        });
    let subject = service.map_or_else(|| second.step.place.file.clone(), |s| s.name.clone());
    let cause = format!(
        "{} builds the image again without coverage, after {} has built it with coverage",
        second.step.place, first.step.place
    );
    verdicts
        .found(
            &RULE,
            subject,
            Confidence::Likely,
            cause,
            vec![line(first.step), line(second.step)],
        )
        .end();
}
