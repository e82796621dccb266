//! The links from the variable to the host do not fit each other.

use crate::rule::Signal;
use crate::tree::{Service, Tree, at, is_under, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{Source, is_open};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 110,
    slug: "mount-chain-broken",
    link: Link::Mount,
    severity: Severity::Error,
    files_only: true,
    title: "the links from the variable to the host do not fit each other",
    checks: "GOCOVERDIR → mountPath → volume → hostPath → the Kind node's extraMounts: all links, and the first that does not fit.",
    why: "Each link is written in another file, and a wrong one is no error anywhere: the files land in a directory that nobody looks at.",
    evidence: &[Signal::Kind, Signal::Specification, Signal::Repository],
    fix: "Let the four paths agree: the evidence has them in order.",
    safety: Safety::Review,
    references: &["https://kind.sigs.k8s.io/docs/user/configuration/#extra-mounts"],
    explains: &[
        "never-collected",
        "dir-not-writable",
        "hostpath-not-mounted",
        "no-volume",
        "dir-missing",
    ],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    for service in tree.services.iter().filter(|s| !s.is_compose()) {
        let Some(directory) = service
            .directory()
            .filter(|d| !is_open(&d.value) && !d.value.is_empty())
        else {
            continue;
        };
        let variable = at(directory.place, format!("GOCOVERDIR={}", directory.value));
        let Some(behind) = service.volume_at(&directory.value) else {
            let meant = service
                .container
                .mounts
                .iter()
                .find(|m| m.path.contains("cov") || m.volume.contains("cov"));
            if let Some(mount) = meant.filter(|_| {
                !service.workload.open
                    || service.workload.kind.is_empty()
                    || !is_open(&directory.value)
            }) {
                let cause = format!(
                    "GOCOVERDIR is {}, and the volume is mounted at {}",
                    directory.value, mount.path
                );
                let evidence = vec![
                    variable,
                    at(
                        &mount.place,
                        format!("{} at mountPath: {}", mount.volume, mount.path),
                    ),
                ];
                verdicts
                    .found(&RULE, &service.name, Confidence::Certain, cause, evidence)
                    .end();
            }
            continue;
        };
        let mounted = at(
            &behind.mount.place,
            format!(
                "{} at mountPath: {}",
                behind.mount.volume, behind.mount.path
            ),
        );
        let Some(volume) = behind.volume else {
            if !service.is_open() && !is_open(&behind.mount.volume) {
                let names: Vec<&str> = service.volumes().map(|v| v.name.as_str()).collect();
                let cause = format!(
                    "the mount names volume {}, which the pod does not have (it has: {})",
                    behind.mount.volume,
                    names.join(", ")
                );
                verdicts
                    .found(
                        &RULE,
                        &service.name,
                        Confidence::Certain,
                        cause,
                        vec![variable, mounted],
                    )
                    .end();
            }
            continue;
        };
        let Source::Host { path, .. } = &volume.source else {
            let what = match &volume.source {
                Source::Empty => "emptyDir".to_owned(),
                Source::Claim(name) => format!("claim {name}"),
                Source::Other(kind) => kind.clone(),
                Source::Host { path, .. } => path.clone(),
            };
            let because = "the variable, the mount and the volume fit";
            verdicts.clear(
                &RULE,
                &service.name,
                because,
                vec![variable, mounted, at(&volume.place, what)],
            );
            continue;
        };
        let host = at(&volume.place, format!("hostPath: {path}"));
        of_node(
            &tree,
            service,
            path,
            vec![variable, mounted, host],
            verdicts,
        );
    }
}

fn of_node(
    tree: &Tree<'_>,
    service: &Service<'_>,
    path: &str,
    mut evidence: Vec<Evidence>,
    verdicts: &mut Verdicts,
) {
    if is_open(path) || tree.repository.kinds.is_empty() {
        return;
    }
    let mounts = || {
        tree.repository
            .kinds
            .iter()
            .flat_map(|k| &k.nodes)
            .flat_map(|n| &n.mounts)
    };
    if let Some(mount) = mounts().find(|m| is_under(path, &m.container)) {
        evidence.push(at(
            &mount.place,
            format!(
                "extraMounts: {} at containerPath: {}",
                mount.host, mount.container
            ),
        ));
        verdicts.clear(
            &RULE,
            &service.name,
            "all four links fit: the variable, the mount, the node's directory, the host's",
            evidence,
        );
        return;
    }
    // A mount that another workload uses is that one's.
    let taken = |at: &str| {
        let volumes = tree.repository.workloads.iter().flat_map(|w| &w.volumes);
        volumes
            .into_iter()
            .any(|v| matches!(&v.source, Source::Host { path, .. } if is_under(path, at)))
    };
    let meant = mounts()
        .find(|m| (m.container.contains("cov") || m.host.contains("cov")) && !taken(&m.container));
    if let Some(mount) = meant.filter(|_| !tree.copies_from_node(path)) {
        let cause = format!(
            "the pod writes to {path} of its node, and the host's directory is at {} there",
            mount.container
        );
        evidence.push(at(
            &mount.place,
            format!(
                "extraMounts: {} at containerPath: {}",
                mount.host, mount.container
            ),
        ));
        verdicts
            .found(&RULE, &service.name, Confidence::Certain, cause, evidence)
            .end();
    }
}
