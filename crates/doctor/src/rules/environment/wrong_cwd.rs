//! A relative hostPath of the Kind configuration is resolved from another folder.

use crate::rule::Signal;
use crate::tree::{at, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{Flow, FlowKind, Step, is_open};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 113,
    slug: "wrong-cwd",
    link: Link::Mount,
    severity: Severity::Error,
    files_only: true,
    title: "a relative hostPath of the Kind configuration is resolved from another folder",
    checks: "Relative hostPaths of extraMounts, the folder in which `kind create cluster` runs, and the folder whose files are read.",
    why: "kind resolves a relative hostPath against its own working directory, not against its configuration: the directory is made and mounted elsewhere.",
    evidence: &[Signal::Kind, Signal::Repository],
    fix: "Run kind where the path is right, or put an absolute path into the configuration.",
    safety: Safety::Review,
    references: &["https://kind.sigs.k8s.io/docs/user/configuration/#extra-mounts"],
    explains: &["never-collected"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let mounts = || {
        tree.repository
            .kinds
            .iter()
            .flat_map(|k| &k.nodes)
            .flat_map(|n| &n.mounts)
    };
    for flow in tree.roots() {
        let steps = tree.expanded(flow);
        let Some(create) = steps
            .iter()
            .position(|s| s.runs(&["kind", "create", "cluster"]))
        else {
            continue;
        };
        let Some(folder) = folder(&steps, create, flow) else {
            continue;
        };
        let config = steps[create]
            .flag(&["--config"])
            .map(|c| c.rsplit('/').next().unwrap_or(c));
        let Some(mount) = mounts().find(|m| {
            is_relative(&m.host)
                && m.host.contains("cov")
                && config.is_some_and(|c| m.place.file.ends_with(c))
        }) else {
            continue;
        };
        let clean = |path: &str| {
            path.trim_start_matches("./")
                .trim_end_matches('/')
                .to_owned()
        };
        let reads = |n: &usize| {
            steps[*n].runs(&["go", "tool", "covdata"])
                && steps[*n]
                    .flags(&["-i", "--i"])
                    .iter()
                    .any(|i| clean(i) == clean(&mount.host))
        };
        let Some(read) = (create..steps.len()).find(reads) else {
            continue;
        };
        if self::folder(&steps, read, flow) == Some(folder) {
            continue;
        }
        let cause = format!(
            "kind runs in {folder} and mounts {folder}/{}, and {} is read",
            clean(&mount.host),
            clean(&mount.host)
        );
        let evidence = vec![
            at(
                &mount.place,
                format!("extraMounts: hostPath: {}", mount.host),
            ),
            line(steps[create]),
            line(steps[read]),
        ];
        verdicts
            .found(
                &RULE,
                &mount.place.file,
                Confidence::Likely,
                cause,
                evidence,
            )
            .end();
        return;
    }
}

fn is_relative(path: &str) -> bool {
    !path.starts_with(['/', '~', '$']) && !is_open(path)
}

/// The folder that a step of a flow runs in, if the flow went into one.
fn folder<'a>(steps: &[&'a Step], at: usize, flow: &Flow) -> Option<&'a str> {
    let here = &steps[at].place;
    // Each line of a recipe is a shell of its own.
    let same_shell = |s: &&&'a Step| match flow.kind {
        FlowKind::Target => s.place == *here,
        _ => s.place.file == here.file,
    };
    let moved = steps[..at]
        .iter()
        .rev()
        .filter(same_shell)
        .find(|s| s.program() == "cd" && !s.call)?;
    let to = moved.words.get(1)?.as_str();
    (!is_open(to) && !to.starts_with(['.', '/', '-'])).then_some(to)
}
