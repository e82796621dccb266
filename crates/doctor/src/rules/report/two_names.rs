//! One source under two names.

use crate::rule::Signal;
use crate::rules::build::built_by_file::BY_FILE;
use crate::rules::in_data;
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 403,
    slug: "two-names",
    link: Link::Data,
    severity: Severity::Warning,
    files_only: true,
    title: "one source under two names",
    checks: "Packages of one shape under `command-line-arguments` and under their import path.",
    why: "A program that was built once from its package and once from its file is two packages to every tool: each statement counts twice.",
    evidence: &[Signal::Data],
    fix: "Build both from the package: `go build ./cmd/x`.",
    safety: Safety::Safe,
    references: &["https://go.dev/doc/build-cover"],
    explains: &["built-by-file"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let all = || {
            data.builds
                .iter()
                .flat_map(|build| build.packages.iter().map(move |p| (build, p)))
        };
        let mut evidence = Vec::new();
        for (build, package) in all().filter(|(_, package)| package.path == BY_FILE) {
            let named =
                all().find(|(_, other)| other.path != BY_FILE && other.shape == package.shape);
            if let Some((_, named)) = named {
                evidence.push(in_data(
                    data,
                    &build.file,
                    format!(
                        "package {BY_FILE} has the functions and units of {}",
                        named.path
                    ),
                ));
            }
        }
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Certain,
                "the same source is here under its import path and as a build of its file: it counts twice",
                evidence,
            )
            .end();
    }
}
