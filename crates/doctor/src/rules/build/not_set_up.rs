//! Nothing here asks for coverage of running programs.

use crate::rule::Signal;
use crate::tree::without_intent;
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 99,
    slug: "not-set-up",
    link: Link::Build,
    severity: Severity::Info,
    files_only: false,
    title: "nothing here asks for coverage of running programs",
    checks: "Dockerfiles, manifests, Makefiles, workflows, scripts and test code: a build with `-cover`, GOCOVERDIR, `go tool covdata`, the coverage API.",
    why: "Coverage of services under end-to-end tests has to be asked for once, where they are built.",
    evidence: &[Signal::Repository],
    fix: "`covtap wire` shows a diff that sets it up; `covtap build` and `covtap run` need no change of the repository.",
    safety: Safety::Safe,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    let Some(tree) = without_intent(facts) else {
        return;
    };
    let looked = format!(
        "{} files, {} Dockerfiles, {} workloads: nothing builds with -cover or names GOCOVERDIR",
        tree.repository.files,
        tree.repository.dockerfiles.len(),
        tree.repository.workloads.len()
    );
    let cause = "coverage of what runs is not set up here";
    verdicts
        .found(
            &RULE,
            ".",
            Confidence::Certain,
            cause,
            vec![Evidence::new(".", looked)],
        )
        .end();
}
