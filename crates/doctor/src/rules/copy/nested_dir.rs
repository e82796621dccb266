//! The files lie one directory too deep.

use crate::rule::Signal;
use crate::rules::{in_data, said};
use crate::tree::{Act, ENGINES, act, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::facts::repository::{Step, is_open};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 303,
    slug: "nested-dir",
    link: Link::Copy,
    severity: Severity::Error,
    files_only: true,
    title: "the files lie one directory too deep",
    checks: "Coverage files in directories below the one that is read.",
    why: "`docker cp` and `kubectl cp` copy a directory INTO one that exists: `coverdata/coverdata`. Go's tools read no sub-directories, find nothing, and exit with 0.",
    evidence: &[Signal::Data, Signal::Repository],
    fix: "Read the inner directory, or copy its contents: `docker cp NODE:/coverdata/. ./coverdata`.",
    safety: Safety::Safe,
    references: &["https://docs.docker.com/reference/cli/docker/container/cp/"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    of_data(facts, verdicts);
    of_logs(facts, verdicts);
}

/// A directory for each service is a layout of its own, and read by naming each: only one that is alone, or
/// that has the name of the one above it, was copied too deep.
fn of_data(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let here = !data.builds.is_empty() || !data.counters.is_empty();
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let own = name(data.directory.trim_end_matches('/'));
        let again = data.nested.iter().any(|nested| name(&nested.path) == own);
        let alone = data.nested.len() == 1 && !here;
        let evidence: Vec<Evidence> = data
            .nested
            .iter()
            .map(|nested| {
                in_data(
                    data,
                    &nested.path,
                    format!("{} coverage file(s)", nested.files.len()),
                )
            })
            .collect();
        if data.nested.is_empty() {
            continue;
        }
        let (severity, confidence) = match (again, alone) {
            (true, _) => (Severity::Error, Confidence::Certain),
            (_, true) => (Severity::Error, Confidence::Likely),
            _ => (Severity::Info, Confidence::Possible),
        };
        verdicts
            .found(
                &RULE,
                &data.directory,
                confidence,
                "coverage files lie in directories below this one, which no tool reads",
                evidence,
            )
            .severity(severity)
            .end();
    }
}

/// covdata says nothing of why it found nothing: its line alone is a symptom.
fn of_logs(facts: &Facts, verdicts: &mut Verdicts) {
    for (log, _) in said(facts, &[Said::NoFiles]) {
        if facts.data.is_empty() {
            verdicts.unknown(
                &RULE,
                &log.subject,
                "covdata found no files where it looked; whether they lie deeper, `covtap doctor DIR` tells",
            );
        }
    }
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| t.wants_files()) else {
        return;
    };
    let clean = |path: &str| {
        path.trim_start_matches("./")
            .trim_end_matches('/')
            .to_owned()
    };
    for copy in tree
        .steps()
        .filter(|s| act(s) == Some(Act::Copy) && ENGINES.contains(&s.program()))
    {
        let Some([from, to]) = copy.words.last_chunk::<2>() else {
            continue;
        };
        let Some(source) = from.split_once(':').map(|(_, p)| p) else {
            continue;
        };
        // `SRC/.` copies what is in it.
        if source.ends_with("/.") || source.ends_with("/*") || is_open(source) {
            continue;
        }
        let Some(name) = source.trim_end_matches('/').rsplit('/').next() else {
            continue;
        };
        let target = clean(to);
        // The directory that is there gets another one into it.
        let made = tree.steps().find(|s| {
            (s.program() == "mkdir" || s.program() == "os.MkdirAll")
                && s.words.iter().any(|w| clean(w) == target)
        });
        let reads = |s: &&Step| {
            s.runs(&["go", "tool", "covdata"])
                && s.flags(&["-i", "--i"]).iter().any(|i| clean(i) == target)
        };
        if let (Some(made), Some(read)) = (made, tree.steps().find(reads)) {
            let cause = format!(
                "the copy makes {target}/{name}, and {target} is read: Go's tool looks into no sub-directories"
            );
            verdicts
                .found(
                    &RULE,
                    tree.subject(copy),
                    Confidence::Likely,
                    cause,
                    vec![line(made), line(copy), line(read)],
                )
                .severity(Severity::Error)
                .end();
        }
    }
}
