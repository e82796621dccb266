//! A diagnosis as Markdown, for a pull request or a job's summary.

use std::fmt::Write as _;

use covtap_model::finding::{Diagnosis, Evidence};
use covtap_report::escape::markdown as escape;

use super::{is_ill, is_undecided, level};

pub(super) fn of(diagnosis: &Diagnosis) -> String {
    let mut text = String::from("## covtap doctor\n\n");
    if is_undecided(diagnosis) {
        text.push_str("Nothing could be decided.\n\n");
    } else if !is_ill(diagnosis) {
        text.push_str("Nothing wrong was found.\n\n");
    }
    for finding in &diagnosis.findings {
        let word = level(finding.severity, ["Info", "Warning", "Error"]);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "### {word}: {} ({}, {})\n\n{}\n",
            escape(&finding.subject),
            finding.rule,
            finding.id,
            escape(&finding.cause)
        );
        for evidence in &finding.evidence {
            let _ = writeln!(text, "* {}", proof(evidence));
        }
        let _ = writeln!(text, "\n**Fix:** {}\n", escape(&finding.fix));
        if let Some(diff) = &finding.diff {
            let fence = fence(diff);
            let _ = writeln!(text, "{fence}diff\n{diff}{fence}\n");
        }
        for consequence in &finding.consequences {
            let _ = writeln!(text, "* follows from it: {}", escape(&consequence.cause));
        }
    }
    if !diagnosis.cleared.is_empty() {
        text.push_str("<details><summary>Innocent suspects</summary>\n\n");
        for cleared in &diagnosis.cleared {
            let proofs: Vec<String> = cleared.evidence.iter().map(proof).collect();
            let _ = writeln!(
                text,
                "* {} of {}: {} ({})",
                cleared.rule,
                escape(&cleared.subject),
                escape(&cleared.because),
                proofs.join("; ")
            );
        }
        text.push_str("\n</details>\n\n");
    }
    if !diagnosis.unknown.is_empty() {
        text.push_str("<details><summary>Could not be decided</summary>\n\n");
        for unknown in &diagnosis.unknown {
            let _ = writeln!(
                text,
                "* {} of {}: {}",
                unknown.rule,
                escape(&unknown.subject),
                escape(&unknown.because)
            );
        }
        text.push_str("\n</details>\n");
    }
    text
}

fn proof(evidence: &Evidence) -> String {
    format!("{}: {}", escape(&evidence.place), escape(&evidence.what))
}

/// Backquotes enough that the text cannot end the fence.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::{escape, fence};

    #[test]
    fn text_stays_text() {
        assert_eq!(
            escape("<b>*a*\n`b`"),
            "&lt;b&gt;&#42;a&#42;&#92;u{a}&#96;b&#96;"
        );
        assert_eq!(fence("+ ```yaml"), "````");
        assert_eq!(fence("+ x"), "```");
    }
}
