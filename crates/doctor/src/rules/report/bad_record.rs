//! A record that does not fit the meta-data.

use crate::rule::Signal;
use crate::rules::damaged;
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::data::DamageKind;
use covtap_model::finding::{Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 404,
    slug: "bad-record",
    link: Link::Data,
    severity: Severity::Error,
    files_only: true,
    title: "a record that does not fit the meta-data",
    checks: "Each record of each counter file against the functions that the meta-data state.",
    why: "Go's tool ends at the first record that is wrong, with everything else unread. covtap leaves that record out and names it.",
    evidence: &[Signal::Data],
    fix: "Take the file out, or let covtap merge: it uses what is sound.",
    safety: Safety::Safe,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let kinds = [DamageKind::Record, DamageKind::Header];
    let cause = "files hold records that do not fit: other tools stop there and give nothing";
    damaged(&RULE, facts, verdicts, &kinds, cause);
}
