//! Names of files do not pair with what is in them.

use crate::rule::Signal;
use crate::rules::{SHOWN, in_data};
use crate::{Facts, Rule, Verdicts};
use covtap_model::finding::{Confidence, Evidence, Link, Safety, Severity};

/// The rule.
pub const RULE: Rule = Rule {
    number: 310,
    slug: "wrong-meta-hash",
    link: Link::Data,
    severity: Severity::Error,
    files_only: true,
    title: "names of files do not pair with what is in them",
    checks: "The hash in the name of each file against the one in its header.",
    why: "Go's tool pairs files by their names. A file that was renamed, or copied over another build's, is read with the wrong meta-data or not at all.",
    evidence: &[Signal::Data],
    fix: "Copy the files with their own names.",
    safety: Safety::Manual,
    references: &["https://go.dev/doc/build-cover"],
    explains: &["meta-removed", "bad-record"],
    check,
};

fn check(facts: &Facts, verdicts: &mut Verdicts) {
    for data in &facts.data {
        let differs = |tag: &str, hash: &Option<String>| match hash {
            Some(hash) => hash != tag,
            None => false,
        };
        let inside =
            |hash: &Option<String>| format!("hash {} inside", hash.as_deref().unwrap_or("unknown"));
        let builds = data
            .builds
            .iter()
            .filter(|build| differs(&build.tag, &build.hash));
        let builds = builds.map(|build| in_data(data, &build.file, inside(&build.hash)));
        // A counter file whose build is not here at all has a rule of its own.
        let counters = data
            .counters
            .iter()
            .filter(|file| differs(&file.tag, &file.hash));
        let counters = counters.map(|file| in_data(data, &file.file, inside(&file.hash)));
        let evidence: Vec<Evidence> = builds.chain(counters).take(SHOWN).collect();
        if evidence.is_empty() {
            let pair = data
                .counters
                .iter()
                .find(|file| file.hash.as_ref() == Some(&file.tag));
            let pair =
                pair.map(|file| in_data(data, &file.file, "the hash of its name, inside too"));
            verdicts.clear(
                &RULE,
                &data.directory,
                "the names of the files are those of their contents",
                pair.into_iter().collect(),
            );
            continue;
        }
        verdicts
            .found(
                &RULE,
                &data.directory,
                Confidence::Certain,
                "files have names that do not fit their contents: they are paired with the wrong build",
                evidence,
            )
            .end();
    }
}
