//! The five theories of the team that saw 84 green specs and an empty directory, by their names: each as the
//! example with that one fault, which the doctor finds and beside which it clears the other four.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use command::{example, run};

const DOCKERFILE: &str = "docker/data-storage.Dockerfile";
const KIND: &str = "test/infrastructure/kind-datastorage-config.yaml";
const INFRASTRUCTURE: &str = "test/infrastructure/datastorage.go";
const COVERAGE: &str = "test/infrastructure/coverage.go";

/// A copy of the example.
fn copy() -> TempDir {
    let from = example();
    let copy = TempDir::new().unwrap();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(copy.path().join(&folder)).unwrap();
        for entry in fs::read_dir(from.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = folder.join(entry.file_name());
            let own = matches!(entry.file_name().to_str(), Some("bin" | "coverdata"));
            if own {
                // What running it leaves behind.
            } else if entry.file_type().unwrap().is_dir() {
                folders.push(name);
            } else {
                fs::copy(entry.path(), copy.path().join(name)).unwrap();
            }
        }
    }
    copy
}

/// Takes a text out of a file of the copy, which has it, and puts another in its place.
fn edit(example: &TempDir, file: &str, from: &str, to: &str) {
    let path = example.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    fs::write(path, text.replace(from, to)).unwrap();
}

fn doctor(example: &TempDir, code: i32) -> Value {
    let (text, _) = run(example.path(), &["doctor", "--format", "json"], code);
    serde_json::from_str(&text).unwrap()
}

/// The slugs of a list.
fn slugs(diagnosis: &Value, list: &str) -> Vec<String> {
    let all = diagnosis[list].as_array().unwrap().iter();
    all.map(|item| item["rule"].as_str().unwrap().to_owned())
        .collect()
}

fn assert_cleared(diagnosis: &Value, rules: &[&str]) {
    let cleared = slugs(diagnosis, "cleared");
    for rule in rules {
        assert!(
            cleared.iter().any(|c| c == rule),
            "{rule} is not cleared: {diagnosis:#}"
        );
    }
    let found = slugs(diagnosis, "findings");
    assert!(
        rules.iter().all(|rule| !found.iter().any(|f| f == rule)),
        "{found:?}"
    );
}

/// The top finding is this one, and a line of this file proves it.
fn assert_top(diagnosis: &Value, rule: &str, file: &str) {
    let top = &diagnosis["findings"][0];
    assert_eq!(top["rule"], rule, "{diagnosis:#}");
    assert_eq!(top["severity"], "error", "{diagnosis:#}");
    let places = top["evidence"].as_array().unwrap().iter();
    let mut places = places.map(|e| e["where"].as_str().unwrap());
    assert!(places.any(|place| place.starts_with(file)), "{top:#}");
}

#[test]
fn theory_1_binary_stripped_of_coverage_metadata() {
    let diagnosis = doctor(&copy(), 0);
    assert_cleared(
        &diagnosis,
        &[
            "symbols-stripped",
            "not-instrumented",
            "env-missing",
            "dir-not-writable",
            "mount-chain-broken",
        ],
    );
    let cleared = diagnosis["cleared"].as_array().unwrap();
    let stripped = cleared
        .iter()
        .find(|c| c["rule"] == "symbols-stripped")
        .unwrap();
    let proof = stripped["evidence"][0]["what"].as_str().unwrap();
    assert!(proof.contains("-w -s"), "{proof}");
}

#[test]
fn theory_2_permission_issues() {
    let seed = copy();
    // The seed had nothing that made the directory the user's.
    edit(
        &seed,
        INFRASTRUCTURE,
        "\tif err := k.prepareCoverage(ctx); err != nil {\n\t\treturn err\n\t}\n",
        "",
    );
    let path = seed.path().join(COVERAGE);
    let text = fs::read_to_string(&path).unwrap();
    let from = text.find("// prepareCoverage makes").unwrap();
    let to = text.find("// ReportCoverage prints").unwrap();
    fs::write(path, format!("{}{}", &text[..from], &text[to..])).unwrap();
    let diagnosis = doctor(&seed, 1);
    assert_top(&diagnosis, "dir-not-writable", DOCKERFILE);
    assert_cleared(
        &diagnosis,
        &[
            "symbols-stripped",
            "not-instrumented",
            "env-missing",
            "mount-chain-broken",
        ],
    );
    let proof = diagnosis["findings"][0]["evidence"][0]["what"]
        .as_str()
        .unwrap();
    assert!(proof.contains("uid 1001"), "{proof}");
}

#[test]
fn theory_3_volume_mount_not_working() {
    let seed = copy();
    // The node has the host's directory elsewhere.
    edit(
        &seed,
        KIND,
        "containerPath: /coverdata",
        "containerPath: /coverage",
    );
    let diagnosis = doctor(&seed, 1);
    assert_top(&diagnosis, "mount-chain-broken", KIND);
    assert_cleared(
        &diagnosis,
        &["symbols-stripped", "not-instrumented", "env-missing"],
    );
}

#[test]
fn theory_4_coverage_not_enabled_in_binary() {
    let seed = copy();
    edit(
        &seed,
        INFRASTRUCTURE,
        "args = append(args, \"--build-arg\", \"GOFLAGS=-cover\")",
        "",
    );
    let diagnosis = doctor(&seed, 1);
    assert_top(&diagnosis, "not-instrumented", "");
    assert_cleared(&diagnosis, &["env-missing", "mount-chain-broken"]);

    // It is given, and never arrives where it is built.
    let seed = copy();
    edit(&seed, DOCKERFILE, "ARG GOFLAGS\n", "");
    let diagnosis = doctor(&seed, 1);
    assert_top(&diagnosis, "build-arg-not-declared", DOCKERFILE);
}

#[test]
fn theory_5_gocoverdir_not_recognized() {
    let seed = copy();
    edit(
        &seed,
        INFRASTRUCTURE,
        "            - name: GOCOVERDIR\n              value: /coverdata\n",
        "",
    );
    let diagnosis = doctor(&seed, 1);
    assert_top(&diagnosis, "env-missing", "");
    assert_cleared(&diagnosis, &["symbols-stripped", "not-instrumented"]);
}

#[test]
fn the_five_key_requirements_are_a_checklist() {
    let seed = copy();
    edit(
        &seed,
        KIND,
        "containerPath: /coverdata",
        "containerPath: /coverage",
    );
    let (text, _) = run(seed.path(), &["doctor"], 1);
    let list: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("what files need:"))
        .skip(1)
        .take(5)
        .map(|line| line.trim().split(':').next().unwrap())
        .collect();
    let wanted = [
        "√ built with -cover",
        "√ coverage meta-data kept",
        "√ GOCOVERDIR set",
        "× directory there and writable",
        "√ graceful shutdown",
    ];
    assert_eq!(list, wanted, "{text}");
}
