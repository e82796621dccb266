//! A diagnosis as people read it: what is wrong first, with its evidence and its fix; then what is innocent.

use std::fmt::Write as _;

use anstyle::Style;
use covtap_model::finding::{
    Cleared, Diagnosis, Evidence, Finding, Route, Severity, State, Subject, Unknown,
};
use covtap_model::problem::printable;

use super::checklist::{self, Need};
use super::is_undecided;
use crate::output::{BAD, CARE, FAINT, GOOD, HEAD};
use crate::units::count;

/// Subjects with something to mend in full; the others in a line, or in full with `verbose`.
pub(super) fn of(diagnosis: &Diagnosis, verbose: bool) -> String {
    let mut text = String::new();
    let (ill, rest): (Vec<&Subject>, Vec<&Subject>) = diagnosis.subjects.iter().partition(|s| {
        let of_subject = |f: &&Finding| f.subject == s.name;
        diagnosis
            .findings
            .iter()
            .filter(of_subject)
            .any(Finding::is_ill)
    });
    for subject in &ill {
        of_subject(&mut text, diagnosis, subject, true);
    }
    for subject in &rest {
        if verbose || is_undecided(diagnosis) {
            of_subject(&mut text, diagnosis, subject, true);
        } else if diagnosis.findings.iter().any(|f| f.subject == subject.name) {
            of_subject(&mut text, diagnosis, subject, false);
        }
    }
    summary(&mut text, diagnosis, &ill, &rest, verbose);
    text
}

fn of_subject(text: &mut String, diagnosis: &Diagnosis, subject: &Subject, in_full: bool) {
    line(text, &format!("{HEAD}{}{HEAD:#}", printable(&subject.name)));
    if in_full && let Some(chain) = chain(subject) {
        line(text, &format!("  {chain}"));
    }
    for finding in diagnosis
        .findings
        .iter()
        .filter(|f| f.subject == subject.name)
    {
        of_finding(text, finding);
    }
    if in_full {
        let needs = checklist::of(diagnosis, subject);
        of_needs(text, &needs);
        let said = |rule: &String| needs.iter().any(|need| need.cleared.as_ref() == Some(rule));
        for cleared in diagnosis
            .cleared
            .iter()
            .filter(|c| c.subject == subject.name && !said(&c.rule))
        {
            of_cleared(text, cleared);
        }
        for unknown in diagnosis
            .unknown
            .iter()
            .filter(|u| u.subject == subject.name)
        {
            of_unknown(text, unknown);
        }
    }
    text.push('\n');
}

/// `√ build  × permission  · flush`: the links of which anything is known.
fn chain(subject: &Subject) -> Option<String> {
    let links: Vec<String> = subject
        .chain
        .iter()
        .map(|link| {
            let (mark, style) = sign(link.state);
            format!("{style}{mark} {}{style:#}", link.link.name())
        })
        .collect();
    (!links.is_empty()).then(|| links.join("  "))
}

/// A sign and its colour.
fn sign(state: State) -> (&'static str, Style) {
    match state {
        State::Sound => ("√", GOOD),
        State::Broken => ("×", BAD),
        State::Unknown => ("?", CARE),
        State::NotReached => ("·", FAINT),
    }
}

fn of_needs(text: &mut String, needs: &[Need]) {
    if !needs.is_empty() {
        line(text, "  what files need:");
    }
    for need in needs {
        let (mark, style) = sign(need.state);
        let because = printable(&need.because);
        line(
            text,
            &format!("    {style}{mark}{style:#} {}: {because}", need.what),
        );
    }
}

fn of_finding(text: &mut String, finding: &Finding) {
    let (mark, style) = match finding.severity {
        Severity::Error => ("×", BAD),
        Severity::Warning => ("‼", CARE),
        Severity::Info => ("i", Style::new()),
    };
    line(
        text,
        &format!(
            "  {style}{mark} {}{style:#} {FAINT}{} {}{FAINT:#}",
            printable(&finding.cause),
            finding.rule,
            finding.id
        ),
    );
    of_evidence(text, &finding.evidence);
    line(text, &format!("      fix: {}", printable(&finding.fix)));
    for diff_line in finding.diff.iter().flat_map(|diff| diff.lines()) {
        line(
            text,
            &format!("      {FAINT}{}{FAINT:#}", printable(diff_line)),
        );
    }
    for consequence in &finding.consequences {
        let cause = printable(&consequence.cause);
        line(
            text,
            &format!(
                "      follows: {cause} {FAINT}{}{FAINT:#}",
                consequence.rule
            ),
        );
    }
}

fn of_evidence(text: &mut String, evidence: &[Evidence]) {
    for evidence in evidence {
        line(
            text,
            &format!(
                "      {FAINT}{}{FAINT:#}  {}",
                printable(&evidence.place),
                printable(&evidence.what)
            ),
        );
    }
}

fn of_cleared(text: &mut String, cleared: &Cleared) {
    let proof = cleared.evidence.first().map(|e| {
        format!(
            " {FAINT}({}: {}){FAINT:#}",
            printable(&e.place),
            printable(&e.what)
        )
    });
    line(
        text,
        &format!(
            "  {GOOD}√{GOOD:#} innocent: {}: {}{}",
            cleared.rule,
            printable(&cleared.because),
            proof.unwrap_or_default()
        ),
    );
}

fn of_unknown(text: &mut String, unknown: &Unknown) {
    line(
        text,
        &format!(
            "  {CARE}?{CARE:#} {}: {}",
            unknown.rule,
            printable(&unknown.because)
        ),
    );
}

fn summary(
    text: &mut String,
    diagnosis: &Diagnosis,
    ill: &[&Subject],
    rest: &[&Subject],
    verbose: bool,
) {
    let route = match diagnosis.route {
        Route::Tap => "tap",
        Route::Files => "files",
    };
    let innocent = count(diagnosis.cleared.len(), "suspect", "suspects");
    let open = count(diagnosis.unknown.len(), "question", "questions");
    let of = |severity| {
        let found = diagnosis.findings.iter();
        found.filter(|f| f.severity == severity).count()
    };
    if is_undecided(diagnosis) {
        line(
            text,
            &format!("{CARE}?{CARE:#} nothing could be decided (route {route}): {open} open"),
        );
    } else if ill.is_empty() {
        line(
            text,
            &format!(
                "{GOOD}√{GOOD:#} nothing wrong was found (route {route}): {innocent} innocent, {open} open"
            ),
        );
    } else {
        line(
            text,
            &format!(
                "{}, {} (route {route}); {innocent} innocent, {open} open; covtap explain {} tells more",
                count(of(Severity::Error), "error", "errors"),
                count(of(Severity::Warning), "warning", "warnings"),
                diagnosis
                    .findings
                    .first()
                    .map_or("RULE", |f| f.rule.as_str())
            ),
        );
    }
    let more = diagnosis.cleared.len() + diagnosis.unknown.len() > 0;
    if !verbose && !is_undecided(diagnosis) && !rest.is_empty() && more {
        line(
            text,
            &format!("{FAINT}--verbose shows every suspect with its proof{FAINT:#}"),
        );
    }
}

fn line(text: &mut String, what: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{what}");
}
