//! A build without counters reads as 0 %.

use crate::rule::Signal;
use crate::rules::in_data;
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 406,
    slug: "meta-only-reads-as-zero",
    link: Link::Report,
    severity: Severity::Warning,
    files_only: true,
    title: "a build without counters reads as 0 %",
    checks: "Builds with meta-data and without counters beside others, and text profiles in which nothing ran.",
    why: "Go's tool reports a build without counters as 0 %, as if its code had been there and not been run. It is no data: the processes did not write.",
    evidence: &[Signal::Data],
    fix: "Find out why the build has no counters (copied-before-exit, killed); covtap leaves it out and says so.",
    safety: Safety::Manual,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let bare: Vec<_> = data
            .builds
            .iter()
            .filter(|build| build.hash.is_some() && data.counters_of(build).next().is_none())
            .collect();
        if bare.is_empty() {
            continue;
        }
        let mut evidence: Vec<Evidence> = bare
            .iter()
            .map(|build| in_data(data, &build.file, "no counter file of this build"))
            .collect();
        let nothing_ran = data
            .texts
            .iter()
            .filter(|text| text.units > 0 && !text.any_ran);
        evidence.extend(nothing_ran.map(|text| {
            in_data(
                data,
                &text.file,
                format!("{} units, none of which ran", text.units),
            )
        }));
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Certain,
                format!(
                    "{} build(s) have no counters: that is no data, and other tools show 0 %",
                    bare.len()
                ),
                evidence,
            )
            .end();
    }
}
