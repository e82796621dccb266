//! Everything that is put into a text can be taken out again: each case of `fixtures/wiring`, as it is and with
//! other line ends, a byte order mark, and without its last line end.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use covtap_wiring::dockerfile::Dockerfile;
use covtap_wiring::edit::Edits;
use covtap_wiring::instrument;
use covtap_wiring::template::Template;
use covtap_wiring::wire::manifest::{self, Chosen, Volume};
use covtap_wiring::wire::record::undo;
use covtap_wiring::wire::{Edited, kind_config};

/// Titles and texts of a file's cases.
fn cases(file: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/wiring")
        .join(file);
    let text = fs::read_to_string(path).unwrap();
    let found: Vec<_> = text
        .split("\n## ")
        .skip(1)
        .map(|case| {
            let (title, rest) = case.split_once('\n').unwrap();
            let body = rest
                .split_once("```")
                .unwrap()
                .1
                .split_once('\n')
                .unwrap()
                .1;
            (
                title.to_owned(),
                body.split_once("```").unwrap().0.to_owned(),
            )
        })
        .collect();
    assert!(found.len() >= 10, "{file} has {} cases", found.len());
    found
}

/// A text as other editors would have written it.
fn variants(text: &str) -> [String; 4] {
    [
        text.to_owned(),
        text.replace('\n', "\r\n"),
        text.trim_end().to_owned(),
        format!("\u{feff}{text}"),
    ]
}

/// Wires, wires again, changes something else, and takes it back.
fn round_trip(title: &str, text: &str, edit: &dyn Fn(&str) -> Edits) {
    let edits = edit(text);
    assert!(!edits.is_empty(), "{title}: nothing was wired in\n{text}");
    let after = edits.apply(text);
    assert!(
        edit(&after).is_empty(),
        "{title}: twice is more than once\n{after}"
    );
    assert_eq!(undo(text, &edits, &after).text, text, "{title}");
    if text.contains("\r\n") {
        assert!(
            !after.replace("\r\n", "").contains('\n'),
            "{title}: line ends are mixed"
        );
    }
    if text.ends_with('\n') {
        let undone = undo(text, &edits, &format!("{after}# more\n"));
        assert_eq!(
            (undone.text, undone.left),
            (format!("{text}# more\n"), vec![]),
            "{title}"
        );
    }
}

fn clean(title: &str, edited: Edited) -> Edits {
    assert_eq!(edited.blocked, Vec::<String>::new(), "{title}");
    edited.edits
}

#[test]
fn dockerfiles() {
    for (title, text) in cases("dockerfiles.md") {
        for text in variants(&text) {
            round_trip(&title, &text, &|text| {
                instrument::wire(&Dockerfile::read(text)).unwrap().edits
            });
        }
    }
}

#[test]
fn kind_configurations() {
    for (title, text) in cases("kind.md") {
        for text in variants(&text) {
            round_trip(&title, &text, &|text| {
                clean(
                    &title,
                    kind_config::wire(&Template::of_file(text), "/coverdata"),
                )
            });
        }
    }
}

#[test]
fn manifests() {
    for (title, text) in cases("manifests.md") {
        for volume in [Volume::EmptyDir, Volume::HostPath, Volume::Pvc] {
            for text in variants(&text) {
                round_trip(&title, &text, &|text| {
                    let template = Template::of_file(text);
                    let chosen = &|_: &manifest::Container<'_>| Some(Chosen { uid: Some(1001) });
                    clean(
                        &title,
                        manifest::wire(text, &template, "/coverdata", volume, chosen),
                    )
                });
            }
        }
    }
}
