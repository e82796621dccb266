//! From verdicts to a diagnosis: the root cause first, what follows from it under it.

use std::collections::BTreeSet;

use covtap_model::finding::{
    Consequence, Diagnosis, Finding, Link, LinkState, Route, SCHEMA, Severity, State, Subject,
};

use crate::{Facts, Rule, Verdicts, rules};

/// Looks with all rules.
#[must_use]
pub fn diagnose(facts: &Facts) -> Diagnosis {
    let mut verdicts = Verdicts::default();
    for rule in rules::all() {
        (rule.check)(facts, &mut verdicts);
    }
    arrange(facts.route(), verdicts, rules::all())
}

fn arrange(route: Route, verdicts: Verdicts, rules: &[&Rule]) -> Diagnosis {
    let Verdicts {
        findings,
        cleared,
        unknown,
    } = verdicts;
    let rule_of = |slug: &str| rules.iter().find(|rule| rule.slug == slug);
    let mut findings: Vec<Finding> = findings
        .into_iter()
        .map(|mut finding| {
            let unused =
                route == Route::Tap && rule_of(&finding.rule).is_some_and(|rule| rule.files_only);
            if unused {
                finding.severity = Severity::Info;
            }
            finding
        })
        .collect();
    // The first broken link of the worst kind leads; a sure finding leads an unsure one.
    findings.sort_by(|a, b| {
        let key = |f: &Finding| {
            (
                std::cmp::Reverse(f.severity),
                std::cmp::Reverse(f.confidence),
                f.link,
            )
        };
        let names = (&a.id, &a.subject).cmp(&(&b.id, &b.subject));
        key(a).cmp(&key(b)).then(names)
    });
    findings.dedup_by(|later, first| {
        later.rule == first.rule && later.subject == first.subject && later.cause == first.cause
    });
    let findings = fold(findings, |slug| {
        rule_of(slug).map_or(&[], |rule| rule.explains)
    });

    let mut names: Vec<String> = Vec::new();
    let all = findings.iter().map(|f| &f.subject);
    let all = all.chain(unknown.iter().map(|u| &u.subject));
    for name in all.chain(cleared.iter().map(|c| &c.subject)) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let subjects = names
        .into_iter()
        .map(|name| {
            let broken = links(&findings, &name, |f| {
                (f.severity > Severity::Info).then_some((&f.subject, f.link))
            });
            let open = links(&unknown, &name, |u| Some((&u.subject, u.link)));
            let sound = links(&cleared, &name, |c| Some((&c.subject, c.link)));
            let first = findings
                .iter()
                .filter(|f| f.subject == name && f.severity == Severity::Error)
                .map(|f| f.link)
                .min();
            Subject {
                chain: chain(&broken, &open, &sound, first),
                name,
            }
        })
        .collect();
    Diagnosis {
        schema: SCHEMA.to_owned(),
        route,
        subjects,
        findings,
        cleared,
        unknown,
    }
}

/// Puts findings that follow from another one of the same subject under it.
fn fold(
    findings: Vec<Finding>,
    explains: impl Fn(&str) -> &'static [&'static str],
) -> Vec<Finding> {
    let is_explained = |finding: &Finding| {
        findings.iter().any(|other| {
            other.subject == finding.subject
                && other.severity >= finding.severity
                && explains(&other.rule).contains(&finding.rule.as_str())
                // Two rules that explain each other would both be gone.
                && !explains(&finding.rule).contains(&other.rule.as_str())
        })
    };
    let explained: Vec<bool> = findings.iter().map(is_explained).collect();
    let mut roots: Vec<Finding> = Vec::new();
    let mut rest = Vec::new();
    for (finding, explained) in findings.into_iter().zip(explained) {
        if explained { &mut rest } else { &mut roots }.push(finding);
    }
    for finding in rest {
        let of_subject = |root: &Finding| root.subject == finding.subject;
        let by = |root: &Finding| {
            of_subject(root) && explains(&root.rule).contains(&finding.rule.as_str())
        };
        // What explains it may follow from something else itself.
        let root = roots
            .iter()
            .position(by)
            .or_else(|| roots.iter().position(of_subject));
        match root {
            Some(root) => roots[root].consequences.push(Consequence {
                rule: finding.rule,
                cause: finding.cause,
                evidence: finding.evidence,
            }),
            None => roots.push(finding),
        }
    }
    roots
}

fn links<T>(
    all: &[T],
    subject: &str,
    about: impl Fn(&T) -> Option<(&String, Link)>,
) -> BTreeSet<Link> {
    all.iter()
        .filter_map(about)
        .filter(|(name, _)| *name == subject)
        .map(|(_, link)| link)
        .collect()
}

const CHAIN: [Link; 12] = [
    Link::Build,
    Link::Image,
    Link::Manifest,
    Link::Mount,
    Link::Environment,
    Link::Permission,
    Link::Run,
    Link::Shutdown,
    Link::Flush,
    Link::Copy,
    Link::Data,
    Link::Report,
];

