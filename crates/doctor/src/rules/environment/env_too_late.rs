//! The program sets GOCOVERDIR itself: the runtime has read it before.

use crate::rule::Signal;
use crate::tree::{at, tree};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::repository::Call;
use covtap_model::finding::{Confidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 103,
    slug: "env-too-late",
    link: Link::Environment,
    severity: Severity::Error,
    files_only: true,
    title: "the program sets GOCOVERDIR itself: the runtime has read it before",
    checks: "Calls of `os.Setenv` with GOCOVERDIR in a program, tests left out.",
    why: "The runtime reads GOCOVERDIR before main and before any init function. What the program sets afterwards counts for its children only.",
    evidence: &[Signal::Data, Signal::Repository],
    fix: "Set GOCOVERDIR from outside: on the container, or where the program is started.",
    safety: Safety::Review,
    references: &[
        "https://go.dev/doc/build-cover",
        "https://github.com/golang/go/blob/master/src/internal/coverage/cfile/emit.go",
    ],
    explains: &["env-missing"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = tree(facts) else { return };
    for package in tree.repository.packages.iter().filter(|p| p.main.is_some()) {
        let sets = |c: &&Call| {
            c.name == "os.Setenv" && c.arguments.first().is_some_and(|a| a == "GOCOVERDIR")
        };
        // What starts programs sets it for them.
        let starts = package.imports.iter().any(|i| i == "os/exec");
        for call in package.calls.iter().filter(sets).filter(|_| !starts) {
            let from_outside = tree.services.iter().any(|s| s.directory().is_some());
            let severity = if from_outside {
                Severity::Info
            } else {
                RULE.severity
            };
            let cause = "the program sets GOCOVERDIR when the runtime has already read it";
            let evidence = vec![at(
                &call.place,
                format!("os.Setenv({})", call.arguments.join(", ")),
            )];
            verdicts
                .found(&RULE, &package.folder, Confidence::Certain, cause, evidence)
                .severity(severity)
                .end();
        }
    }
}
