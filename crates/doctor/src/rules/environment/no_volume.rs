//! The directory is in the container itself and is gone with it.

use crate::rule::Signal;
use crate::tree::{Act, Service, act, at, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{Mount, is_open};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 108,
    slug: "no-volume",
    link: Link::Mount,
    severity: Severity::Error,
    files_only: true,
    title: "the directory is in the container itself and is gone with it",
    checks: "GOCOVERDIR against the mounts of the container, and what copies files while the container is there.",
    why: "The counters are written when the process ends. What it writes into the container itself is removed together with the container.",
    evidence: &[Signal::Specification, Signal::Repository],
    fix: "Mount a volume where GOCOVERDIR points to: an emptyDir that is copied before the pod goes, a claim, or a directory of the node.",
    safety: Safety::Review,
    references: &["https://kubernetes.io/docs/concepts/storage/volumes/"],
    explains: &["never-collected", "copied-before-exit", "dir-missing"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let flushed = tree.flushes();
    for service in tree.services.iter().filter(|s| !s.is_open()) {
        let Some(directory) = service
            .directory()
            .filter(|d| !is_open(&d.value) && d.value.starts_with('/'))
        else {
            continue;
        };
        if let Some(behind) = service.volume_at(&directory.value) {
            let because = format!("{} lies in volume {}", directory.value, behind.mount.volume);
            verdicts.clear(
                &RULE,
                &service.name,
                because,
                vec![at(
                    &behind.mount.place,
                    format!("mountPath: {}", behind.mount.path),
                )],
            );
            continue;
        }
        // A container that has stopped keeps its files until it is removed: engines copy from it.
        let engine = service.is_compose()
            && tree
                .steps()
                .any(|s| act(s) == Some(Act::Copy) && !matches!(s.program(), "kubectl" | "oc"));
        if flushed || engine || service.container.user.read_only_root || near(service).is_some() {
            continue;
        }
        let evidence = vec![
            at(directory.place, format!("GOCOVERDIR={}", directory.value)),
            at(
                &service.container.place,
                format!(
                    "container {}: no volume is mounted there",
                    service.container.name
                ),
            ),
        ];
        let cause = format!(
            "{} is in no volume: what is written at the end is gone with the container",
            directory.value
        );
        verdicts
            .found(&RULE, &service.name, Confidence::Likely, cause, evidence)
            .end();
    }
}

/// A mount that was meant for it: another rule's business.
fn near<'a>(service: &Service<'a>) -> Option<&'a Mount> {
    service
        .container
        .mounts
        .iter()
        .find(|m| m.path.contains("cov") || m.volume.contains("cov"))
}