fn chain(
    broken: &BTreeSet<Link>,
    open: &BTreeSet<Link>,
    sound: &BTreeSet<Link>,
    first_error: Option<Link>,
) -> Vec<LinkState> {
    CHAIN
        .into_iter()
        .filter_map(|link| {
            let state = if broken.contains(&link) {
                State::Broken
            } else if open.contains(&link) {
                State::Unknown
            } else if sound.contains(&link) {
                State::Sound
            } else if first_error.is_some_and(|first| first < link) {
                State::NotReached
            } else {
                return None;
            };
            Some(LinkState { link, state })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Signal;
    use covtap_model::finding::{Confidence, Evidence, Safety};

    const fn rule(
        number: u16,
        slug: &'static str,
        link: Link,
        explains: &'static [&'static str],
    ) -> Rule {
        Rule {
            number,
            slug,
            link,
            severity: Severity::Error,
            files_only: !matches!(link, Link::Build),
            title: "",
            checks: "",
            why: "",
            evidence: &[Signal::Logs],
            fix: "mend it",
            safety: Safety::Review,
            references: &[],
            explains,
            check: |_, _| {},
        }
    }

    static BUILD: Rule = rule(1, "unbuilt", Link::Build, &["unwritten"]);
    static WRITABLE: Rule = rule(101, "unwritable", Link::Permission, &["unwritten"]);
    static WRITTEN: Rule = rule(201, "unwritten", Link::Flush, &[]);
    static RULES: [&Rule; 3] = [&BUILD, &WRITABLE, &WRITTEN];

    fn seen() -> Vec<Evidence> {
        vec![Evidence::new("Dockerfile:3", "go build")]
    }

    fn fire(verdicts: &mut Verdicts, rule: &Rule, subject: &str, confidence: Confidence) {
        verdicts
            .found(rule, subject, confidence, "a cause", seen())
            .end();
    }

    fn slugs(diagnosis: &Diagnosis) -> Vec<&str> {
        diagnosis.findings.iter().map(|f| f.rule.as_str()).collect()
    }

    #[test]
    fn the_root_leads_and_what_follows_from_it_is_under_it() {
        let mut verdicts = Verdicts::default();
        fire(&mut verdicts, &WRITTEN, "api", Confidence::Certain);
        fire(&mut verdicts, &WRITABLE, "api", Confidence::Certain);
        fire(&mut verdicts, &WRITTEN, "db", Confidence::Certain);
        let diagnosis = arrange(Route::Files, verdicts, &RULES);
        assert_eq!(slugs(&diagnosis), ["unwritable", "unwritten"]);
        let root = &diagnosis.findings[0];
        assert_eq!(root.id, "CT101");
        assert_eq!(root.consequences[0].rule, "unwritten");
        // Another subject's has a cause of its own.
        assert_eq!(diagnosis.findings[1].subject, "db");
    }

    #[test]
    fn what_is_proved_leads_what_is_possible() {
        let mut verdicts = Verdicts::default();
        fire(&mut verdicts, &BUILD, "api", Confidence::Possible);
        fire(&mut verdicts, &WRITABLE, "api", Confidence::Certain);
        let diagnosis = arrange(Route::Files, verdicts, &RULES);
        assert_eq!(slugs(&diagnosis), ["unwritable", "unbuilt"]);
    }

    #[test]
    fn links_of_a_route_that_is_not_in_use_are_worth_knowing_no_more() {
        let mut verdicts = Verdicts::default();
        fire(&mut verdicts, &WRITABLE, "api", Confidence::Certain);
        fire(&mut verdicts, &BUILD, "web", Confidence::Certain);
        let diagnosis = arrange(Route::Tap, verdicts, &RULES);
        assert_eq!(slugs(&diagnosis), ["unbuilt", "unwritable"]);
        assert_eq!(diagnosis.findings[0].severity, Severity::Error);
        assert_eq!(diagnosis.findings[1].severity, Severity::Info);
    }

    #[test]
    fn the_chain_says_what_is_sound_broken_and_not_reached() {
        let mut verdicts = Verdicts::default();
        verdicts.clear(&BUILD, "api", "it is instrumented", seen());
        verdicts.unknown(&WRITTEN, "api", "nobody has looked");
        fire(&mut verdicts, &WRITABLE, "api", Confidence::Certain);
        let diagnosis = arrange(Route::Files, verdicts, &RULES);
        let chain = &diagnosis.subjects[0].chain;
        let states: Vec<_> = chain.iter().map(|l| (l.link, l.state)).collect();
        assert_eq!(
            states,
            [
                (Link::Build, State::Sound),
                (Link::Permission, State::Broken),
                (Link::Run, State::NotReached),
                (Link::Shutdown, State::NotReached),
                (Link::Flush, State::Unknown),
                (Link::Copy, State::NotReached),
                (Link::Data, State::NotReached),
                (Link::Report, State::NotReached),
            ]
        );
    }

    #[test]
    fn without_evidence_nothing_is_said() {
        let mut verdicts = Verdicts::default();
        verdicts
            .found(&BUILD, "api", Confidence::Certain, "a cause", Vec::new())
            .end();
        verdicts.clear(&WRITABLE, "api", "it may write", Vec::new());
        let diagnosis = arrange(Route::Files, verdicts, &RULES);
        assert!(diagnosis.findings.is_empty() && diagnosis.cleared.is_empty());
    }
}
