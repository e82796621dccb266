//! Continuous mode without counter relocation.

use crate::rule::Signal;
use crate::rules::logged;
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 20,
    slug: "llvm-no-continuous-mode",
    link: Link::Flush,
    severity: Severity::Error,
    files_only: true,
    title: "continuous mode without counter relocation",
    checks: "LLVM's messages about continuous mode (`%c` in LLVM_PROFILE_FILE).",
    why: "With `%c` the counters are mapped into the file. Where the compiler did not relocate them (`-mllvm -runtime-counter-relocation`), the runtime gives up and writes nothing at all.",
    evidence: &[Signal::Logs, Signal::Binary],
    fix: "Build with `-Cllvm-args=--runtime-counter-relocation` (clang: `-mllvm -runtime-counter-relocation`), or take `%c` out.",
    safety: Safety::Safe,
    references: &["https://clang.llvm.org/docs/SourceBasedCodeCoverage.html"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::NoContinuousMode],
        "LLVM's runtime wrote nothing: continuous mode (%c) needs counters that can be relocated",
    );
}
