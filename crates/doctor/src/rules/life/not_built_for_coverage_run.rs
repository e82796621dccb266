//! The run starts another program than the one that was built with coverage.

use crate::rule::Signal;
use crate::tree::{is_go_build, line, says_cover, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{Step, is_open};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 216,
    slug: "not-built-for-coverage-run",
    link: Link::Run,
    severity: Severity::Error,
    files_only: false,
    title: "the run starts another program than the one that was built with coverage",
    checks: "Where builds with `-cover` put their program, against what is started with GOCOVERDIR.",
    why: "Two targets, two output paths: the covered binary lies beside the one that the tests start.",
    evidence: &[Signal::Node, Signal::Repository],
    fix: "Start the program that was built with coverage, or build that one with coverage.",
    safety: Safety::Review,
    references: &["https://go.dev/doc/build-cover"],
    explains: &["not-instrumented"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let clean = |path: &str| path.trim_start_matches("./").to_owned();
    let started = |s: &Step| !s.call && s.environment.iter().any(|(n, _)| n == "GOCOVERDIR");
    if !tree.steps().any(started) {
        return;
    }
    for flow in tree.roots() {
        let steps = tree.expanded(flow);
        let covered = |s: &&&Step| {
            let flags = s.environment.iter().map(|(_, v)| v.as_str());
            is_go_build(s) && says_cover(flags.chain(s.words.iter().map(String::as_str)))
        };
        let builds: Vec<&&Step> = steps.iter().filter(covered).collect();
        let outputs: Vec<String> = builds
            .iter()
            .filter_map(|s| s.flag(&["-o"]))
            .map(clean)
            .collect();
        if outputs.is_empty() || outputs.len() < builds.len() || outputs.iter().any(|o| is_open(o))
        {
            continue;
        }
        for started in steps.iter().filter(|s| {
            !s.call
                && s.words[0].contains('/')
                && s.environment.iter().any(|(n, _)| n == "GOCOVERDIR")
        }) {
            let program = clean(&started.words[0]);
            let base = |p: &str| p.rsplit('/').next().unwrap_or(p).to_owned();
            if is_open(&program)
                || outputs.iter().any(|o| {
                    *o == program
                        || base(o) == base(&program)
                        || (o.ends_with('/') && program.starts_with(o.as_str()))
                })
            {
                continue;
            }
            let made_plain = steps
                .iter()
                .any(|s| is_go_build(s) && s.flag(&["-o"]).is_some_and(|o| clean(o) == program));
            if made_plain {
                continue;
            }
            let mut evidence = vec![line(started)];
            evidence.extend(builds.iter().take(2).map(|b| line(b)));
            let cause = format!(
                "{program} is started, and {} was built with coverage",
                outputs.join(", ")
            );
            verdicts
                .found(&RULE, program, Confidence::Likely, cause, evidence)
                .end();
        }
    }
}
