//! Text profiles that were joined.

use crate::rule::Signal;
use crate::rules::{SHOWN, in_data};
use crate::tree::{line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 408,
    slug: "text-concatenated",
    link: Link::Report,
    severity: Severity::Warning,
    files_only: true,
    title: "text profiles that were joined",
    checks: "`mode:` lines of text profiles: a whole one has one, in its first line.",
    why: "Profiles that are joined with cat hold several modes and the same blocks again: tools refuse them or count twice.",
    evidence: &[Signal::Data, Signal::Repository],
    fix: "Merge the data (`covtap covdata merge`, `go tool covdata merge`), then make one profile.",
    safety: Safety::Safe,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    of_data(facts, verdicts);
}

/// Blocks that come again are not enough: `go test -coverpkg` writes such profiles, and Go's tool reads them.
fn of_data(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let mut evidence = Vec::new();
        for text in &data.texts {
            for (line, mode) in text.modes.iter().filter(|(line, _)| *line > 1).take(SHOWN) {
                evidence.push(in_data(
                    data,
                    &format!("{}:{line}", text.file),
                    format!("mode: {mode}"),
                ));
            }
        }
        if evidence.is_empty() {
            let whole = data.texts.iter().filter(|text| text.units > 0);
            let whole = whole.map(|text| in_data(data, &text.file, "one mode, in its first line"));
            let because = "text profiles are whole";
            verdicts.clear(&RULE, &data.directory, because, whole.collect());
            continue;
        }
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Certain,
                "text profiles were joined: their mode stands in the middle, and blocks come again",
                evidence,
            )
            .end();
    }
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    for step in tree
        .steps()
        .filter(|s| matches!(s.program(), "cat" | "tail" | "awk"))
    {
        let profile = |w: &&String| {
            let w = w.to_ascii_lowercase();
            (w.contains("cov") || w.contains("profile"))
                && [".out", ".txt", ".cov", ".profile"]
                    .iter()
                    .any(|e| w.ends_with(e))
        };
        let from = step.words.iter().skip(1).filter(profile).count();
        let many = step
            .words
            .iter()
            .skip(1)
            .any(|w| w.contains('*') && w.to_ascii_lowercase().contains("cov"));
        let to = step
            .output
            .as_ref()
            .filter(|o| o.starts_with('>') && profile(o));
        let appends = to.is_some_and(|o| o.starts_with(">>"));
        // Lines of one block are added up by what comes behind a pipe.
        // Profiles of unit tests are their own business.
        let ours = tree
            .steps()
            .any(|s| s.place.file == step.place.file && s.runs(&["go", "tool", "covdata"]));
        if let Some(to) = to.filter(|_| ours && (from > 1 || (from > 0 && appends) || many)) {
            let cause = format!(
                "profiles are put behind each other {to}: blocks stand there twice, and so may the mode line"
            );
            verdicts
                .found(
                    &RULE,
                    &step.place.file,
                    Confidence::Likely,
                    cause,
                    vec![line(step)],
                )
                .severity(Severity::Warning)
                .end();
        }
    }
}
