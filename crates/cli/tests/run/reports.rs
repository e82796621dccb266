//! `covtap report` and `covtap runs` over real runs.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use covtap_model::coverage::Coverage;

use crate::project::{Project, assert_code, stderr, stdout};

fn with_a_run() -> Option<Project> {
    let project = Project::new()?;
    assert_code(&project.script(&[], "./svc quick"), 0);
    Some(project)
}

#[test]
fn the_last_run_is_reported() {
    let Some(project) = with_a_run() else { return };
    let output = project.run(&["report", "--show-missing"]);
    assert_code(&output, 0);
    assert!(
        stdout(&output).contains("lib/lib.go"),
        "{}",
        stdout(&output)
    );
    let id = project
        .latest()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    for source in [
        id.as_str(),
        &id[..10],
        ".covtap/latest",
        ".covtap/latest/coverage.json",
    ] {
        let again = project.run(&["report", source, "--show-missing"]);
        assert_code(&again, 0);
        assert_eq!(stdout(&again), stdout(&output), "{source}");
    }
}

#[test]
fn a_coverage_directory_is_reported() {
    let Some(project) = with_a_run() else { return };
    let stored = project.run(&["report", "--format", "go"]);
    let raw = project.run(&["report", "--format", "go", ".covtap/latest/raw-files"]);
    assert_code(&raw, 0);
    assert_eq!(stdout(&raw), stdout(&stored));
}

#[test]
fn a_run_that_was_cut_short_is_reported_from_what_was_read() {
    let Some(project) = with_a_run() else { return };
    let whole = project.run(&["report", "--format", "go"]);
    for written_last in ["coverage.json", "ledger.json"] {
        fs::remove_file(project.latest().join(written_last)).unwrap();
    }
    let cut = project.run(&["report", "--format", "go"]);
    assert_code(&cut, 0);
    assert!(stderr(&cut).contains("did not end"), "{}", stderr(&cut));
    assert_eq!(stdout(&cut), stdout(&whole), "and nothing is counted twice");
}

#[test]
fn each_process_is_a_replica() {
    let Some(project) = Project::new() else {
        return;
    };
    assert_code(&project.script(&[], "./svc quick; ./svc quick"), 0);
    let output = project.run(&["report", "--per-replica", "--format", "json", "-o", "each"]);
    assert_code(&output, 0);
    let table = stdout(&output);
    assert_eq!(table.matches("process ").count(), 2, "{table}");
    let all = table.lines().last().unwrap();
    assert!(all.starts_with("all ") && all.contains(" 2 "), "{table}");
    assert_eq!(
        fs::read_dir(project.path().join("each")).unwrap().count(),
        2
    );
    // What a directory of files holds is nobody's in particular.
    let directory = ["report", "--per-replica", ".covtap/latest/raw-files"];
    assert_code(&project.run(&directory), 2);
}

