//! The coverage directory does not exist.

use crate::rule::Signal;
use crate::rules::logged;
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 105,
    slug: "dir-missing",
    link: Link::Mount,
    severity: Severity::Error,
    files_only: true,
    title: "the coverage directory does not exist",
    checks: "The directory that the process's GOCOVERDIR names, in its own file system, and Go's line `output directory … inaccessible`.",
    why: "No runtime makes the directory: without it nothing is written, with a line on standard error and the usual exit code.",
    evidence: &[Signal::Logs, Signal::Node, Signal::Repository],
    fix: "Make the directory: mount a volume at that path, or `mkdir` it in the image, owned by the user that runs.",
    safety: Safety::Safe,
    references: &[
        "https://go.dev/doc/build-cover",
        "https://github.com/golang/go/blob/master/src/internal/coverage/cfile/emit.go",
    ],
    explains: &["flush-failed"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::NoDirectory],
        "the directory that the process was told to write to is not there",
    );
}
