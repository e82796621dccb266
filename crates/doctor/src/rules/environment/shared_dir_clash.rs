//! Several programs or modes write to one directory.

use crate::rule::Signal;
use crate::rules::in_data;
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 122,
    slug: "shared-dir-clash",
    link: Link::Data,
    severity: Severity::Warning,
    files_only: true,
    title: "several programs or modes write to one directory",
    checks: "Main packages and modes of the meta-data files of one directory.",
    why: "Go keeps programs apart by their hash, and merging still fails as soon as their modes differ. Tools that name files otherwise overwrite each other.",
    evidence: &[Signal::Data, Signal::Repository],
    fix: "Give each program a directory of its own, and build all with one mode.",
    safety: Safety::Safe,
    references: &["https://go.dev/doc/build-cover"],
    explains: &[],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let builds = || {
            data.builds
                .iter()
                .filter_map(|build| Some((build, build.main()?, build.mode?)))
        };
        let clash = builds().any(|(_, main, mode)| {
            builds().any(|(_, other, others)| other.path != main.path && others != mode)
        });
        if !clash {
            continue;
        }
        let evidence: Vec<Evidence> = builds()
            .map(|(build, main, mode)| {
                in_data(
                    data,
                    &build.file,
                    format!("program {}, mode {}", main.path, mode.word()),
                )
            })
            .collect();
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Certain,
                "programs of differing modes write to this directory",
                evidence,
            )
            .end();
    }
}
