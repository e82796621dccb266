//! The connection that data come over was refused.

use crate::rule::Signal;
use crate::rules::logged;
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 311,
    slug: "transport-refused",
    link: Link::Copy,
    severity: Severity::Error,
    files_only: true,
    title: "the connection that data come over was refused",
    checks: "Messages of port-forwards and of requests to coverage endpoints: connection refused, lost connection to pod.",
    why: "An endpoint that is gone, a network policy or a mesh ends the transport, and the step that follows reads nothing.",
    evidence: &[Signal::Logs, Signal::Events],
    fix: "Ask before the service ends and through an address that lives; covtap needs no connection to the service.",
    safety: Safety::Manual,
    references: &[],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::Refused],
        "the connection that coverage was to come over was refused",
    );
}
