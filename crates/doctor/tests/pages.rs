//! The pages of `docs/rules` are those of the rules. `COVTAP_UPDATE_RULES=1` writes them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use covtap_doctor::{page, rules};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

/// The table of all rules: what each sees, and the case that shows it.
fn table() -> String {
    let mut text = String::from(
        "# The doctor's rules\n\n\
         `covtap doctor` judges with these; `covtap explain RULE` prints a page. Made from the rules themselves by\n\
         `COVTAP_UPDATE_RULES=1 cargo test -p covtap-doctor --test pages`.\n\n\
         | rule | cause | seen in | case |\n|---|---|---|---|\n",
    );
    for rule in rules::all() {
        let signals: Vec<&str> = rule.evidence.iter().map(|s| s.name()).collect();
        let case = format!("fixtures/doctor/{}.md", rule.slug);
        let case = match folder(&case).exists() {
            true => format!("[recorded](../../{case})"),
            false => String::from("in the rule's own tests"),
        };
        text += &format!(
            "| [{slug}]({slug}.md) | {} | {} | {case} |\n",
            rule.title,
            signals.join(", "),
            slug = rule.slug,
        );
    }
    text
}

#[test]
fn the_pages_are_current() {
    let mut pages: BTreeMap<String, String> = rules::all()
        .iter()
        .map(|rule| (format!("{}.md", rule.slug), page::markdown(rule)))
        .collect();
    pages.insert("README.md".into(), table());
    let folder = folder("docs/rules");
    if std::env::var_os("COVTAP_UPDATE_RULES").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in &pages {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    let there: BTreeMap<String, String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    let stale: Vec<&String> = pages
        .keys()
        .chain(there.keys())
        .filter(|name| pages.get(*name) != there.get(*name))
        .collect();
    assert!(stale.is_empty(), "COVTAP_UPDATE_RULES=1 writes {stale:?}");
}
