//! A diagnosis as GitHub's workflow commands: each finding stands at its line in a pull request.

use std::path::Path;

use covtap_model::finding::Diagnosis;

use super::{file_of, level};

pub(super) fn of(diagnosis: &Diagnosis, root: &Path) -> String {
    let lines = diagnosis.findings.iter().map(|finding| {
        let word = level(finding.severity, ["notice", "warning", "error"]);
        let place = finding.evidence.iter().find_map(|e| file_of(e, root));
        let place = place.map(|(file, line)| format!("file={},line={line},", property(&file)));
        let title = property(&format!("covtap {}", finding.rule));
        let message = format!(
            "{}: {}\nfix: {}",
            finding.subject, finding.cause, finding.fix
        );
        format!(
            "::{word} {}title={title}::{}\n",
            place.unwrap_or_default(),
            escaped(&message)
        )
    });
    lines.collect()
}

/// What would end a message.
fn escaped(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// What would end a property.
fn property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::{escaped, property};

    #[test]
    fn nothing_ends_a_message_or_a_property_early() {
        assert_eq!(escaped("100%\nof: it"), "100%25%0Aof: it");
        assert_eq!(property("a,b:c"), "a%2Cb%3Ac");
    }
}
