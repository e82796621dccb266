//! Which processes are expected, and what is said when they give nothing.

use std::process::Command;

use covtap_model::ledger::{Instrumented, Outcome};

use crate::project::{Project, assert_code, because, stderr, stdout};

/// Starts a service, waits until it is ready, ends it politely.
const SERVE: &str = "./svc serve $r & read x < $r; kill $!; wait $!";

#[test]
fn a_service_that_ends_well_is_complete() {
    let Some(project) = Project::new() else {
        return;
    };
    let output = project.script(&[], SERVE);
    assert_code(&output, 0);
    let row = project.only_row();
    assert_eq!(
        (row.workload.as_str(), &row.outcome),
        ("svc", &Outcome::Merged)
    );
    assert_eq!(row.files.len(), 1);
    assert!(matches!(row.instrumented, Instrumented::Yes { .. }));
    let record = project.record();
    assert_eq!(record.command, ["sh"], "arguments may hold secrets");
    assert_eq!(record.command_status.as_deref(), Some("exit 0"));
    assert_eq!(record.exit_code, Some(0));
    let said = stderr(&output);
    assert!(said.contains("example.org/shop/lib"), "{said}");
    assert!(
        said.contains("complete: the expected process gave its last state"),
        "{said}"
    );
    assert_eq!(stdout(&output), "", "stdout is CMD's");
    let text = std::fs::read_to_string(project.latest().join("report/coverage.txt")).unwrap();
    assert!(
        text.contains("example.org/shop/lib") && text.contains("50.0%"),
        "{text}"
    );
}

#[test]
fn what_is_stored_is_what_go_reads() {
    let Some(project) = Project::new() else {
        return;
    };
    assert_code(&project.script(&[], "./svc quick; ./svc quick"), 0);
    assert_eq!(project.ledger().targets.len(), 2, "two lives");
    let raw = project.latest().join("raw");
    let builds: Vec<_> = std::fs::read_dir(&raw)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(builds.len(), 1);
    assert_eq!(
        std::fs::read_dir(&builds[0]).unwrap().count(),
        3,
        "covmeta, two covcounters"
    );
    let output = std::process::Command::new("go")
        .args(["tool", "covdata", "percent"])
        .arg(format!("-i={}", builds[0].display()))
        .output()
        .unwrap();
    assert!(
        stdout(&output).contains("coverage: 50.0% of statements"),
        "{output:?}"
    );
}

