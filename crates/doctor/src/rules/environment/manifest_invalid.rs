//! The manifest with coverage cannot be read.

use crate::rule::Signal;
use crate::rules::logged;
use crate::tree::{Tree, at, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 123,
    slug: "manifest-invalid",
    link: Link::Manifest,
    severity: Severity::Error,
    files_only: true,
    title: "the manifest with coverage cannot be read",
    checks: "Messages of kubectl and the API: `error converting YAML to JSON`, `error parsing`.",
    why: "What is pasted in for coverage only breaks the manifest when coverage is on: the service then is not deployed, or an older one goes on running.",
    evidence: &[Signal::Logs, Signal::Repository],
    fix: "Render the manifest with coverage on and apply it with `kubectl apply --dry-run=client`.",
    safety: Safety::Manual,
    references: &[],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::BadManifest],
        "the manifest cannot be read, so that it is not applied",
    );
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    for unread in tree
        .repository
        .unread
        .iter()
        .filter(|u| u.concerns_coverage)
    {
        // A template may be mended by what it puts in.
        let template = unread.why.contains("template");
        let (confidence, severity) = match template {
            true => (Confidence::Possible, Severity::Warning),
            false => (Confidence::Certain, Severity::Error),
        };
        let evidence = vec![at(&unread.place, &unread.why)];
        verdicts
            .found(
                &RULE,
                &unread.place.file,
                confidence,
                "the manifest that turns coverage on is no valid YAML",
                evidence,
            )
            .severity(severity)
            .end();
    }
    drifted(&tree, verdicts);
}

/// Two manifests of one workload: one has the directory, and the other one is applied.
fn drifted(tree: &Tree<'_>, verdicts: &mut Verdicts) {
    let applied = |file: &str| {
        tree.steps().find(|s| {
            let files = s.flags(&["-f", "--filename"]);
            s.runs(&["kubectl", "apply"])
                && files
                    .iter()
                    .any(|f| !f.is_empty() && file.ends_with(f.trim_start_matches("./")))
        })
    };
    let has = |w: &covtap_model::facts::repository::Workload| {
        w.containers
            .iter()
            .any(|c| c.environment.iter().any(|v| v.name == "GOCOVERDIR"))
    };
    for wired in tree
        .repository
        .workloads
        .iter()
        .filter(|w| !w.partial && has(w))
    {
        let twin = tree.repository.workloads.iter().find(|w| {
            !w.partial
                && !w.open
                && !has(w)
                && w.kind == wired.kind
                && w.name == wired.name
                && !w.name.is_empty()
                && w.place.file != wired.place.file
        });
        let Some(twin) = twin else { continue };
        let folder = |f: &str| {
            f.rsplit_once('/')
                .map_or(String::new(), |(d, _)| d.to_owned())
        };
        let reached = tree.steps().any(|s| {
            s.words.iter().any(|w| {
                w.contains(&wired.place.file)
                    || (!folder(&wired.place.file).is_empty()
                        && w.trim_end_matches('/')
                            .ends_with(&folder(&wired.place.file)))
            })
        });
        if let (Some(step), false) = (applied(&twin.place.file), reached) {
            let cause = format!(
                "{} is applied, and {} has GOCOVERDIR",
                twin.place.file, wired.place.file
            );
            let evidence = vec![
                line(step),
                at(
                    &wired.place,
                    format!("{} {} with GOCOVERDIR", wired.kind, wired.name),
                ),
                at(&twin.place, format!("{} {} without", twin.kind, twin.name)),
            ];
            let subject = format!("{}/{}", wired.kind.to_ascii_lowercase(), wired.name);
            verdicts
                .found(&RULE, subject, Confidence::Likely, cause, evidence)
                .severity(Severity::Error)
                .end();
        }
    }
}
