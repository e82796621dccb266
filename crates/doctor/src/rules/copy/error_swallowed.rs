//! A failed copy or an empty directory goes unnoticed.

use crate::rule::Signal;
use crate::tree::{Act, act, concerns_coverage, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 307,
    slug: "error-swallowed",
    link: Link::Copy,
    severity: Severity::Warning,
    files_only: true,
    title: "a failed copy or an empty directory goes unnoticed",
    checks: "Steps that copy or read coverage files: `|| :`, a pipe, `-` before a recipe line, an error that goes to `_`.",
    why: "The job stays green without data, and nobody learns which step failed first.",
    evidence: &[Signal::Repository],
    fix: "Let the step fail, or check that the directory has files afterwards: `covtap run` ends with code 3 or 4 where data are missing.",
    safety: Safety::Review,
    references: &["https://www.gnu.org/software/bash/manual/html_node/Pipelines.html"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts).filter(|t| t.wants_files()) else {
        return;
    };
    let mut told = Vec::new();
    for step in tree.steps() {
        let copies = act(step) == Some(Act::Copy);
        let reads = step.runs(&["go", "tool", "covdata", "textfmt"])
            || step.runs(&["go", "tool", "covdata", "merge"]);
        let Some(how) = step.ignored.as_deref().filter(|_| copies || reads) else {
            continue;
        };
        let subject = tree.subject(step);
        if told.contains(&subject)
            || step
                .condition
                .as_deref()
                .is_some_and(|c| c.ends_with("fails"))
        {
            continue;
        }
        // What checks for files afterwards has noticed.
        let checked = tree.steps().any(|s| {
            matches!(s.program(), "ls" | "test" | "find" | "compgen")
                && s.place.file == step.place.file
                && s.place.line > step.place.line
                && concerns_coverage(s)
        });
        let (confidence, severity) =
            match checked || how.starts_with('|') && !how.starts_with("|| ") {
                true => (Confidence::Possible, Severity::Info),
                false => (Confidence::Likely, RULE.severity),
            };
        told.push(subject.clone());
        let cause = format!("whether this succeeds is not looked at: {how}");
        verdicts
            .found(&RULE, subject, confidence, cause, vec![line(step)])
            .severity(severity)
            .end();
    }
}
