//! A filter of the profile matches nothing, or more than it was meant to.

use crate::rule::Signal;
use crate::tree::{line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 410,
    slug: "filter-wrong",
    link: Link::Report,
    severity: Severity::Warning,
    files_only: false,
    title: "a filter of the profile matches nothing, or more than it was meant to",
    checks: "Patterns that take lines out of a text profile: `grep -v` on profiles.",
    why: "A line of a profile is `package/file.go:12.3,14.5 2 1`: a pattern with `file.go/` never matches, and a bare word takes out whatever has it anywhere.",
    evidence: &[Signal::Data, Signal::Repository],
    fix: "Match to the colon, `file\\.go:`, or exclude files by `covtap report --exclude GLOB`.",
    safety: Safety::Review,
    references: &["https://github.com/golang/go/blob/master/src/cmd/cover/doc.go"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    for step in tree
        .steps()
        .filter(|s| matches!(s.program(), "grep" | "egrep"))
    {
        let inverted = step
            .words
            .iter()
            .any(|w| w.starts_with('-') && !w.starts_with("--") && w.contains('v'))
            || step.says("--invert-match");
        let of_profile = step.words.iter().chain(&step.output).any(|w| {
            (w.contains("cov") || w.contains("profile"))
                && (w.contains(".out") || w.contains(".txt"))
        });
        if !inverted || !of_profile {
            continue;
        }
        let pattern = step.words.iter().skip(1).find(|w| !w.starts_with('-'));
        if let Some(pattern) = pattern.filter(|p| p.contains(".go/")) {
            let cause = format!(
                "{pattern} never matches: in a profile a file's name is followed by a colon"
            );
            verdicts
                .found(
                    &RULE,
                    &step.place.file,
                    Confidence::Certain,
                    cause,
                    vec![line(step)],
                )
                .end();
        } else if let Some(pattern) = pattern.filter(|p| {
            matches!(
                p.as_str(),
                "/pkg/" | "pkg/" | "/internal/" | "/cmd/" | "cmd/" | "internal/"
            )
        }) {
            let cause =
                format!("{pattern} takes every file out that has it in its path, services too");
            verdicts
                .found(
                    &RULE,
                    &step.place.file,
                    Confidence::Likely,
                    cause,
                    vec![line(step)],
                )
                .end();
        }
    }
}
