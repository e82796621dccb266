//! The live flush needs -covermode=atomic.

use crate::rule::Signal;
use crate::rules::logged;
use crate::tree::{at, is_go_build, line, says_cover, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::facts::repository::Instruction;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 13,
    slug: "mode-needs-atomic",
    link: Link::Build,
    severity: Severity::Error,
    files_only: false,
    title: "the live flush needs -covermode=atomic",
    checks: "Lines of logs: `WriteCounters invoked for program built with -covermode=set (please use -covermode=atomic)`.",
    why: "`runtime/coverage` writes or clears counters of a running program only in atomic mode. In any other it returns an error, and a handler that only logs it goes on as if it had written.",
    evidence: &[Signal::Logs, Signal::Repository],
    fix: "Build with `-covermode=atomic`, or let covtap read the counters from outside, in any mode.",
    safety: Safety::Safe,
    references: &["https://pkg.go.dev/runtime/coverage"],
    explains: &["flush-failed"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::NeedsAtomic],
        "the program's own flush is refused: it is not built with -covermode=atomic",
    );
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let packages = &tree.repository.packages;
    let live = packages.iter().flat_map(|p| &p.calls).find(|c| {
        matches!(
            c.name.as_str(),
            "coverage.WriteCounters" | "coverage.WriteCountersDir" | "coverage.ClearCounters"
        )
    });
    let Some(call) = live else { return };
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
    let covers = |s: &&covtap_model::facts::repository::Step| {
        is_go_build(s)
            && says_cover(
                s.environment
                    .iter()
                    .map(|(_, v)| v.as_str())
                    .chain(s.words.iter().map(String::as_str)),
            )
    };
    let builds: Vec<_> = in_images.chain(tree.steps()).filter(covers).collect();
    let atomic = |s: &&&covtap_model::facts::repository::Step| {
        s.says("atomic")
            || s.says("-race")
            || s.environment.iter().any(|(_, v)| v.contains("atomic"))
    };
    let given = tree
        .images
        .iter()
        .any(|i| i.arguments.iter().any(|(_, v)| v.contains("atomic")));
    if let Some(build) = builds.iter().find(atomic) {
        verdicts.clear(
            &RULE,
            tree.subject(build),
            "it is built with -covermode=atomic",
            vec![line(build)],
        );
        return;
    }
    let image = tree.images.iter().find(|i| i.covers()).map(|i| i.step);
    if let (Some(build), false) = (builds.first().copied().or(image), given) {
        let cause = format!(
            "{} needs -covermode=atomic, which the build does not say",
            call.name
        );
        let evidence = vec![at(&call.place, &call.name), line(build)];
        verdicts
            .found(
                &RULE,
                tree.subject(build),
                Confidence::Likely,
                cause,
                evidence,
            )
            .severity(Severity::Error)
            .end();
    }
}
