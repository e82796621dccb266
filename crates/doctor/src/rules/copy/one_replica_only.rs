//! Files of one replica are copied, and the workload has several.

use crate::rule::Signal;
use crate::tree::{Act, act, at, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::Step;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 306,
    slug: "one-replica-only",
    link: Link::Copy,
    severity: Severity::Warning,
    files_only: true,
    title: "files of one replica are copied, and the workload has several",
    checks: "The replicas of the workload against copies of `items[0]`, `head -1` or `deployment/NAME`.",
    why: "Each replica has counters of its own. What the others executed is missing in the report.",
    evidence: &[Signal::Specification, Signal::Data, Signal::Repository],
    fix: "Copy from every pod of the selector, or run one replica while coverage is measured.",
    safety: Safety::Review,
    references: &["https://kubernetes.io/docs/reference/kubectl/generated/kubectl_cp/"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| t.wants_files()) else {
        return;
    };
    for service in &tree.services {
        let Some(replicas) = service.workload.replicas.filter(|n| *n > 1) else {
            continue;
        };
        if service.node_path().is_some() {
            continue;
        }
        for flow in tree.roots() {
            let steps = tree.expanded(flow);
            let Some(copy) = steps
                .iter()
                .position(|s| act(s) == Some(Act::Copy) && tree.subject(s) == service.name)
            else {
                continue;
            };
            let one = |s: &&&Step| {
                let selects = s.says("items[0]")
                    || (s.runs(&["kubectl", "get"])
                        && s.output.as_deref().is_some_and(|o| {
                            o.contains("head -1")
                                || o.contains("head -n 1")
                                || o.contains("head -n1")
                        }));
                selects
                    || s.words
                        .iter()
                        .any(|w| w.starts_with("deployment/") || w.starts_with("deploy/"))
                        && act(s) == Some(Act::Copy)
            };
            let Some(chosen) = steps[..=copy].iter().rev().find(one) else {
                continue;
            };
            let cause = format!("files are copied from one of {replicas} replicas");
            let mut evidence = vec![
                at(&service.workload.place, format!("replicas: {replicas}")),
                line(chosen),
            ];
            if !std::ptr::eq(*chosen, steps[copy]) {
                evidence.push(line(steps[copy]));
            }
            verdicts
                .found(&RULE, &service.name, Confidence::Likely, cause, evidence)
                .end();
            break;
        }
    }
}
