//! Go's covdata is not in the toolchain.

use crate::rule::Signal;
use crate::rules::logged;
use crate::tree::{at, line, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::facts::repository::Instruction;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 407,
    slug: "toolchain-missing",
    link: Link::Report,
    severity: Severity::Error,
    files_only: true,
    title: "Go's covdata is not in the toolchain",
    checks: "The line `go: no such tool \"covdata\"`.",
    why: "From Go 1.25 on the tool is built when it is first used, which images without sources or caches cannot do.",
    evidence: &[Signal::Logs, Signal::Repository],
    fix: "Use `covtap covdata`, which needs no Go, or install the tool: `go build -o \"$(go env GOTOOLDIR)\" cmd/covdata`.",
    safety: Safety::Safe,
    references: &["https://github.com/golang/go/issues/75031"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_repository(facts, verdicts);
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::NoCovdata],
        "the toolchain has no covdata: nothing turned the files into a report",
    );
}

fn of_repository(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    for dockerfile in &tree.repository.dockerfiles {
        for stage in &dockerfile.stages {
            let tag = stage.base.rsplit(':').next().unwrap_or_default();
            let minor = tag
                .strip_prefix("1.")
                .and_then(|t| t.split(['.', '-']).next())
                .and_then(|t| t.parse::<u32>().ok());
            let steps: Vec<_> = stage
                .instructions
                .iter()
                .filter_map(|i| match i {
                    Instruction::Run(step) => Some(step),
                    _ => None,
                })
                .collect();
            let Some(uses) = steps.iter().find(|s| s.runs(&["go", "tool", "covdata"])) else {
                continue;
            };
            let built = steps.iter().any(|s| s.says("cmd/covdata"));
            // From Go 1.25 on the tool is built when it is needed, out of sources that some images lack.
            if stage.base.contains("golang") && minor.is_some_and(|m| m >= 25) && !built {
                verdicts.clear(
                    &RULE,
                    &dockerfile.file,
                    "the image has Go's sources, of which the tool is built",
                    vec![at(&stage.place, &stage.base), line(uses)],
                );
            } else if !stage.base.contains("go")
                && stage.from.is_none()
                && !steps
                    .iter()
                    .any(|s| s.says("golang") || s.says("go.dev/dl"))
            {
                let cause = format!("`go tool covdata` runs in {}, which has no Go", stage.base);
                verdicts
                    .found(
                        &RULE,
                        &dockerfile.file,
                        Confidence::Likely,
                        cause,
                        vec![at(&stage.place, &stage.base), line(uses)],
                    )
                    .end();
            }
        }
    }
}
