//! A rule as a page: the text of `covtap explain` and of `docs/rules`.

use std::fmt::Write as _;

use covtap_model::finding::{Safety, Severity};

use crate::Rule;
use crate::rule::Signal;

/// As Markdown.
#[must_use]
pub fn markdown(rule: &Rule) -> String {
    page(rule, "## ")
}

/// As plain text.
#[must_use]
pub fn text(rule: &Rule) -> String {
    page(rule, "")
}

fn page(rule: &Rule, heading: &str) -> String {
    let mut page = String::new();
    let mut part = |title: &str, what: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "\n{heading}{title}\n\n{what}");
    };
    part("What it checks", rule.checks);
    part("Why it matters", rule.why);
    part("Fix", &format!("{} {}", rule.fix, safety(rule.safety)));
    let signals: Vec<&str> = rule.evidence.iter().map(|signal| signal.name()).collect();
    part("Evidence", &format!("Seen in: {}.", signals.join(", ")));
    if !rule.explains.is_empty() {
        part(
            "What follows from it",
            &format!("Shown under it: {}.", rule.explains.join(", ")),
        );
    }
    if !rule.references.is_empty() {
        let list: Vec<String> = rule.references.iter().map(|r| format!("* {r}")).collect();
        part("References", &list.join("\n"));
    }
    let top = if heading.is_empty() { "" } else { "# " };
    let first = format!(
        "{top}{}: {} ({})\n\n{}, link {}.\n",
        rule.slug,
        rule.title,
        rule.id(),
        severity(rule),
        rule.link.name()
    );
    first + &page
}

fn severity(rule: &Rule) -> &'static str {
    match (rule.severity, rule.files_only) {
        (Severity::Error, false) => "Error",
        (Severity::Warning, false) => "Warning",
        (Severity::Info, _) => "Info",
        (Severity::Error, true) => "Error where coverage comes from files, else info",
        (Severity::Warning, true) => "Warning where coverage comes from files, else info",
    }
}

fn safety(safety: Safety) -> &'static str {
    match safety {
        Safety::Safe => "(Safe: changes nothing but coverage.)",
        Safety::Review => "(Look first: it changes what else runs, or how.)",
        Safety::Manual => "(Only a person can do it.)",
    }
}

impl Signal {
    /// What it is called in pages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Signal::Logs => "logs",
            Signal::Specification => "workloads",
            Signal::Events => "events",
            Signal::Binary => "binary",
            Signal::Data => "coverage files",
            Signal::Node => "node",
            Signal::Kind => "Kind nodes",
            Signal::Repository => "repository",
        }
    }
}
