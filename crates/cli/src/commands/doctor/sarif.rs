//! A diagnosis as SARIF 2.1.0 (OASIS), which code scanning of forges takes.

use std::collections::BTreeSet;
use std::path::Path;

use covtap_doctor::rules;
use covtap_model::finding::{Diagnosis, Evidence, Finding};
use serde_json::{Value, json};

use super::{file_of, level};

pub(super) fn of(diagnosis: &Diagnosis, root: &Path) -> Result<String, serde_json::Error> {
    let slugs: BTreeSet<&str> = diagnosis.findings.iter().map(|f| f.rule.as_str()).collect();
    let described: Vec<Value> = slugs
        .into_iter()
        .filter_map(rules::find)
        .map(|rule| {
            json!({
                "id": rule.slug,
                "name": rule.id(),
                "shortDescription": {"text": rule.title},
                "fullDescription": {"text": rule.why},
                "help": {"text": rule.fix},
            })
        })
        .collect();
    let results: Vec<Value> = diagnosis.findings.iter().map(|f| result(f, root)).collect();
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "covtap",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": described,
            }},
            "results": results,
        }],
    });
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    Ok(text)
}

fn result(finding: &Finding, root: &Path) -> Value {
    let mut locations = finding.evidence.iter().filter_map(|e| location(e, root));
    // The first is where it is shown; the others prove it.
    let first: Vec<Value> = locations.next().into_iter().collect();
    let related: Vec<Value> = locations.collect();
    let elsewhere = finding
        .evidence
        .iter()
        .filter(|e| file_of(e, root).is_none());
    let elsewhere: String = elsewhere
        .map(|e| format!("\n{}: {}", e.place, e.what))
        .collect();
    json!({
        "ruleId": finding.rule,
        "level": level(finding.severity, ["note", "warning", "error"]),
        "message": {"text": format!(
            "{}: {}\nFix: {}{elsewhere}", finding.subject, finding.cause, finding.fix
        )},
        "locations": first,
        "relatedLocations": related,
    })
}

fn location(evidence: &Evidence, root: &Path) -> Option<Value> {
    let (file, line) = file_of(evidence, root)?;
    let mut region = json!({"startLine": line.max(1)});
    if !evidence.what.is_empty() {
        region["snippet"] = json!({"text": evidence.what});
    }
    Some(json!({
        "physicalLocation": {"artifactLocation": {"uri": uri(&file)}, "region": region},
        "message": {"text": evidence.what},
    }))
}

/// The path as a relative reference (RFC 3986): what is not plain is written as `%XX`.
fn uri(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn a_path_is_a_reference_whatever_is_in_it() {
        assert_eq!(uri("a b/ü.yaml"), "a%20b/%C3%BC.yaml");
    }
}
