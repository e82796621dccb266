//! The upload of the report was rejected.

use crate::rule::Signal;
use crate::rules::logged;
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 413,
    slug: "upload-rejected",
    link: Link::Report,
    severity: Severity::Warning,
    files_only: false,
    title: "the upload of the report was rejected",
    checks: "Messages of uploaders: a token that is missing or refused.",
    why: "Services for reports need a token, a repository and a commit; pull requests from forks have no secrets. Uploaders often exit with 0 all the same.",
    evidence: &[Signal::Logs, Signal::Repository],
    fix: "Give the token to the job, or make the step fail when the upload does.",
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
        &[Said::UploadRejected],
        "the service did not take the report",
    );
}
