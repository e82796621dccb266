//! The cases of `fixtures/doctor`: trees in Markdown, with what is to be said of them. The format stands in
//! `fixtures/doctor/README.md`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use covtap_doctor::{Facts, diagnose};
use covtap_model::finding::{Diagnosis, Severity};
use covtap_wiring::repository::{read, read_texts};

/// One part of a case: a tree and what is expected of it.
#[derive(Default)]
struct Part {
    title: String,
    files: BTreeMap<String, String>,
    /// `top`, `finds`, `cleared`, `silent`, and what.
    expected: Vec<(String, String)>,
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/doctor");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.retain(|f| {
        f.extension().is_some_and(|e| e == "md") && f.file_name().is_some_and(|n| n != "README.md")
    });
    files.sort();
    files
}

/// Parts begin with `## `, files stand in fences that end with their path, expectations are list items.
/// Files of the part named `base` are in all others, which replace or remove them.
fn parts(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut fence: Option<(String, String, String)> = None;
    for line in text.lines() {
        if let Some((mark, path, body)) = &mut fence {
            if line.trim() == mark {
                let part = parts.last_mut().unwrap();
                part.files.insert(path.clone(), body.clone());
                fence = None;
            } else {
                body.push_str(line);
                body.push('\n');
            }
            continue;
        }
        if let Some(title) = line.strip_prefix("## ") {
            let base = parts
                .first()
                .filter(|p| p.title == "base")
                .map(|p| p.files.clone());
            parts.push(Part {
                title: title.to_owned(),
                files: base.unwrap_or_default(),
                ..Part::default()
            });
        } else if line.starts_with("```") {
            let mark: String = line.chars().take_while(|c| *c == '`').collect();
            let path = line
                .split_whitespace()
                .last()
                .unwrap()
                .trim_start_matches('`')
                .to_owned();
            fence = Some((mark, path, String::new()));
        } else if let Some((word, what)) = line.strip_prefix("- ").and_then(|l| l.split_once(": "))
        {
            let part = parts.last_mut().unwrap();
            match word {
                "without" => assert!(part.files.remove(what).is_some(), "{what} is in no base"),
                "replace" => {
                    let (path, edit) = what.split_once(": ").unwrap();
                    let (from, to) = edit.split_once(" => ").unwrap();
                    let (from, to) = (unquoted(from), unquoted(to));
                    let file = part.files.get_mut(path).unwrap();
                    assert!(file.contains(&from), "{path} has no {from:?}");
                    *file = file.replace(&from, &to);
                }
                _ => part.expected.push((word.to_owned(), what.to_owned())),
            }
        }
    }
    parts.retain(|p| p.title != "base");
    parts
}

/// In backquotes; `\n` is the end of a line.
fn unquoted(text: &str) -> String {
    text.trim().trim_matches('`').replace("\\n", "\n")
}

fn shown(diagnosis: &Diagnosis) -> String {
    let findings = diagnosis.findings.iter().map(|f| {
        let consequences: Vec<&str> = f.consequences.iter().map(|c| c.rule.as_str()).collect();
        format!(
            "  {:?} {:?} {} [{}]: {} {:?} {:?}",
            f.severity,
            f.confidence,
            f.rule,
            f.subject,
            f.cause,
            f.evidence
                .iter()
                .map(|e| format!("{} {}", e.place, e.what))
                .collect::<Vec<_>>(),
            consequences
        )
    });
    let cleared = diagnosis
        .cleared
        .iter()
        .map(|c| format!("  cleared {} [{}]: {}", c.rule, c.subject, c.because));
    let unknown = diagnosis
        .unknown
        .iter()
        .map(|u| format!("  unknown {} [{}]: {}", u.rule, u.subject, u.because));
    findings
        .chain(cleared)
        .chain(unknown)
        .collect::<Vec<_>>()
        .join("\n")
}

