//! Percentages are averaged or the largest is taken.

use crate::rule::Signal;
use crate::tree::{line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 412,
    slug: "wrong-merge-rule",
    link: Link::Report,
    severity: Severity::Warning,
    files_only: false,
    title: "percentages are averaged or the largest is taken",
    checks: "Commands that compute with the output of `go tool covdata percent` or `go tool cover -func`.",
    why: "The coverage of two runs together is that of the union of what they executed: neither the mean nor the larger of their percentages.",
    evidence: &[Signal::Repository],
    fix: "Merge the data and compute one percentage: `covtap merge`, or `go tool covdata merge`.",
    safety: Safety::Review,
    references: &["https://github.com/golang/go/issues/76309"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    for step in tree.steps() {
        let percent = step.runs(&["go", "tool", "covdata", "percent"])
            || (step.runs(&["go", "tool", "cover"]) && step.says("-func"));
        let Some(output) = step
            .output
            .as_deref()
            .filter(|o| percent && o.starts_with('|'))
        else {
            continue;
        };
        let averages = output.contains("awk")
            && (output.contains("/NR")
                || output.contains("/ NR")
                || output.contains("/n")
                || output.contains("/count")
                || output.contains("/ count"));
        let largest =
            output.contains("sort -n") && output.contains("head -1") || output.contains("max");
        if averages || largest {
            let cause = match averages {
                true => {
                    "the mean of percentages is no percentage of anything: packages differ in size"
                }
                false => "the largest percentage is not that of all together",
            };
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
