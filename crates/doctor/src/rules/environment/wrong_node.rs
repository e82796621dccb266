//! The pod runs on another node than the one with the mount or the one that is copied from.

use crate::rule::Signal;
use crate::tree::{Service, Tree, at, is_under, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{KindNode, Step, is_open};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 112,
    slug: "wrong-node",
    link: Link::Mount,
    severity: Severity::Error,
    files_only: true,
    title: "the pod runs on another node than the one with the mount or the one that is copied from",
    checks: "Nodes of the Kind configuration with their extraMounts, where pods may run, and the node that files are copied from.",
    why: "A Kind cluster with workers keeps ordinary pods off the control plane. A directory that only one node has, or that is copied from one node only, is empty if the pod runs on another.",
    evidence: &[Signal::Kind, Signal::Specification, Signal::Repository],
    fix: "Mount the directory on every node and copy from every node, or bind the pod to the node with a nodeSelector.",
    safety: Safety::Review,
    references: &["https://kind.sigs.k8s.io/docs/user/configuration/#nodes"],
    explains: &["never-collected"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let [kind] = &tree.repository.kinds[..] else {
        return;
    };
    let workers = kind.nodes.iter().filter(|n| n.role == "worker").count();
    for service in &tree.services {
        let Some((path, volume)) = service.node_path().filter(|(p, _)| !is_open(p)) else {
            continue;
        };
        let selector = &service.workload.node_selector;
        let to_control_plane = selector
            .iter()
            .any(|(k, _)| k.ends_with("/control-plane") || k.ends_with("/master"))
            || service
                .workload
                .node_name
                .as_deref()
                .is_some_and(|n| n.ends_with("control-plane"));
        if service.is_open() && selector.is_empty() {
            continue;
        }
        let other =
            !to_control_plane && (!selector.is_empty() || service.workload.node_name.is_some());
        let may = |role: &str| match (to_control_plane, workers) {
            (true, _) => role == "control-plane",
            (false, 0) => true,
            (false, _) => role == "worker",
        };
        if other {
            continue;
        }
        let has = |n: &&KindNode| n.mounts.iter().any(|m| is_under(path, &m.container));
        let mounted: Vec<&KindNode> = kind.nodes.iter().filter(has).collect();
        let possible: Vec<&KindNode> = kind.nodes.iter().filter(|n| may(&n.role)).collect();
        let host = at(&volume.place, format!("hostPath: {path}"));
        if let Some(first) = mounted.first() {
            let there = possible.iter().filter(|n| has(n)).count();
            let mount = at(&first.place, format!("{}: has the mount", first.role));
            if there == possible.len() {
                verdicts.clear(
                    &RULE,
                    &service.name,
                    "every node that may run the pod has the mount",
                    vec![mount],
                );
            } else if let Some(without) = possible.iter().find(|n| !has(n)) {
                let lacks = at(
                    &without.place,
                    format!("{}: has no extraMount for {path}", without.role),
                );
                let (cause, confidence, severity) = match there {
                    0 => (
                        "the pod runs on a node that does not have the mount",
                        Confidence::Likely,
                        Severity::Error,
                    ),
                    _ => (
                        "not every node that may run the pod has the mount",
                        Confidence::Possible,
                        Severity::Warning,
                    ),
                };
                verdicts
                    .found(
                        &RULE,
                        &service.name,
                        confidence,
                        cause,
                        vec![host, mount, lacks],
                    )
                    .severity(severity)
                    .end();
            }
            continue;
        }
        of_copies(&tree, service, path, &possible, workers, verdicts);
    }
}

/// Nodes that files are copied from, against those that the pod may run on.
fn of_copies(
    tree: &Tree<'_>,
    service: &Service<'_>,
    path: &str,
    possible: &[&KindNode],
    workers: usize,
    verdicts: &mut Verdicts,
) {
    let copies: Vec<&Step> = tree
        .steps()
        .filter(|s| {
            matches!(s.program(), "docker" | "podman")
                && !s.call
                && s.words.iter().any(|w| w.contains(&format!(":{path}")))
        })
        .collect();
    let node = |s: &Step| {
        let word = s.words.iter().find(|w| w.contains(&format!(":{path}")))?;
        let name = word.split(':').next()?;
        [("-control-plane", "control-plane"), ("-worker", "worker")]
            .into_iter()
            .find(|(end, _)| {
                name.trim_end_matches(|c: char| c.is_ascii_digit())
                    .ends_with(end)
            })
            .map(|(_, role)| role)
    };
    let roles: Vec<Option<&str>> = copies.iter().map(|s| node(s)).collect();
    // A name that only the run knows may be each of them.
    if copies.is_empty()
        || roles.contains(&None)
        || roles
            .iter()
            .flatten()
            .any(|r| possible.iter().any(|n| n.role == **r))
    {
        return;
    }
    let place = possible
        .first()
        .map(|n| at(&n.place, format!("{}: where the pod runs", n.role)));
    let cause = match workers {
        0 => "files are copied from a worker, and the cluster has none",
        _ => "files are copied from another node than the one where the pod runs",
    };
    let mut evidence: Vec<_> = copies.iter().map(|s| line(s)).collect();
    evidence.extend(place);
    verdicts
        .found(&RULE, &service.name, Confidence::Likely, cause, evidence)
        .end();
}
