//! Nothing copies the files of this service or reads them.

use crate::rule::Signal;
use crate::tree::{Act, act, at, concerns_coverage, is_under, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::Step;
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 301,
    slug: "never-collected",
    link: Link::Copy,
    severity: Severity::Error,
    files_only: true,
    title: "nothing copies the files of this service or reads them",
    checks: "Everything that copies, flushes or reads coverage files, against the services that write them.",
    why: "The service writes its files into a volume that nobody looks at, and the volume is removed with the cluster.",
    evidence: &[Signal::Repository],
    fix: "Copy the directory after the service has ended, or let `covtap run` collect it.",
    safety: Safety::Review,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| t.wants_files() && !t.flushes()) else {
        return;
    };
    let collected = tree
        .steps()
        .find(|s| matches!(act(s), Some(Act::Copy | Act::Report)));
    if let Some(step) = collected {
        for service in tree.services.iter().filter(|s| s.directory().is_some()) {
            verdicts.clear(&RULE, &service.name, "its files are read", vec![line(step)]);
        }
        return;
    }
    // A flow that cannot be read may do it, and a step that names such files in a way of its own.
    if tree.repository.flows.is_empty() || tree.steps().any(mentions) {
        return;
    }
    for service in &tree.services {
        let Some(directory) = service.directory() else {
            continue;
        };
        // What the host has needs no copy, and somebody may read it there.
        let host = service.is_compose()
            || service.node_path().is_some_and(|(path, _)| {
                tree.repository
                    .kinds
                    .iter()
                    .flat_map(|k| &k.nodes)
                    .flat_map(|n| &n.mounts)
                    .any(|m| is_under(path, &m.container))
            });
        let (confidence, severity) = match host {
            true => (Confidence::Possible, Severity::Info),
            false => (Confidence::Possible, Severity::Warning),
        };
        let looked = format!(
            "{} flows: none copies or reads coverage files",
            tree.repository.flows.len()
        );
        let evidence = vec![
            at(directory.place, format!("GOCOVERDIR={}", directory.value)),
            Evidence::new(".", looked),
        ];
        verdicts
            .found(
                &RULE,
                &service.name,
                confidence,
                "nothing here copies its coverage files or reads them",
                evidence,
            )
            .severity(severity)
            .end();
    }
}

/// Whether a step has to do with coverage files in a way of its own.
fn mentions(step: &Step) -> bool {
    let prepares = step
        .words
        .iter()
        .any(|w| matches!(w.as_str(), "install" | "mkdir" | "chmod" | "chown" | "rm"));
    !prepares
        && !step.runs(&["go", "test"])
        && !step.runs(&["go", "build"])
        && !step.runs(&["docker", "build"])
        && !matches!(
            step.program(),
            "mkdir" | "rm" | "echo" | "printf" | "chmod" | "chown" | "os.MkdirAll" | "os.Getenv"
        )
        && concerns_coverage(step)
}
