//! Code that nobody wrote is in the figure.

use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};
use std::collections::BTreeMap;

use crate::rule::Signal;
use crate::rules::build::built_by_file::BY_FILE;
use crate::rules::{SHOWN, in_data};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::data::Package;

/// The rule.
pub const RULE: Rule = Rule {
    number: 411,
    slug: "diluted",
    link: Link::Report,
    severity: Severity::Warning,
    files_only: false,
    title: "code that nobody wrote is in the figure",
    checks: "The files of the meta-data that are generated or vendored, or of Go's own library, by their names.",
    why: "Generated code, vendored code and the standard library are in the denominator when -coverpkg takes them in: the figure then says little of the service.",
    evidence: &[Signal::Data],
    fix: "Build with `-coverpkg` of the packages that matter, or leave files out of the report: `covtap report --exclude 'GLOB'`.",
    safety: Safety::Safe,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[],
    check,
};

/// Share of all statements, in percent, from which on it is said.
const MUCH: u64 = 20;

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let mut files: BTreeMap<&str, (u64, Option<&str>)> = BTreeMap::new();
        for package in data.builds.iter().flat_map(|build| &build.packages) {
            for source in &package.sources {
                let foreign = foreign(package, &source.name);
                files.insert(&source.name, (source.statements, foreign));
            }
        }
        let all: u64 = files.values().map(|(statements, _)| statements).sum();
        let mut foreign: Vec<(&str, u64, &str)> = files
            .iter()
            .filter_map(|(name, (statements, why))| Some((*name, *statements, (*why)?)))
            .collect();
        let sum: u64 = foreign.iter().map(|(_, statements, _)| statements).sum();
        if all == 0 || sum.saturating_mul(100) < all.saturating_mul(MUCH) {
            continue;
        }
        foreign.sort_by_key(|(_, statements, _)| std::cmp::Reverse(*statements));
        let evidence: Vec<Evidence> = foreign
            .iter()
            .take(SHOWN)
            .map(|(name, statements, why)| {
                in_data(
                    data,
                    name,
                    format!("{statements} of {all} statements: {why}"),
                )
            })
            .collect();
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Likely,
                format!("{sum} of {all} statements are of generated or foreign code"),
                evidence,
            )
            .end();
    }
}

/// Why a file is nobody's work here, told by its name alone.
fn foreign(package: &Package, name: &str) -> Option<&'static str> {
    let base = name.rsplit('/').next().unwrap_or(name);
    let generated = [".pb.go", ".pb.gw.go", "_mock.go", "_mocks.go"];
    let ends = generated.iter().any(|end| base.ends_with(end));
    if ends || base.starts_with("zz_generated") || base.starts_with("mock_") {
        return Some("generated");
    }
    if name.contains("/vendor/") || name.contains("/third_party/") {
        return Some("vendored");
    }
    // Paths of modules have a dot in their first part; those of Go's own library have none, and no module.
    let first = package.path.split('/').next().unwrap_or_default();
    let own = package.module.is_empty() && !first.contains('.') && package.path != BY_FILE;
    (own && !package.main).then_some("Go's own library")
}