/// What is wrong with a diagnosis, against what was expected.
fn wrong(part: &Part, diagnosis: &Diagnosis) -> Vec<String> {
    let mut wrong = Vec::new();
    for (word, what) in &part.expected {
        let (rule, subject) = match what.split_once(" of ") {
            Some((rule, subject)) => (rule, Some(subject)),
            None => (what.as_str(), None),
        };
        let about = |s: &str| subject.is_none_or(|w| w == s);
        let holds = match word.as_str() {
            "top" => diagnosis
                .findings
                .first()
                .is_some_and(|f| f.rule == rule && about(&f.subject)),
            "finds" => diagnosis
                .findings
                .iter()
                .any(|f| f.rule == rule && about(&f.subject)),
            "not-cleared" => !diagnosis.cleared.iter().any(|c| c.rule == rule),
            "cleared" => diagnosis
                .cleared
                .iter()
                .any(|c| c.rule == rule && about(&c.subject)),
            "silent" => diagnosis
                .findings
                .iter()
                .all(|f| f.severity == Severity::Info),
            "not" => diagnosis.findings.iter().all(|f| f.rule != rule),
            _ => panic!("{}: {word} is no expectation", part.title),
        };
        if !holds {
            wrong.push(format!("{word}: {what}"));
        }
    }
    wrong
}

#[test]
fn every_case_is_diagnosed_as_it_says() {
    let mut failed = Vec::new();
    let healthy =
        std::fs::read_to_string(cases().iter().find(|f| f.ends_with("healthy.md")).unwrap())
            .unwrap();
    let base = healthy.split_inclusive("\n## ").take(2).collect::<String>();
    let base = base.strip_suffix("\n## ").unwrap().to_owned();
    for file in cases() {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = match text.contains("\nThe base is that of healthy.md.\n") {
            true => format!("{base}\n{text}"),
            false => text,
        };
        for part in parts(&text) {
            let facts = Facts {
                repository: Some(read_texts(&part.files)),
                ..Facts::default()
            };
            let diagnosis = diagnose(&facts);
            let wrong = wrong(&part, &diagnosis);
            if !wrong.is_empty() {
                failed.push(format!(
                    "{name}, {}: not so: {}\n{}",
                    part.title,
                    wrong.join("; "),
                    shown(&diagnosis)
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

fn of_example(change: impl Fn(&str, String) -> String) -> Diagnosis {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/datastorage");
    let mut files = BTreeMap::new();
    let mut waiting = vec![root.clone()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                files.insert(name.clone(), change(&name, text));
            }
        }
    }
    diagnose(&Facts {
        repository: Some(read_texts(&files)),
        ..Facts::default()
    })
}

#[test]
fn the_example_is_healthy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/datastorage");
    let facts = Facts {
        repository: Some(read(&root).unwrap()),
        ..Facts::default()
    };
    let diagnosis = diagnose(&facts);
    let loud = diagnosis
        .findings
        .iter()
        .any(|f| f.severity > Severity::Info);
    assert!(!loud, "{}", shown(&diagnosis));
}

/// As the seed wrote it: nothing prepares the directory on the nodes.
#[test]
fn the_seed_is_named_and_its_theories_are_cleared() {
    let diagnosis = of_example(|name, text| match name {
        "test/infrastructure/coverage.go" => text.replace(
            r#""docker", "exec", node, "install", "-d","#,
            r#""docker", "exec", node, "true","#,
        ),
        _ => text,
    });
    let shown = shown(&diagnosis);
    let first = diagnosis
        .findings
        .first()
        .unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(
        (first.rule.as_str(), first.severity),
        ("dir-not-writable", Severity::Error),
        "{shown}"
    );
    for suspect in [
        "symbols-stripped",
        "mount-chain-broken",
        "build-arg-not-declared",
        "env-missing",
        "sigterm-not-handled",
    ] {
        assert!(
            diagnosis
                .cleared
                .iter()
                .any(|c| c.rule == suspect && c.subject == first.subject),
            "{suspect}: {shown}"
        );
    }
}
