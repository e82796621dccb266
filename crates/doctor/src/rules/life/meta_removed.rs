//! Counters whose meta-data are gone.

use crate::rule::Signal;
use crate::rules::{SHOWN, in_data};
use crate::tree::{Act, act, concerns_coverage, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 214,
    slug: "meta-removed",
    link: Link::Data,
    severity: Severity::Error,
    files_only: true,
    title: "counters whose meta-data are gone",
    checks: "Counter files of a build without its covmeta file.",
    why: "Meta-data are written once, at the start. When the directory is cleaned after that, the counters that come later mean nothing to any tool.",
    evidence: &[Signal::Data, Signal::Repository],
    fix: "Clean the directory before the services start, never between; or copy the covmeta file of the same build beside the counters.",
    safety: Safety::Manual,
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
        let orphans = data.counters.iter().filter(|file| {
            let known = |hash: &str| {
                data.builds
                    .iter()
                    .any(|build| build.tag == hash || build.hash.as_deref() == Some(hash))
            };
            !known(&file.tag) && !file.hash.as_deref().is_some_and(known)
        });
        let evidence: Vec<Evidence> = orphans
            .take(SHOWN)
            .map(|file| {
                in_data(
                    data,
                    &file.file,
                    format!("no covmeta.{} beside it", file.tag),
                )
            })
            .collect();
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Certain,
                "counters lie here without the meta-data of their build: the directory was cleaned after the program had started, or not all was copied",
                evidence,
            )
            .end();
    }
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| t.wants_files()) else {
        return;
    };
    for flow in tree.roots() {
        let steps = tree.expanded(flow);
        let starts = |s: &&covtap_model::facts::repository::Step| {
            s.runs(&["kubectl", "apply"])
                || s.runs(&["docker", "compose", "up"])
                || s.runs(&["docker", "run"])
                || s.runs(&["helm", "install"])
        };
        let Some(started) = steps.iter().position(starts) else {
            continue;
        };
        let stopped = steps
            .iter()
            .position(|s| matches!(act(s), Some(Act::Stop | Act::StopAndWait)));
        let until = stopped.unwrap_or(steps.len());
        let cleans = |s: &&&covtap_model::facts::repository::Step| {
            s.program() == "rm"
                && concerns_coverage(s)
                && s.words
                    .iter()
                    .any(|w| w.ends_with('*') || w.contains("covmeta"))
        };
        let cleaned = steps
            .get(started..until)
            .and_then(|s| s.iter().find(cleans));
        let read = tree
            .performed(flow)
            .iter()
            .any(|p| matches!(p.act, Act::Copy | Act::Report));
        if let (Some(cleaned), true) = (cleaned, read) {
            let cause = "the coverage directory is emptied after the service has started: its meta-data was written then, and is not written again";
            verdicts
                .found(
                    &RULE,
                    tree.subject(cleaned),
                    Confidence::Likely,
                    cause,
                    vec![line(steps[started]), line(cleaned)],
                )
                .end();
            return;
        }
    }
}