#[test]
fn several_files_of_one_life_are_never_added_to_themselves() {
    let Some(project) = Project::new() else {
        return;
    };
    let used = || {
        let profile = project.run(&["report", "--format", "go"]);
        let line = stdout(&profile)
            .lines()
            .find(|l| l.contains("lib.go:3."))
            .unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_code(&project.run(&["run", "./svc", "snapshots"]), 0);
    assert_eq!(project.only_row().files.len(), 3);
    assert_eq!(used(), "1", "the last state counts");
    assert_code(&project.run(&["run", "./svc", "clears"]), 0);
    assert_eq!(project.only_row().files.len(), 2);
    assert_eq!(used(), "2", "it began anew: both parts count");
}

#[test]
fn the_commands_code_comes_through() {
    let Some(project) = Project::new() else {
        return;
    };
    let output = project.script(&[], "./svc quick; exit 7");
    assert_code(&output, 7);
    assert_eq!(project.record().exit_code, Some(7));
    assert_eq!(because(&project.only_row()), "merged");
    assert!(
        stderr(&output).contains("covtap exits with 7 as well"),
        "{}",
        stderr(&output)
    );
    assert_code(&project.script(&[], "kill -9 $$"), 137);
}

#[test]
fn a_repository_without_instrumentation_is_nothing() {
    let Some(project) = Project::new() else {
        return;
    };
    let output = project.script(&[], "./plain live");
    assert_code(&output, 3);
    let row = project.only_row();
    assert_eq!(because(&row), "not instrumented: build it with -cover");
    assert_eq!(
        row.expected.as_deref(),
        Some("its main module example.org/shop is this repository's")
    );
    assert!(!project.latest().join("coverage.json").exists());
}

#[test]
fn one_of_two_without_instrumentation_is_incomplete() {
    let Some(project) = Project::new() else {
        return;
    };
    assert_code(&project.script(&[], "./svc quick; ./plain live"), 4);
    assert_code(
        &project.script(&["--allow-incomplete"], "./svc quick; ./plain live"),
        0,
    );
    assert_code(
        &project.script(&["--ignore", "plain"], "./svc quick; ./plain live"),
        0,
    );
}

/// As the seed builds it: the build information then has no main module.
#[test]
fn a_program_that_was_built_by_file_is_expected_too() {
    let Some(project) = Project::new() else {
        return;
    };
    let built = Command::new("go")
        .args(["build", "-o", "by-file", "./cmd/svc/main.go"])
        .env("GOFLAGS", "-buildvcs=false")
        .current_dir(project.path())
        .status();
    assert!(built.unwrap().success());
    assert_code(&project.script(&[], "./svc quick; ./by-file live"), 4);
}

#[test]
fn what_is_required_and_never_runs_is_incomplete() {
    let Some(project) = Project::new() else {
        return;
    };
    let output = project.script(&["--require", "svc,ghost"], "./svc quick");
    assert_code(&output, 4);
    let ledger = project.ledger();
    let ghost = ledger
        .targets
        .iter()
        .find(|t| t.workload == "ghost")
        .unwrap();
    assert_eq!(because(ghost), "no process of this name was seen below CMD");
}

#[test]
fn nothing_of_interest_is_a_helpful_sentence() {
    let project = Project::empty();
    let output = project.run(&["run", "--", "true"]);
    assert_code(&output, 3);
    let said = stderr(&output);
    assert!(said.contains("nothing collected"), "{said}");
    assert!(
        said.contains("hint: build the services with `go build -cover`"),
        "{said}"
    );
}

#[test]
fn a_directory_that_cmd_sets_is_left_alone_and_named() {
    let Some(project) = Project::new() else {
        return;
    };
    let script = "mkdir -p own; GOCOVERDIR=$PWD/own ./svc live";
    let output = project.script(&["--route=files"], script);
    assert_code(&output, 3);
    let own = project.path().join("own");
    let expected = format!(
        "its GOCOVERDIR is {dir}: name that with --files {dir}",
        dir = own.display()
    );
    assert_eq!(because(&project.only_row()), expected);
    // The file of the first run is older than the second.
    assert_code(
        &project.script(&["--route=files", "--files", "own"], script),
        0,
    );
    let ledger = project.ledger();
    assert_eq!(ledger.targets.len(), 1);
    assert!(
        ledger
            .problems
            .iter()
            .any(|p| p.found == "1 from before it"),
        "{ledger:#?}"
    );
    assert_eq!(
        std::fs::read_dir(&own).unwrap().count(),
        3,
        "the originals stay where they are"
    );
}

#[test]
fn a_directory_that_does_not_exist_is_a_problem() {
    let Some(project) = Project::new() else {
        return;
    };
    let output = project.script(&["--files", "nowhere"], "./svc quick");
    assert_code(&output, 4);
    assert!(stderr(&output).contains("nowhere"), "{}", stderr(&output));
}

#[test]
fn an_environment_that_was_cleared_is_named() {
    let Some(project) = Project::new() else {
        return;
    };
    assert_code(
        &project.script(&["--route=files"], "env -u GOCOVERDIR ./svc live"),
        3,
    );
    assert!(because(&project.only_row()).starts_with("GOCOVERDIR is not set in its environment"));
}

#[test]
fn test_binaries_and_go_run_are_rows_only() {
    let Some(project) = Project::new() else {
        return;
    };
    let output = project.script(
        &[],
        "go test -count=1 -cover ./lib && go run -cover ./cmd/svc live",
    );
    assert_code(&output, 3);
    let ledger = project.ledger();
    let mut rows: Vec<_> = ledger
        .targets
        .iter()
        .map(|t| (t.workload.as_str(), because(t)))
        .collect();
    rows.sort_unstable();
    assert_eq!(
        rows,
        [
            (
                "lib.test",
                "a test binary: --include-test-binaries merges it"
            ),
            (
                "svc",
                "a program that `go run` built: --include-test-binaries merges it"
            ),
        ]
    );
    let include = ["--include-test-binaries"];
    assert_code(&project.script(&include, "go run -cover ./cmd/svc live"), 0);
    assert_eq!(because(&project.only_row()), "merged");
}
