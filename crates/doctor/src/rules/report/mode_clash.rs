//! Files of differing modes in one merge.

use crate::rule::Signal;
use crate::rules::{in_data, logged};
use crate::{Facts, Rule, Verdicts};
use covtap_model::facts::log::Said;
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 401,
    slug: "mode-clash",
    link: Link::Data,
    severity: Severity::Error,
    files_only: true,
    title: "files of differing modes in one merge",
    checks: "The mode in the header of each meta-data file.",
    why: "`set`, `count` and `atomic` cannot be added up. Go's tool ends with `counter mode clash` and gives nothing.",
    evidence: &[Signal::Data, Signal::Logs],
    fix: "Build all programs with one -covermode, or report the directories one by one.",
    safety: Safety::Safe,
    references: &["https://go.dev/doc/build-cover"],
    explains: &["shared-dir-clash", "version-skew"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    of_data(facts, verdicts);
    logged(
        &RULE,
        facts,
        verdicts,
        &[Said::ModeClash],
        "the merge failed: its files have differing modes",
    );
}

fn of_data(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let modes = data
            .builds
            .iter()
            .filter_map(|build| Some((build, build.mode?)));
        let evidence: Vec<Evidence> = modes
            .clone()
            .map(|(build, mode)| in_data(data, &build.file, format!("mode {}", mode.word())))
            .collect();
        let mut words: Vec<&str> = modes.map(|(_, mode)| mode.word()).collect();
        words.sort_unstable();
        words.dedup();
        if let [one] = words[..] {
            let because = format!("all builds have one mode, {one}");
            verdicts.clear(&RULE, &data.directory, because, evidence);
        } else if words.len() > 1 {
            verdicts
                .found(
                    &RULE,
                    &data.directory,
                    Confidence::Certain,
                    format!(
                        "files of the modes {} lie together: no tool adds them up",
                        words.join(" and ")
                    ),
                    evidence,
                )
                .end();
        }
    }
}
