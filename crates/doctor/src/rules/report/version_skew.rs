//! Two builds of one package in one merge.

use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};
use std::collections::BTreeMap;

use crate::rule::Signal;
use crate::rules::build::built_by_file::BY_FILE;
use crate::rules::{SHOWN, in_data};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::data::Build;

/// The rule.
pub const RULE: Rule = Rule {
    number: 402,
    slug: "version-skew",
    link: Link::Data,
    severity: Severity::Warning,
    files_only: true,
    title: "two builds of one package in one merge",
    checks: "The meta-data hash of each package over all builds of a directory.",
    why: "Go's tool merges packages by path and hash. Of two versions it keeps both: their blocks overlap, statements count twice, and nothing says so.",
    evidence: &[Signal::Data],
    fix: "Report the builds one by one; covtap uses the version that the checkout has and names the others.",
    safety: Safety::Safe,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let counted = || {
            data.builds
                .iter()
                .filter(|build| data.counters_of(build).next().is_some())
        };
        let mut versions: BTreeMap<&str, Vec<(&str, &Build)>> = BTreeMap::new();
        for build in counted() {
            // Programs that were built from a file share a name and nothing else.
            for package in build
                .packages
                .iter()
                .filter(|package| package.path != BY_FILE)
            {
                let seen = versions.entry(&package.path).or_default();
                if !seen.iter().any(|(hash, _)| *hash == package.hash) {
                    seen.push((&package.hash, build));
                }
            }
        }
        let skewed: Vec<_> = versions.iter().filter(|(_, seen)| seen.len() > 1).collect();
        if skewed.is_empty() {
            if counted().count() > 1 {
                let evidence = counted().map(|build| {
                    in_data(
                        data,
                        &build.file,
                        format!("{} package(s)", build.packages.len()),
                    )
                });
                let because = "every package has one version in all builds";
                verdicts.clear(&RULE, &data.directory, because, evidence.collect());
            }
            continue;
        }
        let evidence: Vec<Evidence> = skewed
            .iter()
            .take(SHOWN)
            .map(|(path, seen)| {
                let builds: Vec<&str> = seen.iter().map(|(_, build)| build.file.as_str()).collect();
                in_data(
                    data,
                    builds[0],
                    format!(
                        "package {path} differs from that of {}",
                        builds[1..].join(", ")
                    ),
                )
            })
            .collect();
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Certain,
                format!("{} package(s) are here in several versions: their statements count several times", skewed.len()),
                evidence,
            )
            .end();
    }
}
