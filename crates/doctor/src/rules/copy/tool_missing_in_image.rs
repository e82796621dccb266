//! The image lacks the tool that copying needs.

use crate::rule::Signal;
use crate::rules::logged;
use crate::tree::{Act, act, at, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::facts::repository::Instruction;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 302,
    slug: "tool-missing-in-image",
    link: Link::Copy,
    severity: Severity::Error,
    files_only: true,
    title: "the image lacks the tool that copying needs",
    checks: "Messages of kubectl: no `tar`, `sh` or `kill` in the container.",
    why: "`kubectl cp` runs tar in the container, `kubectl exec … kill` a shell or kill. Scratch and distroless images have none of them.",
    evidence: &[Signal::Logs, Signal::Repository],
    fix: "Copy from the volume with a helper pod, or let covtap read the files from the node.",
    safety: Safety::Review,
    references: &["https://kubernetes.io/docs/reference/kubectl/generated/kubectl_cp/"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::NoTar, Said::NoShell],
        "the container has no tar or shell: what copies or signals there fails",
    );
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| t.wants_files()) else {
        return;
    };
    for service in tree.services.iter().filter(|s| !s.is_compose()) {
        let Some(stage) = service.dockerfile.and_then(|d| d.stages.last()) else {
            continue;
        };
        let bare = stage.base == "scratch"
            || stage.base.contains("distroless") && !stage.base.contains("debug")
            || stage.base.contains("chainguard/static");
        if !bare || service.workload.containers.len() > 1 {
            continue;
        }
        // A busybox that is copied in brings the tools.
        let brings = stage.instructions.iter().any(|i| matches!(i, Instruction::Copy { sources, .. } if sources.iter().any(|s| s.contains("busybox") || s.contains("/bin/sh") || s.contains("/bin/tar"))));
        let needs = |s: &&covtap_model::facts::repository::Step| {
            let tool =
                (s.runs(&["kubectl", "cp"]) || s.runs(&["oc", "cp"]) || s.runs(&["oc", "rsync"]))
                    && act(s) == Some(Act::Copy);
            let shell = s.runs(&["kubectl", "exec"]) && (act(s).is_some()) && !s.says("ephemeral");
            tool || shell
        };
        let step = tree
            .steps()
            .filter(needs)
            .find(|s| tree.subject(s) == service.name);
        let helper = tree.repository.workloads.iter().any(|w| {
            step.is_some_and(|s| {
                !std::ptr::eq(w, service.workload)
                    && !w.name.is_empty()
                    && s.words.iter().any(|x| x.contains(w.name.as_str()))
            })
        });
        if let (Some(step), false) = (step, brings || helper) {
            let tool = if step.runs(&["kubectl", "exec"]) {
                "a shell and its tools"
            } else {
                "tar"
            };
            let cause = format!(
                "this needs {tool} in the container, and the image is {}",
                stage.base
            );
            let evidence = vec![at(&stage.place, format!("FROM {}", stage.base)), line(step)];
            verdicts
                .found(&RULE, &service.name, Confidence::Likely, cause, evidence)
                .severity(Severity::Error)
                .end();
        }
    }
}
