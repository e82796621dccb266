//! A volume that only one node may have is attached to another.

use crate::rule::Signal;
use crate::rules::logged;
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 117,
    slug: "pvc-rwo-deadlock",
    link: Link::Mount,
    severity: Severity::Error,
    files_only: true,
    title: "a volume that only one node may have is attached to another",
    checks: "The event `Multi-Attach error for volume`, and claims of mode ReadWriteOnce with pods on several nodes.",
    why: "A ReadWriteOnce volume is of one node at a time. A second pod elsewhere waits for ever, and with it the rollout or the copy.",
    evidence: &[Signal::Events, Signal::Logs],
    fix: "Use one volume a pod (a StatefulSet's claim template, or `emptyDir`), or keep the pods on one node.",
    safety: Safety::Review,
    references: &["https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::MultiAttach],
        "the volume is attached to another node: the pod waits for it",
    );
}
