//! The signal that ends the container is one that the program does not handle.

use crate::rule::Signal;
use crate::tree::{at, reached, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{Call, Instruction};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 208,
    slug: "signal-not-delivered",
    link: Link::Shutdown,
    severity: Severity::Error,
    files_only: true,
    title: "the signal that ends the container is one that the program does not handle",
    checks: "Signals that the program handles against the one that ends its container: SIGTERM, or STOPSIGNAL.",
    why: "A handler of SIGINT alone is the usual one for terminals. Kubernetes and engines send SIGTERM, which then ends the process at once.",
    evidence: &[Signal::Specification, Signal::Repository],
    fix: "Handle SIGTERM too, or set `STOPSIGNAL SIGINT` in the Dockerfile.",
    safety: Safety::Review,
    references: &["https://docs.docker.com/reference/dockerfile/#stopsignal"],
    explains: &["sigterm-not-handled", "copied-before-exit"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| t.wants_files() && !t.flushes()) else {
        return;
    };
    for package in tree.repository.packages.iter().filter(|p| p.main.is_some()) {
        let Some(service) = tree
            .services
            .iter()
            .find(|s| tree.service_of(package).as_ref() == Some(&s.name))
        else {
            continue;
        };
        let calls: Vec<_> = reached(tree.repository, package)
            .iter()
            .flat_map(|p| &p.calls)
            .filter(|c| c.name.starts_with("signal.Notify"))
            .collect();
        let told = |c: &&Call| c.arguments[1..].join(" ");
        let only_int = |c: &&Call| {
            c.arguments.len() > 1
                && (told(c).contains("os.Interrupt") || told(c).contains("SIGINT"))
                && !told(c).contains("SIGTERM")
                && !told(c).contains('…')
        };
        let Some(first) = calls.first().filter(|_| calls.iter().all(only_int)) else {
            continue;
        };
        let stages = service
            .dockerfile
            .iter()
            .flat_map(|d| &d.stages)
            .flat_map(|s| &s.instructions);
        let mut stop = stages.filter_map(|i| match i {
            Instruction::StopSignal(signal, place) => Some((signal, place)),
            _ => None,
        });
        let said = at(
            &first.place,
            format!("{}({})", first.name, first.arguments.join(", ")),
        );
        match stop
            .next_back()
            .filter(|(s, _)| s.contains("INT") || s.as_str() == "2")
        {
            Some((signal, place)) => verdicts.clear(
                &RULE,
                &service.name,
                "the container is ended with the signal that the program handles",
                vec![said, at(place, format!("STOPSIGNAL {signal}"))],
            ),
            None => {
                let cause =
                    "the program handles SIGINT alone, and its container is ended with SIGTERM";
                verdicts
                    .found(&RULE, &service.name, Confidence::Likely, cause, vec![said])
                    .end();
            }
        }
    }
}
