//! The catalogue: one file a rule, in folders by where the cause lies.

pub mod build;
pub mod copy;
pub mod environment;
pub mod life;
pub mod report;

use std::sync::LazyLock;

use covtap_model::facts::data::{Damage, DamageKind, Data};
use covtap_model::facts::log::{Log, Said};
use covtap_model::finding::{Confidence, Evidence};

use crate::{Facts, Rule, Verdicts};

/// All rules, in the order of their numbers.
#[must_use]
pub fn all() -> &'static [&'static Rule] {
    static ALL: LazyLock<Vec<&Rule>> = LazyLock::new(|| {
        [
            build::RULES,
            environment::RULES,
            life::RULES,
            copy::RULES,
            report::RULES,
        ]
        .concat()
    });
    &ALL
}

/// The rule of a name or number: `env-missing`, `CT101`.
#[must_use]
pub fn find(word: &str) -> Option<&'static Rule> {
    all()
        .iter()
        .find(|rule| rule.slug == word || rule.id().eq_ignore_ascii_case(word))
        .copied()
}

/// Most pieces of evidence of one kind that a finding shows.
const SHOWN: usize = 5;

/// Something observed in a file of a coverage directory.
fn in_data(data: &Data, file: &str, what: impl Into<String>) -> Evidence {
    let directory = data.directory.trim_end_matches('/');
    Evidence::new(format!("{directory}/{file}"), what)
}

/// The logs that say one of these, each with its lines that do.
fn said<'a>(facts: &'a Facts, which: &[Said]) -> Vec<(&'a Log, Vec<Evidence>)> {
    let logs = facts.logs.iter().map(|log| {
        let lines = log.lines.iter().filter(|line| which.contains(&line.said));
        let evidence = lines
            .map(|line| Evidence::new(format!("{}:{}", log.place, line.number), &line.text))
            .collect();
        (log, evidence)
    });
    logs.filter(|(_, evidence): &(_, Vec<_>)| !evidence.is_empty())
        .collect()
}

/// Finds what logs say that proves the rule's cause by itself.
fn logged(rule: &Rule, facts: &Facts, verdicts: &mut Verdicts, which: &[Said], cause: &str) {
    for (log, evidence) in said(facts, which) {
        verdicts
            .found(rule, &log.subject, Confidence::Certain, cause, evidence)
            .end();
    }
}

/// Finds damage of these kinds in files, or clears what was read and is sound.
fn damaged(rule: &Rule, facts: &Facts, verdicts: &mut Verdicts, kinds: &[DamageKind], cause: &str) {
    for data in &facts.data {
        let builds = data.builds.iter().map(|build| (&build.file, &build.damage));
        let counters = data.counters.iter().map(|file| (&file.file, &file.damage));
        let files: Vec<(&String, &Vec<Damage>)> = builds.chain(counters).collect();
        let evidence: Vec<Evidence> = files
            .iter()
            .flat_map(|(file, damage)| damage.iter().map(move |damage| (file, damage)))
            .filter(|(_, damage)| kinds.contains(&damage.kind))
            .take(SHOWN)
            .map(|(file, damage)| {
                in_data(data, file, format!("byte {}: {}", damage.at, damage.what))
            })
            .collect();
        if evidence.is_empty() {
            let read = format!("{} file(s) read to their end", files.len());
            let read = (!files.is_empty()).then(|| Evidence::new(&data.directory, read));
            let because = "every file is whole and fits its meta-data";
            verdicts.clear(rule, &data.directory, because, read.into_iter().collect());
            continue;
        }
        verdicts
            .found(rule, &data.directory, Confidence::Certain, cause, evidence)
            .end();
    }
}

#[cfg(test)]
mod tests {
    use super::{all, find};

    #[test]
    fn numbers_and_names_are_each_used_once_and_in_order() {
        let numbers: Vec<u16> = all().iter().map(|rule| rule.number).collect();
        assert!(
            numbers.windows(2).all(|pair| pair[0] < pair[1]),
            "{numbers:?}"
        );
        let mut names: Vec<&str> = all().iter().map(|rule| rule.slug).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn a_rule_says_all_of_itself() {
        for rule in all() {
            for text in [rule.title, rule.checks, rule.why, rule.fix] {
                assert!(!text.is_empty(), "{}", rule.slug);
            }
            assert!(!rule.evidence.is_empty(), "{}", rule.slug);
            assert!(!rule.title.ends_with('.'), "{}", rule.slug);
            assert!(!rule.explains.contains(&rule.slug), "{}", rule.slug);
        }
    }

    #[test]
    fn a_rule_is_found_by_its_name_and_by_its_number() {
        assert_eq!(find("env-missing").unwrap().number, 101);
        assert_eq!(find("ct101").unwrap().slug, "env-missing");
        assert!(find("env").is_none());
    }
}
