//! -coverpkg leaves out package main: nothing writes at the end.

use crate::rule::Signal;
use crate::tree::{is_go_build, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::{Instruction, is_open};
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 8,
    slug: "coverpkg-misses-main",
    link: Link::Flush,
    severity: Severity::Error,
    files_only: true,
    title: "-coverpkg leaves out package main: nothing writes at the end",
    checks: "The patterns of `-coverpkg` against the package that is built; in a binary: counters without the exit hook.",
    why: "The hook that writes the files is linked into package main only if main itself is covered. Without it the program counts and never writes, without a warning. Its memory can still be read.",
    evidence: &[Signal::Binary, Signal::Repository],
    fix: "Let -coverpkg match the main package too: `-coverpkg=./...`.",
    safety: Safety::Review,
    references: &["https://go.dev/doc/build-cover"],
    explains: &["never-collected"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    let in_images = tree
        .repository
        .dockerfiles
        .iter()
        .flat_map(|d| &d.stages)
        .flat_map(|s| &s.instructions)
        .filter_map(|i| match i {
            Instruction::Run(step) => Some(step),
            _ => None,
        });
    for step in in_images.chain(tree.steps()).filter(|s| is_go_build(s)) {
        let Some(patterns) = step.flag(&["-coverpkg", "--coverpkg"]) else {
            continue;
        };
        let main = step
            .words
            .last()
            .filter(|w| w.starts_with("./") || *w == ".")
            .map(|w| w.trim_end_matches('/'));
        let Some(main) = main.filter(|_| !is_open(patterns)) else {
            continue;
        };
        let main = main
            .strip_suffix(".go")
            .and_then(|m| m.rsplit_once('/'))
            .map_or(main, |(folder, _)| folder);
        let module = tree
            .repository
            .modules
            .first()
            .map(|m| m.path.as_str())
            .unwrap_or_default();
        let matches = patterns.split(',').any(|p| matches(p.trim(), main, module));
        let subject = tree.subject(step);
        if matches {
            verdicts.clear(
                &RULE,
                subject,
                "-coverpkg matches package main too",
                vec![line(step)],
            );
        } else if !main.contains("...") {
            let cause = format!(
                "-coverpkg={patterns} does not match {main}, the main package: the program never writes its counters"
            );
            verdicts
                .found(&RULE, subject, Confidence::Certain, cause, vec![line(step)])
                .end();
        }
    }
}

/// Whether a pattern of packages has a folder in it.
fn matches(pattern: &str, folder: &str, module: &str) -> bool {
    if matches!(pattern, "all" | "main") {
        return true;
    }
    let own = match pattern.strip_prefix(module).filter(|_| !module.is_empty()) {
        Some(rest) => format!(".{rest}"),
        None => pattern.to_owned(),
    };
    match own.strip_suffix("/...").or_else(|| own.strip_suffix("...")) {
        Some(prefix) => {
            folder == prefix
                || prefix == "."
                || folder.starts_with(&format!("{}/", prefix.trim_end_matches('/')))
        }
        None => folder == own,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        assert!(matches("./...", "./cmd/api", "m"));
        assert!(matches("m/...", "./cmd/api", "m"));
        assert!(matches("./cmd/api", "./cmd/api", "m"));
        assert!(matches("./cmd/...", "./cmd/api", "m"));
        assert!(!matches("./pkg/...", "./cmd/api", "m"));
        assert!(!matches("m/internal/...", "./cmd/api", "m"));
    }
}
