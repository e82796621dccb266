//! The language's coverage tool is not in the image.

use crate::rule::Signal;
use crate::rules::logged;
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 22,
    slug: "runtime-without-coverage",
    link: Link::Build,
    severity: Severity::Error,
    files_only: false,
    title: "the language's coverage tool is not in the image",
    checks: "Lines of logs: `No module named coverage`, `coverage: command not found`, a JaCoCo agent that cannot be opened.",
    why: "Coverage of Python, Node or Java comes from a tool or agent that has to be in the image and started with the program.",
    evidence: &[Signal::Logs, Signal::Binary],
    fix: "Install the tool in the image that the tests run (`pip install coverage`, the JaCoCo agent's jar), in a layer or a volume.",
    safety: Safety::Manual,
    references: &[
        "https://coverage.readthedocs.io/",
        "https://www.jacoco.org/jacoco/trunk/doc/agent.html",
    ],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::NoCoverageTool],
        "the coverage tool that the program is started with is not in its image",
    );
}
