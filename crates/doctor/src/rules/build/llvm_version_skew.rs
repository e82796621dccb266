//! Raw profiles of another version than the tool reads.

use crate::rule::Signal;
use crate::rules::{in_data, logged};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 18,
    slug: "llvm-version-skew",
    link: Link::Data,
    severity: Severity::Error,
    files_only: true,
    title: "raw profiles of another version than the tool reads",
    checks: "The version in the header of raw profiles (`.profraw`), and the line `raw profile version mismatch`.",
    why: "`llvm-profdata` reads raw profiles of its own version only. A compiler of another version than the tools writes files that it refuses, all of them.",
    evidence: &[Signal::Data, Signal::Logs],
    fix: "Use the llvm-tools of the compiler that built the program (`rustup component add llvm-tools`), and one compiler for all programs that are merged.",
    safety: Safety::Safe,
    references: &["https://llvm.org/docs/InstrProfileFormat.html"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_data(facts, verdicts);
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::RawVersion],
        "the tool refuses the raw profiles: they are of another version of LLVM",
    );
}

fn of_data(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let mut seen: Vec<(u64, &str)> = Vec::new();
        for raw in &data.raw {
            if let Some(version) = raw.version
                && !seen.iter().any(|(other, _)| *other == version)
            {
                seen.push((version, &raw.file));
            }
        }
        let evidence: Vec<Evidence> = seen
            .iter()
            .map(|(version, file)| in_data(data, file, format!("raw profile version {version}")))
            .collect();
        match seen.len() {
            0 => {}
            1 => verdicts.clear(
                &RULE,
                &data.directory,
                "all raw profiles have one version",
                evidence,
            ),
            _ => verdicts
                .found(
                    &RULE,
                    &data.directory,
                    Confidence::Certain,
                    "raw profiles of several versions lie together: no llvm-profdata reads them all",
                    evidence,
                )
                .end(),
        }
    }
}