#[test]
fn several_formats_go_into_a_directory() {
    let Some(project) = with_a_run() else { return };
    assert_code(
        &project.run(&["report", "--format", "lcov,cobertura", "-o", "cov/"]),
        0,
    );
    let mut names: Vec<_> = fs::read_dir(project.path().join("cov"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["cobertura.xml", "lcov.info"]);
    let lcov = fs::read_to_string(project.path().join("cov/lcov.info")).unwrap();
    assert!(lcov.contains("SF:lib/lib.go"), "{lcov}");

    let output = project.run(&["report", "--format", "lcov,go"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("hint: name a directory with --output DIR"));
}

#[test]
fn one_format_goes_into_a_file() {
    let Some(project) = with_a_run() else { return };
    assert_code(
        &project.run(&["report", "--format", "lcov", "-o", "a/b.info"]),
        0,
    );
    assert!(project.path().join("a/b.info").is_file());
    let flags = ["--format", "badge", "-o", "badge.svg"];
    assert_code(&project.script(&flags, "./svc quick"), 0);
    assert!(project.path().join("badge.svg").is_file());
    let output = project.script(&["-o", "x"], "./svc quick");
    assert_code(&output, 2);
    assert!(
        stderr(&output).contains("hint: add --format FORMAT"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn exclusions_hold() {
    let Some(project) = with_a_run() else { return };
    let output = project.run(&["report", "--exclude", "lib/**"]);
    assert!(
        !stdout(&output).contains("example.org/shop/lib"),
        "{}",
        stdout(&output)
    );
    let output = project.run(&["report", "--exclude", "lib/[", ".covtap/latest/raw-files"]);
    assert_code(&output, 2);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let Some(project) = with_a_run() else { return };
    let mut child = project
        .covtap(&["report", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(said, "");
}

#[test]
fn runs_are_listed_and_removed() {
    let Some(project) = with_a_run() else { return };
    assert_code(&project.script(&[], "./svc quick"), 0);
    let json = project.run(&["runs", "ls", "--format", "json"]);
    let runs: serde_json::Value = serde_json::from_str(stdout(&json)).unwrap();
    assert_eq!(runs.as_array().unwrap().len(), 2);
    assert_eq!(runs[0]["state"], "complete");
    assert!(runs[0]["statements"]["total"].as_u64().unwrap() > 0);
    let table = project.run(&["runs", "ls"]);
    assert_eq!(stdout(&table).lines().count(), 3, "{}", stdout(&table));

    assert_code(&project.run(&["runs", "rm"]), 2);
    assert_code(&project.run(&["runs", "rm", "--keep", "1"]), 0);
    assert!(project.latest().ends_with(runs[1]["id"].as_str().unwrap()));
    assert_code(
        &project.run(&["runs", "rm", runs[1]["id"].as_str().unwrap()]),
        0,
    );
    let output = project.run(&["runs", "ls"]);
    assert_code(&output, 0);
    assert_eq!(
        stderr(&output),
        "no runs yet: `covtap run -- CMD` makes one\n"
    );
    assert_eq!(stdout(&output), "");
}

#[test]
fn of_two_versions_of_a_package_the_checkouts_is_used() {
    let Some(project) = Project::new() else {
        return;
    };
    let library = project.path().join("lib/lib.go");
    let checked_out = fs::read_to_string(&library).unwrap();
    let edited = checked_out.replace(
        "package lib\n",
        "package lib\n\nfunc New() int { return 3 }\n",
    );
    fs::write(&library, edited).unwrap();
    let built = Command::new("go")
        .args(["build", "-covermode=atomic", "-o", "newer", "./cmd/svc"])
        .env("GOFLAGS", "-buildvcs=false")
        .current_dir(project.path())
        .status();
    assert!(built.unwrap().success());
    fs::write(&library, checked_out).unwrap();

    assert_code(&project.script(&[], "./svc quick; ./newer quick"), 0);
    let document = fs::read(project.latest().join("coverage.json")).unwrap();
    let coverage: Coverage = serde_json::from_slice(&document).unwrap();
    let skewed: Vec<&str> = coverage.skew.iter().map(|s| s.package.as_str()).collect();
    assert_eq!(skewed, ["example.org/shop/lib"]);
    let lib = coverage
        .packages
        .iter()
        .find(|p| p.path == "example.org/shop/lib")
        .unwrap();
    let names: Vec<&str> = lib.files[0]
        .functions
        .iter()
        .map(|f| f.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["Used", "Unused"],
        "the newest build is not the checkout's"
    );
    assert_eq!(
        lib.files[0].functions[0].entries(),
        1,
        "versions are never summed"
    );
}

/// A device or a pipe is written to; as root, replacing `/dev/null` would break the machine.
#[test]
fn what_is_no_regular_file_is_not_replaced() {
    let Some(project) = with_a_run() else { return };
    let pipe = project.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::read_to_string(pipe).unwrap())
    };
    assert_code(
        &project.run(&["report", "--format", "lcov", "-o", "pipe"]),
        0,
    );
    assert!(!fs::metadata(&pipe).unwrap().is_file());
    assert!(reader.join().unwrap().contains("end_of_record"));
}
