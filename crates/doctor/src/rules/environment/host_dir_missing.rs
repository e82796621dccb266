//! The source of a mount is not there.

use crate::rule::Signal;
use crate::rules::logged;
use crate::tree::{at, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::facts::repository::is_open;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 114,
    slug: "host-dir-missing",
    link: Link::Mount,
    severity: Severity::Error,
    files_only: true,
    title: "the source of a mount is not there",
    checks: "Messages of container engines: `statfs …: no such file or directory`, `bind source path does not exist`.",
    why: "A mount of a directory that does not exist when the cluster or container is made fails (Podman), or makes an empty directory of root's (Docker).",
    evidence: &[Signal::Kind, Signal::Logs, Signal::Repository],
    fix: "Make the directory before the cluster is created.",
    safety: Safety::Safe,
    references: &["https://kind.sigs.k8s.io/docs/user/configuration/#extra-mounts"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::NoMountSource],
        "the directory that was to be mounted is not there",
    );
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let podman = tree.steps().find(|s| {
        s.program() == "podman"
            || s.environment
                .iter()
                .any(|(n, _)| n == "KIND_EXPERIMENTAL_PROVIDER")
    });
    let Some(podman) = podman.filter(|_| tree.steps().any(|s| s.runs(&["kind", "create"]))) else {
        return;
    };
    let mut told = Vec::new();
    for mount in tree
        .repository
        .kinds
        .iter()
        .flat_map(|k| &k.nodes)
        .flat_map(|n| &n.mounts)
    {
        let coverage = mount.host.contains("cov") || mount.container.contains("cov");
        if !coverage || is_open(&mount.host) || told.contains(&&mount.host) {
            continue;
        }
        told.push(&mount.host);
        match tree.makes(&mount.container) {
            Some(step) => verdicts.clear(
                &RULE,
                &mount.place.file,
                "the directory is made before the cluster",
                vec![line(step)],
            ),
            None => {
                let cause = format!(
                    "nothing makes {} before the cluster is created, and podman mounts no directory that is not there",
                    mount.host
                );
                let evidence = vec![
                    at(
                        &mount.place,
                        format!("extraMounts: hostPath: {}", mount.host),
                    ),
                    line(podman),
                ];
                verdicts
                    .found(
                        &RULE,
                        &mount.place.file,
                        Confidence::Likely,
                        cause,
                        evidence,
                    )
                    .severity(Severity::Error)
                    .end();
            }
        }
    }
}
