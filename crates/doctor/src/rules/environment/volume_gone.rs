//! The volume goes with the pod before its files are copied.

use crate::rule::Signal;
use crate::tree::{Act, Performed, Service, Tree, at, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{Source, Volume};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 109,
    slug: "volume-gone",
    link: Link::Copy,
    severity: Severity::Error,
    files_only: true,
    title: "the volume goes with the pod before its files are copied",
    checks: "Steps that end the pod or remove its namespace, against steps that copy its coverage, in their order; what the volume is.",
    why: "An emptyDir lives as long as its pod, and a claim as long as its namespace. The counters are written at the end of the process, so that scaling to zero writes and removes them at once.",
    evidence: &[Signal::Specification, Signal::Repository],
    fix: "End the process and keep the pod (`kubectl exec … kill 1`, or a sidecar that holds the volume), or use a claim or a directory of the node; `covtap run` copies before the pod goes.",
    safety: Safety::Review,
    references: &["https://kubernetes.io/docs/concepts/storage/volumes/#emptydir"],
    explains: &["never-collected", "copied-before-exit"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| !t.flushes()) else {
        return;
    };
    for service in tree.services.iter().filter(|s| !s.is_compose()) {
        let Some(volume) = service
            .directory()
            .and_then(|d| service.volume_at(&d.value)?.volume)
        else {
            continue;
        };
        if volume.source == Source::Empty && !is_held(service, volume) {
            of_pod(&tree, service, volume, verdicts);
        } else if matches!(volume.source, Source::Claim(_)) {
            of_namespace(&tree, service, volume, verdicts);
        }
    }
}

/// Whether another container has the volume, so that it can be copied from there.
fn is_held(service: &Service<'_>, volume: &Volume) -> bool {
    let others = service
        .workload
        .containers
        .iter()
        .filter(|c| !std::ptr::eq(*c, service.container));
    others
        .flat_map(|c| &c.mounts)
        .any(|m| m.volume == volume.name)
}

fn of_pod(tree: &Tree<'_>, service: &Service<'_>, volume: &Volume, verdicts: &mut Verdicts) {
    for flow in tree.roots() {
        let acts = tree.performed(flow);
        let ends = |p: &&Performed<'_>| match p.act {
            Act::Stop | Act::StopAndWait => {
                !p.step.runs(&["kubectl", "exec"])
                    && !p.step.runs(&["oc", "exec"])
                    && matches!(p.step.program(), "kubectl" | "oc" | "helm")
            }
            _ => false,
        };
        let Some(stop) = acts.iter().position(|p| ends(&p)) else {
            continue;
        };
        let copy = acts.iter().skip(stop).find(|p| p.act == Act::Copy);
        let before = acts.iter().take(stop).any(|p| p.act == Act::Copy);
        let read = acts.iter().skip(stop).find(|p| p.act == Act::Report);
        let Some(late) = copy.or(read).filter(|_| !before) else {
            continue;
        };
        let cause = format!(
            "the emptyDir {} goes with the pod, which {} ends before {} reads it",
            volume.name, acts[stop].step.place, late.step.place
        );
        let evidence = vec![
            at(&volume.place, format!("{}: emptyDir", volume.name)),
            line(acts[stop].step),
            line(late.step),
        ];
        verdicts
            .found(&RULE, &service.name, Confidence::Likely, cause, evidence)
            .end();
        return;
    }
}

fn of_namespace(tree: &Tree<'_>, service: &Service<'_>, volume: &Volume, verdicts: &mut Verdicts) {
    for flow in tree.roots() {
        let acts = tree.performed(flow);
        let removes = |p: &Performed<'_>| {
            p.step.runs(&["kubectl", "delete"])
                && p.step
                    .words
                    .iter()
                    .any(|w| matches!(w.as_str(), "ns" | "namespace" | "pvc"))
        };
        let Some(gone) = acts.iter().position(removes) else {
            continue;
        };
        let before = acts.iter().take(gone).any(|p| p.act == Act::Copy);
        if let Some(late) = acts
            .iter()
            .skip(gone)
            .find(|p| p.act == Act::Copy)
            .filter(|_| !before)
        {
            let cause = format!(
                "the claim {} is removed before its files are copied",
                volume.name
            );
            let evidence = vec![
                at(&volume.place, &volume.name),
                line(acts[gone].step),
                line(late.step),
            ];
            verdicts
                .found(&RULE, &service.name, Confidence::Certain, cause, evidence)
                .end();
            return;
        }
    }
}
