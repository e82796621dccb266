//! A policy does not allow the pod as it is wired for coverage.

use crate::rule::Signal;
use crate::rules::logged;
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 118,
    slug: "policy-rejects",
    link: Link::Manifest,
    severity: Severity::Error,
    files_only: true,
    title: "a policy does not allow the pod as it is wired for coverage",
    checks: "Events and messages: `violates PodSecurity`, security context constraints, exceeded quotas.",
    why: "The restricted profile of Pod Security allows neither hostPath volumes nor root. A pod that is wired with either is never created.",
    evidence: &[Signal::Events, Signal::Logs],
    fix: "Use an `emptyDir` with `fsGroup` instead of a hostPath, and no root; or label the test namespace for it.",
    safety: Safety::Review,
    references: &["https://kubernetes.io/docs/concepts/security/pod-security-standards/"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::Rejected],
        "the cluster's policy rejects the pod",
    );
}
