//! Files of an earlier run lie in the directory.

use crate::rule::Signal;
use crate::rules::{SHOWN, in_data};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::data::{Build, Data};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 308,
    slug: "stale-data",
    link: Link::Data,
    severity: Severity::Warning,
    files_only: true,
    title: "files of an earlier run lie in the directory",
    checks: "The times in the names of counter files, and the hashes of builds of one program.",
    why: "Nothing cleans a coverage directory. Counts of an earlier run, or of an earlier build, become part of the figure.",
    evidence: &[Signal::Data, Signal::Repository],
    fix: "Remove the files before a run, or give each run a directory of its own, as covtap does.",
    safety: Safety::Review,
    references: &["https://go.dev/doc/build-cover"],
    explains: &["version-skew"],
    check,
};

/// Two runs of differing builds are this far apart at least; rollouts are not. In seconds.
const BUILDS_APART: u64 = 60 * 60;
/// Nobody's test takes this long. In seconds.
const RUNS_APART: u64 = 12 * 60 * 60;

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let evidence = earlier_builds(data);
        if evidence.is_empty() {
            let evidence = earlier_runs(data);
            verdicts
                .found(
                    &RULE,
                    &data.directory,
                    Confidence::Possible,
                    "counter files of runs that are more than half a day apart lie together",
                    evidence,
                )
                .end();
            continue;
        }
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Likely,
                "files of an earlier build of the program lie here, from an earlier run",
                evidence,
            )
            .end();
    }
}

/// The first and the last time of a build's counters.
fn times(data: &Data, build: &Build) -> Option<(u64, u64)> {
    let times = || data.counters_of(build).map(|file| file.written);
    Some((times().min()?, times().max()?))
}

fn earlier_builds(data: &Data) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    for build in &data.builds {
        for newer in &data.builds {
            let same = match (build.main(), newer.main()) {
                (Some(a), Some(b)) => a.path == b.path && build.tag != newer.tag,
                _ => false,
            };
            if let (true, Some((_, end)), Some((begin, _))) =
                (same, times(data, build), times(data, newer))
                && end.saturating_add(BUILDS_APART) < begin
            {
                evidence.push(in_data(
                    data,
                    &build.file,
                    format!(
                        "its last counters are {} before the first of {}",
                        span(begin - end),
                        newer.file
                    ),
                ));
            }
        }
    }
    evidence
}

fn earlier_runs(data: &Data) -> Vec<Evidence> {
    let mut files: Vec<_> = data.counters.iter().collect();
    files.sort_by_key(|file| file.written);
    let apart = files.windows(2).filter_map(|pair| match pair {
        [a, b] if b.tag == a.tag && a.written.saturating_add(RUNS_APART) < b.written => {
            Some(in_data(
                data,
                &a.file,
                format!("{} before {}", span(b.written - a.written), b.file),
            ))
        }
        _ => None,
    });
    apart.take(SHOWN).collect()
}

/// `3 h`, `2 days`.
fn span(seconds: u64) -> String {
    match seconds / 3600 {
        hours @ 0..48 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    }
}
