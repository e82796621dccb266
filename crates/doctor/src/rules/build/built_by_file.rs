//! The program was built from a file, not from its package.

use crate::rule::Signal;
use crate::rules::in_data;
use crate::tree::{is_go_build, line, says_cover, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::Instruction;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The import path that `go build FILE.go` gives a package (`cmd/go/internal/load`).
pub(crate) const BY_FILE: &str = "command-line-arguments";

/// The rule.
pub const RULE: Rule = Rule {
    number: 11,
    slug: "built-by-file",
    link: Link::Build,
    severity: Severity::Warning,
    files_only: false,
    title: "the program was built from a file, not from its package",
    checks: "Package paths in the meta-data: `go build ./cmd/x/main.go` makes the package `command-line-arguments`, with the absolute path of the machine that built it as the file's name.",
    why: "The main package has no import path then: its lines stand under a name that no other build has, and a profile names a file that the checkout does not have (`/src/cmd/x/main.go`). Figures of the other packages are right.",
    evidence: &[Signal::Data, Signal::Repository],
    fix: "Build the package: `go build ./cmd/x` instead of `go build ./cmd/x/main.go`.",
    safety: Safety::Safe,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    of_data(facts, verdicts);
}

fn of_data(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let mut evidence = Vec::new();
        let mut named = false;
        for build in &data.builds {
            for package in &build.packages {
                if package.path != BY_FILE {
                    named |= package.main;
                    continue;
                }
                let names: Vec<&str> = package.sources.iter().map(|s| s.name.as_str()).collect();
                evidence.push(in_data(
                    data,
                    &build.file,
                    format!("package {BY_FILE}, file {}", names.join(", ")),
                ));
            }
        }
        if evidence.is_empty() && named {
            let files = data.builds.iter().filter_map(|build| {
                let main = build.main()?;
                Some(in_data(
                    data,
                    &build.file,
                    format!("package main is {}", main.path),
                ))
            });
            verdicts.clear(
                &RULE,
                &data.directory,
                "the main package has its import path",
                files.collect(),
            );
            continue;
        }
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Certain,
                "the program was built from a file: its main package is `command-line-arguments`, under the path of the machine that built it",
                evidence,
            )
            .end();
    }
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else {
        return;
    };
    let in_images = tree
        .services
        .iter()
        .filter_map(|s| Some((s.name.clone(), s.dockerfile?)));
    let in_images = in_images.flat_map(|(name, d)| {
        d.stages
            .iter()
            .flat_map(|s| &s.instructions)
            .map(move |i| (name.clone(), i))
    });
    let in_images = in_images.filter_map(|(name, i)| match i {
        Instruction::Run(step) => Some((name, step)),
        _ => None,
    });
    let covers = |step: &covtap_model::facts::repository::Step| {
        says_cover(step.words.iter().map(String::as_str))
    };
    let in_flows = tree
        .steps()
        .filter(|s| is_go_build(s) && covers(s))
        .map(|s| (tree.subject(s), s));
    let mut told = Vec::new();
    for (subject, step) in in_images.chain(in_flows).filter(|(_, s)| is_go_build(s)) {
        let file = step
            .words
            .iter()
            .skip(2)
            .rfind(|w| !w.starts_with('-'))
            .filter(|w| w.ends_with(".go"));
        if let Some(file) = file.filter(|_| !told.contains(&step.place)) {
            told.push(step.place.clone());
            let cause = format!(
                "{file} is built as a file: its package shows as command-line-arguments, with the build's own path"
            );
            verdicts
                .found(&RULE, subject, Confidence::Certain, cause, vec![line(step)])
                .severity(Severity::Info)
                .end();
        }
    }
}
