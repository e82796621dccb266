//! The variable is set on another container, or dropped on the way to the process.

use crate::rule::Signal;
use crate::tree::{Directory, Service, Tree, at, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{Container, Instruction};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 102,
    slug: "env-lost",
    link: Link::Environment,
    severity: Severity::Error,
    files_only: true,
    title: "the variable is set on another container, or dropped on the way to the process",
    checks: "GOCOVERDIR on each container of the pod against the one that runs the program; `env -i`, `sudo` and `su` before it.",
    why: "Each container has an environment of its own, and `env -i`, `sudo` without -E and `su -` start the program with a new one.",
    evidence: &[Signal::Node, Signal::Specification, Signal::Repository],
    fix: "Set GOCOVERDIR on the container that runs the instrumented program, and keep it on the way to the process.",
    safety: Safety::Review,
    references: &["https://go.dev/doc/build-cover"],
    explains: &["env-missing", "never-collected"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    for service in &tree.services {
        match service.directory() {
            None if !service.is_open() && service.dockerfile.is_some() => {
                elsewhere(&tree, service, verdicts)
            }
            Some(directory) => dropped(service, &directory, verdicts),
            None => {}
        }
    }
}

/// On a container beside it, which runs nothing of ours.
fn elsewhere(tree: &Tree<'_>, service: &Service<'_>, verdicts: &mut Verdicts) {
    let others = service
        .workload
        .containers
        .iter()
        .filter(|c| !std::ptr::eq(*c, service.container));
    let ours = |c: &Container| {
        tree.services
            .iter()
            .any(|s| std::ptr::eq(s.container, c) && s.dockerfile.is_some())
    };
    for other in others.filter(|c| !ours(c)) {
        if let Some(variable) = other.environment.iter().find(|v| v.name == "GOCOVERDIR") {
            let what = if other.init {
                "init container"
            } else {
                "container"
            };
            let cause = format!(
                "GOCOVERDIR is set on {what} {}, not on {}, which runs the program",
                other.name, service.container.name
            );
            let evidence = vec![
                at(
                    &variable.place,
                    format!("{what} {}: GOCOVERDIR", other.name),
                ),
                at(
                    &service.container.place,
                    format!("container {} has none", service.container.name),
                ),
            ];
            verdicts
                .found(&RULE, &service.name, Confidence::Certain, cause, evidence)
                .end();
        }
    }
}

fn dropped(service: &Service<'_>, directory: &Directory<'_>, verdicts: &mut Verdicts) {
    let words: Vec<&str> = service
        .container
        .command
        .iter()
        .chain(&service.container.arguments)
        .flat_map(|w| w.split_whitespace())
        .collect();
    let mut of_image = service
        .dockerfile
        .and_then(|d| d.stages.last())
        .into_iter()
        .flat_map(|s| &s.instructions)
        .filter_map(|i| match i {
            Instruction::Entrypoint(l) => Some((l.words.join(" "), &l.place)),
            _ => None,
        });
    let own = (words.join(" "), &service.container.place);
    let all = match words.is_empty() {
        true => of_image.next_back(),
        false => Some(own),
    };
    let Some((line, place)) = all else { return };
    let padded = format!(" {line} ");
    let how = [" env -i ", " sudo ", " su - ", " runuser -l "]
        .iter()
        .find(|w| padded.contains(*w));
    let kept = padded.contains("GOCOVERDIR")
        || padded.contains(" sudo -E ")
        || padded.contains("--preserve-env");
    if let (Some(how), false) = (how, kept) {
        let cause = format!(
            "`{}` starts the program without the container's GOCOVERDIR",
            how.trim()
        );
        let evidence = vec![
            at(place, line),
            at(directory.place, format!("GOCOVERDIR={}", directory.value)),
        ];
        verdicts
            .found(&RULE, &service.name, Confidence::Likely, cause, evidence)
            .end();
    }
}
