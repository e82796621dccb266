//! What rules say.

use covtap_model::finding::{
    Cleared, Confidence, Evidence, Finding, Link, Safety, Severity, Unknown,
};

use crate::Rule;

/// What the rules have said so far.
#[derive(Debug, Default)]
pub struct Verdicts {
    pub(crate) findings: Vec<Finding>,
    pub(crate) cleared: Vec<Cleared>,
    pub(crate) unknown: Vec<Unknown>,
}

impl Verdicts {
    /// A rule fires. Without evidence nothing is said.
    pub fn found(
        &mut self,
        rule: &Rule,
        subject: impl Into<String>,
        confidence: Confidence,
        cause: impl Into<String>,
        evidence: Vec<Evidence>,
    ) -> Fired<'_> {
        let finding = Finding {
            rule: rule.slug.to_owned(),
            id: rule.id(),
            severity: rule.severity,
            confidence,
            link: rule.link,
            subject: subject.into(),
            cause: cause.into(),
            evidence,
            fix: rule.fix.to_owned(),
            safety: rule.safety,
            diff: None,
            consequences: Vec::new(),
        };
        if finding.evidence.is_empty() {
            return Fired(None);
        }
        self.findings.push(finding);
        Fired(self.findings.last_mut())
    }

    /// The suspect that the rule looks for is innocent.
    pub fn clear(
        &mut self,
        rule: &Rule,
        subject: impl Into<String>,
        because: impl Into<String>,
        evidence: Vec<Evidence>,
    ) {
        self.clear_suspect(rule.slug, rule.link, subject, because, evidence);
    }

    /// A suspect that no rule looks for, since it is always innocent (`symbols-stripped`), was looked at.
    pub fn clear_suspect(
        &mut self,
        name: &str,
        link: Link,
        subject: impl Into<String>,
        because: impl Into<String>,
        evidence: Vec<Evidence>,
    ) {
        if evidence.is_empty() {
            return;
        }
        self.cleared.push(Cleared {
            rule: name.to_owned(),
            subject: subject.into(),
            link,
            because: because.into(),
            evidence,
        });
    }

    /// It cannot be decided.
    pub fn unknown(&mut self, rule: &Rule, subject: impl Into<String>, because: impl Into<String>) {
        self.unknown.push(Unknown {
            rule: rule.slug.to_owned(),
            subject: subject.into(),
            link: rule.link,
            because: because.into(),
        });
    }
}

/// A finding that was just made, to be told more of.
pub struct Fired<'a>(Option<&'a mut Finding>);

impl Fired<'_> {
    fn with(mut self, what: impl FnOnce(&mut Finding)) -> Self {
        if let Some(finding) = &mut self.0 {
            what(finding);
        }
        self
    }

    /// It costs something else than usually.
    #[must_use]
    pub fn severity(self, severity: Severity) -> Self {
        self.with(|finding| finding.severity = severity)
    }

    /// What to do here, better than in general.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>, safety: Safety) -> Self {
        self.with(|finding| {
            finding.fix = fix.into();
            finding.safety = safety;
        })
    }

    /// The fix as a unified diff.
    #[must_use]
    pub fn diff(self, diff: impl Into<String>) -> Self {
        self.with(|finding| finding.diff = Some(diff.into()))
    }

    /// That is all.
    pub fn end(self) {}
}
