//! Gcov's notes are not with its counters.

use crate::rule::Signal;
use crate::rules::{SHOWN, in_data, logged};
use crate::tree::{line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::facts::repository::{Instruction, Step};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 21,
    slug: "gcov-notes-lost",
    link: Link::Data,
    severity: Severity::Warning,
    files_only: true,
    title: "gcov's notes are not with its counters",
    checks: "Counter files (`.gcda`) without notes (`.gcno`) of the same name, and gcov's line `cannot open notes file`.",
    why: "Counters of gcov mean nothing without the notes that the compiler wrote beside the objects. In a container the counters go to the build's path, which is not there, unless GCOV_PREFIX says otherwise.",
    evidence: &[Signal::Data, Signal::Logs, Signal::Repository],
    fix: "Keep the `.gcno` files of the build, set GCOV_PREFIX and GCOV_PREFIX_STRIP, and give gcov both directories.",
    safety: Safety::Manual,
    references: &["https://gcc.gnu.org/onlinedocs/gcc/Cross-profiling.html"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    of_data(facts, verdicts);
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::NoNotes],
        "gcov does not find the notes of the build that counted",
    );
}

fn of_data(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let evidence = |notes: bool| -> Vec<Evidence> {
            let some = data
                .gcov
                .iter()
                .filter(|file| file.notes == notes)
                .take(SHOWN);
            let what = if notes {
                "has its notes"
            } else {
                "no notes (.gcno) of this name"
            };
            some.map(|file| in_data(data, &file.file, what)).collect()
        };
        if !data.gcov.is_empty() && data.gcov.iter().all(|file| file.notes) {
            verdicts.clear(
                &RULE,
                &data.directory,
                "every counter file has its notes",
                evidence(true),
            );
            continue;
        }
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Likely,
                "gcov's counters lie here without the notes of their build",
                evidence(false),
            )
            .end();
    }
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let words = |s: &Step| {
        s.words.iter().any(|w| {
            matches!(
                w.as_str(),
                "--coverage" | "-fprofile-arcs" | "-ftest-coverage"
            ) || w.contains("=--coverage")
                || w.contains("FLAGS=-fprofile-arcs")
        })
    };
    for dockerfile in &tree.repository.dockerfiles {
        let [first, .., last] = &dockerfile.stages[..] else {
            continue;
        };
        let steps = first.instructions.iter().filter_map(|i| match i {
            Instruction::Run(step) => Some(step),
            _ => None,
        });
        let Some(build) = steps.into_iter().find(|s| words(s)) else {
            continue;
        };
        let brings = last.instructions.iter().any(|i| match i {
            Instruction::Copy { sources, .. } => sources.iter().any(|s| {
                s.contains("gcno")
                    || s.ends_with("/src")
                    || s.ends_with("/build")
                    || s.ends_with("/.")
            }),
            Instruction::Environment(v) => v.name == "GCOV_PREFIX",
            _ => false,
        });
        let prefixed = tree
            .repository
            .workloads
            .iter()
            .flat_map(|w| &w.containers)
            .flat_map(|c| &c.environment)
            .any(|v| v.name == "GCOV_PREFIX");
        if !brings && !prefixed {
            let cause = "the program writes its counters to the build's path, which its image does not have, and GCOV_PREFIX is not set";
            verdicts
                .found(
                    &RULE,
                    &dockerfile.file,
                    Confidence::Likely,
                    cause,
                    vec![line(build)],
                )
                .end();
        }
    }
}
