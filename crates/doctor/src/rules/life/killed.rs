//! The process is killed: nothing writes its counters.

use crate::rule::Signal;
use crate::tree::{Act, at, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::Step;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 203,
    slug: "killed",
    link: Link::Shutdown,
    severity: Severity::Error,
    files_only: true,
    title: "the process is killed: nothing writes its counters",
    checks: "Steps that end it with SIGKILL: `--force --grace-period=0`, `docker kill`, `kill -9`, `Process.Kill`, `kind delete` before anything else ends it; a grace period that is too short.",
    why: "SIGKILL cannot be handled: no exit hook runs, and counters that were not written before are lost.",
    evidence: &[Signal::Specification, Signal::Events, Signal::Repository],
    fix: "End the process with SIGTERM and wait for it: `kubectl scale --replicas=0` and `kubectl wait --for=delete`. `covtap run` reads the memory before.",
    safety: Safety::Review,
    references: &[
        "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination-forced",
    ],
    explains: &["never-collected", "copied-before-exit", "error-swallowed"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| t.wants_files() && !t.flushes()) else {
        return;
    };
    for service in tree.services.iter().filter(|s| s.workload.grace == Some(0)) {
        let evidence = vec![at(
            &service.workload.place,
            "terminationGracePeriodSeconds: 0",
        )];
        verdicts
            .found(
                &RULE,
                &service.name,
                Confidence::Certain,
                "a grace period of 0 seconds kills the process at once",
                evidence,
            )
            .end();
    }
    let mut told: Vec<&Step> = Vec::new();
    for flow in tree.roots() {
        let acts = tree.performed(flow);
        let Some(last) = acts
            .iter()
            .rposition(|p| matches!(p.act, Act::Copy | Act::Report))
        else {
            continue;
        };
        let stop = acts.iter().take(last).find(|p| {
            matches!(
                p.act,
                Act::Stop | Act::StopAndWait | Act::Kill | Act::Destroy
            )
        });
        let Some(kill) = stop.filter(|p| matches!(p.act, Act::Kill | Act::Destroy)) else {
            continue;
        };
        // What is killed only if it has not ended is given its time before.
        if told.iter().any(|t| std::ptr::eq(*t, kill.step))
            || kill.step.condition.is_some()
            || !tree.is_about_a_service(kill.step)
        {
            continue;
        }
        told.push(kill.step);
        let cause = match kill.act {
            Act::Kill => {
                "the process is killed before its coverage is collected: its counters were never written"
            }
            _ => "the cluster is removed before coverage is collected, and its processes with it",
        };
        verdicts
            .found(
                &RULE,
                tree.subject(kill.step),
                Confidence::Likely,
                cause,
                vec![line(kill.step), line(acts[last].step)],
            )
            .end();
    }
}
