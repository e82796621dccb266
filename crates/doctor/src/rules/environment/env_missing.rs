//! The variable that names the coverage directory is not set.

use crate::rule::Signal;
use crate::rules::said;
use crate::tree::{Cover, at, go_builds, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 101,
    slug: "env-missing",
    link: Link::Environment,
    severity: Severity::Error,
    files_only: true,
    title: "the variable that names the coverage directory is not set",
    checks: "The environment of the process, the container's specification, and Go's own line: `warning: GOCOVERDIR not set, no coverage data emitted`.",
    why: "An instrumented Go program writes to the directory that GOCOVERDIR names when it starts. Without it nothing is written, and the exit code is as ever. Its warning proves that the program is instrumented.",
    evidence: &[
        Signal::Logs,
        Signal::Specification,
        Signal::Node,
        Signal::Repository,
    ],
    fix: "Set GOCOVERDIR on the container that runs the program, to a directory that it may write.",
    safety: Safety::Safe,
    references: &[
        "https://go.dev/doc/build-cover",
        "https://github.com/golang/go/blob/master/src/internal/coverage/cfile/emit.go",
    ],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    of_logs(facts, verdicts);
}

fn of_logs(facts: &Facts, verdicts: &mut Verdicts) {
    for (log, evidence) in said(facts, &[Said::NoDirectoryVariable]) {
        // Only a program that counts says it.
        verdicts.clear_suspect(
            "not-instrumented",
            Link::Build,
            &log.subject,
            "the program is instrumented: only one that counts prints this",
            evidence.clone(),
        );
        verdicts
            .found(
                &RULE,
                &log.subject,
                Confidence::Certain,
                "GOCOVERDIR is not set for the process: it counts, and writes nothing",
                evidence,
            )
            .end();
    }
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let wrapped = tree.names_directory_elsewhere();
    for service in &tree.services {
        let Some(dockerfile) = service.dockerfile else {
            continue;
        };
        if let Some(directory) = service.directory() {
            if directory.value.is_empty() {
                let evidence = vec![at(directory.place, "GOCOVERDIR is empty")];
                verdicts
                    .found(
                        &RULE,
                        &service.name,
                        Confidence::Certain,
                        "GOCOVERDIR is set, and empty",
                        evidence,
                    )
                    .end();
            } else {
                let evidence = vec![at(
                    directory.place,
                    format!("GOCOVERDIR={}", directory.value),
                )];
                verdicts.clear(
                    &RULE,
                    &service.name,
                    "the container has GOCOVERDIR",
                    evidence,
                );
            }
            continue;
        }
        let build = go_builds(dockerfile)
            .find(|b| b.cover == Cover::Yes)
            .map(|b| line(b.step));
        let build = build.or_else(|| {
            tree.builds_of(dockerfile)
                .find(|b| b.covers())
                .map(|b| line(b.step))
        });
        let (Some(build), false) = (build, wrapped || tree.flushes()) else {
            continue;
        };
        if service.is_open() {
            verdicts.unknown(
                &RULE,
                &service.name,
                "its manifest is a template: what the run puts in may bring GOCOVERDIR",
            );
            continue;
        }
        // Where others have it, this one may be left out on purpose.
        let others = tree.services.iter().any(|s| s.directory().is_some());
        let (confidence, severity) = match others {
            true => (Confidence::Possible, Severity::Warning),
            false => (Confidence::Likely, RULE.severity),
        };
        let evidence = vec![
            build,
            at(
                &service.container.place,
                format!("container {}: no GOCOVERDIR", service.container.name),
            ),
        ];
        verdicts
            .found(
                &RULE,
                &service.name,
                confidence,
                "its image is built with coverage, and its container has no GOCOVERDIR",
                evidence,
            )
            .severity(severity)
            .end();
    }
}
