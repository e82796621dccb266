//! The node's directory is not the host's, and nothing copies it out.

use crate::rule::Signal;
use crate::tree::{Act, act, at, is_under, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{Source, is_open};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 111,
    slug: "hostpath-not-mounted",
    link: Link::Mount,
    severity: Severity::Error,
    files_only: true,
    title: "the node's directory is not the host's, and nothing copies it out",
    checks: "A hostPath volume against the extraMounts of the Kind configuration and against commands that copy from the nodes.",
    why: "A Kind node is a container: its directories are not the host's unless an extraMount says so.",
    evidence: &[Signal::Kind, Signal::Repository],
    fix: "Add the directory to extraMounts of every node, or copy it out of the nodes with `docker cp`.",
    safety: Safety::Review,
    references: &["https://kind.sigs.k8s.io/docs/user/configuration/#extra-mounts"],
    explains: &["never-collected"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let created = tree
        .steps()
        .find(|s| s.runs(&["kind", "create", "cluster"]));
    let read = tree.steps().find(|s| matches!(act(s), Some(Act::Report)));
    for service in &tree.services {
        let Some((path, volume)) = service.node_path().filter(|(p, _)| !is_open(p)) else {
            continue;
        };
        let kinds = &tree.repository.kinds;
        let mounts: Vec<_> = kinds
            .iter()
            .flat_map(|k| &k.nodes)
            .flat_map(|n| &n.mounts)
            .collect();
        let plain = created.filter(|s| kinds.is_empty() && s.flag(&["--config"]).is_none());
        if mounts.iter().any(|m| is_under(path, &m.container)) || tree.copies_from_node(path) {
            continue;
        }
        // Something is mounted that was meant for it: another rule says so.
        if mounts
            .iter()
            .any(|m| m.container.contains("cov") || m.host.contains("cov"))
        {
            continue;
        }
        // A pod that mounts the same path can be copied from.
        let helper = tree.repository.workloads.iter().any(|w| {
            !std::ptr::eq(w, service.workload)
                && w.volumes
                    .iter()
                    .any(|v| matches!(&v.source, Source::Host { path: p, .. } if p == path))
        });
        let evidence = match (kinds.first(), plain, read) {
            (Some(kind), _, Some(read)) => {
                Some((at(&kind.place, format!("no extraMount for {path}")), read))
            }
            (None, Some(step), Some(read)) => Some((line(step), read)),
            _ => None,
        };
        if let (Some((node, read)), false) = (evidence, helper || tree.copies_from_pods()) {
            let cause = format!(
                "{path} is a directory of the Kind node, which no extraMount brings to the host and nothing copies out"
            );
            let evidence = vec![
                at(&volume.place, format!("hostPath: {path}")),
                node,
                line(read),
            ];
            verdicts
                .found(&RULE, &service.name, Confidence::Likely, cause, evidence)
                .end();
        }
    }
}
