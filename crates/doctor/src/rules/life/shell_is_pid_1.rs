//! A shell is process 1 and keeps the signal from the program.

use crate::rule::Signal;
use crate::tree::{Service, Tree, at, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::Place;
use covtap_model::facts::repository::{Flow, FlowKind, Instruction, Launch, is_open};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 207,
    slug: "shell-is-pid-1",
    link: Link::Shutdown,
    severity: Severity::Error,
    files_only: true,
    title: "a shell is process 1 and keeps the signal from the program",
    checks: "ENTRYPOINT and CMD in shell form, `sh -c` in manifests, and wrapper scripts, each for `exec` or a trap.",
    why: "A shell that runs the program as a child gets SIGTERM in its place, does not pass it on, and is killed after the grace period together with the program.",
    evidence: &[Signal::Node, Signal::Repository],
    fix: "Start the program with `exec`, or write ENTRYPOINT as a list: `ENTRYPOINT [\"/app\"]`.",
    safety: Safety::Review,
    references: &["https://docs.docker.com/reference/dockerfile/#shell-form-entrypoint-example"],
    explains: &["copied-before-exit", "sigterm-not-handled"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| t.wants_files() && !t.flushes()) else {
        return;
    };
    for service in &tree.services {
        let words: Vec<String> = match service.container.command.is_empty() {
            false => service
                .container
                .command
                .iter()
                .chain(&service.container.arguments)
                .cloned()
                .collect(),
            true => of_image(service),
        };
        let place = match service.container.command.is_empty() {
            false => service.container.place.clone(),
            true => match launch(service) {
                Some(launch) => launch.place.clone(),
                None => continue,
            },
        };
        let Some(program) = words.first() else {
            continue;
        };
        let short = program.rsplit('/').next().unwrap_or(program);
        let evidence = || vec![at(&place, words.join(" "))];
        if matches!(short, "tini" | "dumb-init" | "catatonit" | "s6-svscan") {
            verdicts.clear(
                &RULE,
                &service.name,
                format!("{short} passes signals on"),
                evidence(),
            );
            continue;
        }
        if matches!(short, "sh" | "bash" | "ash" | "dash") {
            let Some(script) = words
                .iter()
                .position(|w| w.starts_with('-') && w.ends_with('c'))
                .and_then(|n| words.get(n + 1))
            else {
                of_script(&tree, service, words.get(1), &place, verdicts);
                continue;
            };
            if is_passed_on(script) {
                verdicts.clear(
                    &RULE,
                    &service.name,
                    "the shell gives its place to the program, or passes the signal on",
                    evidence(),
                );
            } else {
                let simple = !script.contains([';', '&', '|', '\n']);
                // Of one plain command most shells make themselves the program.
                let (confidence, severity) = match simple {
                    true => (Confidence::Possible, Severity::Info),
                    false => (Confidence::Likely, RULE.severity),
                };
                let cause = "the container's process 1 is a shell that does not pass SIGTERM on to the program";
                verdicts
                    .found(&RULE, &service.name, confidence, cause, evidence())
                    .severity(severity)
                    .end();
            }
        } else if short.ends_with(".sh") {
            of_script(&tree, service, Some(program), &place, verdicts);
        } else if !is_open(program) {
            verdicts.clear(
                &RULE,
                &service.name,
                "the program itself is process 1",
                evidence(),
            );
        }
    }
}

/// ENTRYPOINT, else CMD, of the image.
fn launch<'a>(service: &Service<'a>) -> Option<&'a Launch> {
    let stage = service.dockerfile?.stages.last()?;
    let last = |wanted: fn(&'a Instruction) -> Option<&'a Launch>| {
        stage.instructions.iter().rev().find_map(wanted)
    };
    last(|i| match i {
        Instruction::Entrypoint(l) => Some(l),
        _ => None,
    })
    .or_else(|| {
        last(|i| match i {
            Instruction::Command(l) => Some(l),
            _ => None,
        })
    })
}

fn of_image(service: &Service<'_>) -> Vec<String> {
    let Some(launch) = launch(service) else {
        return Vec::new();
    };
    match launch.shell {
        true => vec![
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            launch.words[0].clone(),
        ],
        false => launch.words.clone(),
    }
}

/// A wrapper script of the repository.
fn of_script(
    tree: &Tree<'_>,
    service: &Service<'_>,
    script: Option<&String>,
    place: &Place,
    verdicts: &mut Verdicts,
) {
    let Some(name) = script.map(|s| s.rsplit('/').next().unwrap_or(s)) else {
        return;
    };
    let fits = |f: &&Flow| f.kind == FlowKind::Script && f.name.rsplit('/').next() == Some(name);
    let mut all = tree.repository.flows.iter().filter(fits);
    let (Some(flow), None) = (all.next(), all.next()) else {
        return;
    };
    let exec = flow
        .steps
        .iter()
        .find(|s| s.replaces_shell || s.words[0] == "trap");
    let started = at(place, name);
    match (exec, flow.steps.last()) {
        (Some(step), _) => verdicts.clear(
            &RULE,
            &service.name,
            "the wrapper gives its place to the program, or has a trap",
            vec![started, line(step)],
        ),
        (None, Some(last)) => {
            let cause = format!(
                "{name} is process 1, and starts the program without exec and without a trap: it keeps SIGTERM to itself"
            );
            verdicts
                .found(
                    &RULE,
                    &service.name,
                    Confidence::Likely,
                    cause,
                    vec![started, line(last)],
                )
                .end();
        }
        (None, None) => {}
    }
}

fn is_passed_on(script: &str) -> bool {
    let mut words = script.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|'));
    words.any(|w| w == "exec" || w == "trap" || w == "tini" || w == "dumb-init")
}
