//! Files were copied before the process had ended.

use crate::rule::Signal;
use crate::rules::in_data;
use crate::tree::{Act, Performed, Tree, line, seconds, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 201,
    slug: "copied-before-exit",
    link: Link::Flush,
    severity: Severity::Error,
    files_only: true,
    title: "files were copied before the process had ended",
    checks: "Meta-data without counters while the process runs, or with nothing that says how it ended; the order of steps in scripts and tests.",
    why: "Go writes meta-data at the start and counters only when main returns or at os.Exit. What is copied before that, or from a process that was killed, has no counters.",
    evidence: &[Signal::Data, Signal::Logs, Signal::Node, Signal::Repository],
    fix: "End the service gracefully and wait until its pod is gone (`kubectl wait --for=delete`), then copy; or let `covtap run` read the counters out of memory, at any time.",
    safety: Safety::Review,
    references: &["https://go.dev/doc/build-cover"],
    explains: &["meta-only-reads-as-zero"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    of_data(facts, verdicts);
}

fn of_data(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let whole = data.builds.iter().filter(|build| build.hash.is_some());
        let (counted, bare): (Vec<_>, Vec<_>) =
            whole.partition(|build| data.counters_of(build).next().is_some());
        if bare.is_empty() {
            let evidence = counted.iter().map(|build| {
                let files = data.counters_of(build).count();
                in_data(
                    data,
                    &build.file,
                    format!("{files} counter file(s) of its processes"),
                )
            });
            verdicts.clear(
                &RULE,
                &data.directory,
                "every build that started has counters: its processes ended and wrote",
                evidence.collect(),
            );
            continue;
        }
        // Something that was begun and not finished, and counters that lie elsewhere, have their own rules.
        let other = !data.unfinished.is_empty()
            || data.counters.len() > counted.len() && counted.is_empty();
        if !counted.is_empty() || other {
            continue;
        }
        let evidence: Vec<Evidence> = bare
            .iter()
            .map(|build| {
                in_data(
                    data,
                    &build.file,
                    "meta-data of a start; no counter file of an end",
                )
            })
            .collect();
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Likely,
                "the processes started and had not written their counters: the files were copied while they ran, or they were killed",
                evidence,
            )
            .end();
    }
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| t.wants_files() && !t.flushes()) else {
        return;
    };
    let mut told = Vec::new();
    for flow in tree.roots() {
        let acts = tree.performed(flow);
        let Some(taken) = acts
            .iter()
            .position(|p| matches!(p.act, Act::Copy))
            .or_else(|| acts.iter().position(|p| p.act == Act::Report))
        else {
            continue;
        };
        let step = acts[taken].step;
        if told.contains(&&step.place) {
            continue;
        }
        let ends = |p: &&Performed<'_>| {
            matches!(
                p.act,
                Act::Stop | Act::StopAndWait | Act::Kill | Act::Destroy
            ) && tree.is_about_a_service(p.step)
        };
        let before = acts[..taken].iter().rposition(|p| ends(&p));
        let after = acts[taken..].iter().find(ends);
        match (before, after) {
            (None, Some(late)) if acts[taken].act == Act::Copy => {
                told.push(&step.place);
                let cause = format!(
                    "files are copied while the process still runs: {} ends it afterwards, and counters are written at its end",
                    late.step.place
                );
                verdicts
                    .found(
                        &RULE,
                        tree.subject(step),
                        Confidence::Likely,
                        cause,
                        vec![line(step), line(late.step)],
                    )
                    .severity(Severity::Error)
                    .end();
            }
            (Some(stop), _) if acts[stop].act == Act::Stop => {
                told.push(&step.place);
                of_wait(&tree, &acts[stop..=taken], verdicts);
            }
            (Some(stop), _) if acts[stop].act == Act::StopAndWait => {
                told.push(&step.place);
                verdicts.clear(
                    &RULE,
                    tree.subject(step),
                    "the process has ended before its files are read",
                    vec![line(acts[stop].step), line(step)],
                );
            }
            _ => {}
        }
    }
}

/// What stands between the request to end and the copy.
fn of_wait(tree: &Tree<'_>, acts: &[Performed<'_>], verdicts: &mut Verdicts) {
    let (Some(stop), Some(taken)) = (acts.first(), acts.last()) else {
        return;
    };
    let subject = tree.subject(taken.step);
    let waits: Vec<&Performed<'_>> = acts.iter().filter(|p| p.act == Act::Wait).collect();
    if let Some(nothing) = waits.iter().find(|p| tree.waits_for_nothing(p.step)) {
        let cause = "the wait selects pods by a label that none of them has: it ends at once";
        verdicts
            .found(
                &RULE,
                subject,
                Confidence::Likely,
                cause,
                vec![line(stop.step), line(nothing.step), line(taken.step)],
            )
            .severity(Severity::Error)
            .end();
        return;
    }
    if let Some(wait) = waits.first() {
        verdicts.clear(
            &RULE,
            subject,
            "somebody waits for the end before files are read",
            vec![line(stop.step), line(wait.step), line(taken.step)],
        );
        return;
    }
    let sleep = acts.iter().find(|p| p.act == Act::Sleep);
    let grace = tree
        .services
        .iter()
        .filter_map(|s| s.workload.grace)
        .max()
        .unwrap_or(30);
    let short = sleep
        .and_then(|p| seconds(p.step))
        .is_some_and(|s| s >= grace);
    if short {
        return;
    }
    let mut evidence = vec![line(stop.step)];
    evidence.extend(sleep.map(|p| line(p.step)));
    evidence.push(line(taken.step));
    let cause = match sleep {
        Some(_) => {
            "a sleep stands for the end of the process: its files are read whether or not it has written them"
        }
        None => "nothing waits for the end of the process before its files are read",
    };
    verdicts
        .found(&RULE, subject, Confidence::Likely, cause, evidence)
        .severity(Severity::Warning)
        .end();
}
