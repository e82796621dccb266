//! What comes without files: counters out of the memory of processes, and their last state when they
//! end. Needs that this user may trace its own processes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::process::Command;

use covtap_model::coverage::Coverage;
use covtap_model::ledger::{Outcome, Route, Target};

use crate::project::{Project, assert_code, because, kill, stderr, stdout};

fn route(row: &Target) -> Option<Route> {
    row.state.as_ref().map(|state| state.route)
}

/// For each function, whether it ran, by its name.
fn ran(project: &Project) -> BTreeMap<String, bool> {
    let document = fs::read(project.latest().join("coverage.json")).unwrap();
    let coverage: Coverage = serde_json::from_slice(&document).unwrap();
    let files = coverage.packages.iter().flat_map(|p| &p.files);
    files
        .flat_map(|f| &f.functions)
        .map(|f| (f.name.clone(), f.units.iter().any(|u| u.count > 0)))
        .collect()
}

#[test]
fn ways_to_end_that_write_nothing_are_merged() {
    let Some(project) = Project::new() else {
        return;
    };
    for (script, status) in [
        (
            "./svc hang $r & p=$!; read x < $r; kill -9 $p; wait $p; true",
            "signal 9",
        ),
        (
            "./svc hang $r & p=$!; read x < $r; kill -TERM $p; wait $p; true",
            "signal 15",
        ),
        ("./svc panic 2> said; true", "exit 2"),
        ("env -u GOCOVERDIR ./svc live 2> said", "exit 0"),
        ("mkdir -p own; GOCOVERDIR=$PWD/own ./svc live", "exit 0"),
        ("GOCOVERDIR=/nowhere ./svc live 2> said", "exit 0"),
    ] {
        assert_code(&project.script(&["--route=tap,exit"], script), 0);
        let row = project.only_row();
        assert_eq!(row.outcome, Outcome::Merged, "{script}: {row:#?}");
        assert_eq!(route(&row), Some(Route::Exit), "{script}: {row:#?}");
        assert_eq!(row.exit_status.as_deref(), Some(status), "{script}");
        let ran = ran(&project);
        assert_eq!((ran["Used"], ran["Unused"]), (true, false), "{script}");
    }
}

#[test]
fn files_and_memory_agree_and_are_not_added() {
    let Some(project) = Project::new() else {
        return;
    };
    // It writes its counters twice by itself, and once at its end.
    for mode in ["live", "snapshots"] {
        let mut documents = Vec::new();
        for route in ["tap,exit,files", "files", "tap,exit"] {
            let flag = format!("--route={route}");
            assert_code(&project.script(&[&flag], &format!("./svc {mode}")), 0);
            let document = fs::read(project.latest().join("coverage.json")).unwrap();
            let mut coverage: Coverage = serde_json::from_slice(&document).unwrap();
            // How the numbers came is another word each time.
            coverage.problems.clear();
            documents.push(serde_json::to_value(coverage).unwrap()["packages"].take());
            assert_eq!(because(&project.only_row()), "merged");
        }
        assert_eq!(documents[0], documents[1], "{mode}");
        assert_eq!(documents[0], documents[2], "{mode}");
    }
}

#[test]
fn a_process_that_clears_its_counters_keeps_what_it_wrote() {
    let Some(project) = Project::new() else {
        return;
    };
    assert_code(&project.script(&[], "./svc clears"), 0);
    let ran = ran(&project);
    assert!(ran["Used"] && ran["main"], "{ran:?}");
}

#[test]
fn what_runs_on_is_read_at_the_end() {
    let Some(project) = Project::new() else {
        return;
    };
    let script = "./svc hang $r > /dev/null 2>&1 & read x < $r";
    let output = project.script(&["--grace=50ms", "--leave-running"], script);
    let row = project.only_row();
    kill(&row);
    assert_code(&output, 0);
    assert_eq!(row.outcome, Outcome::Merged);
    assert_eq!(route(&row), Some(Route::Tap));
    assert!(row.ended.is_none());
    assert!(ran(&project)["Used"]);
}

#[test]
fn what_another_traces_is_read_while_it_runs() {
    let Some(project) = Project::new() else {
        return;
    };
    if Command::new("strace").arg("-V").output().is_err() {
        skipped("a process under strace: no strace");
        return;
    }
    let script = "strace -o trace ./svc live";
    assert_code(&project.script(&["--route=tap,exit"], script), 4);
    let row = project.only_row();
    let said = because(&row);
    assert!(said.contains("is traced by process"), "{said}");
    assert_eq!(route(&row), Some(Route::Tap));
    assert!(ran(&project)["Used"]);
    // With its files it is complete.
    assert_code(&project.script(&[], script), 0);
    assert_eq!(route(&project.only_row()), Some(Route::Files));
}

#[test]
fn covtap_killed_leaves_everything_running_and_its_last_look_readable() {
    let Some(project) = Project::new() else {
        return;
    };
    let mut child = project.start(&["run", "--every=10ms", "--", "./svc", "serve", "ready"]);
    let run = fs::read_dir(project.path().join(".covtap/runs")).unwrap();
    let run = run.map(|e| e.unwrap().path()).next().unwrap();
    // The service is traced once its first state is there.
    let tapped = run.join("raw-tap");
    let file = loop {
        let builds = fs::read_dir(&tapped).into_iter().flatten();
        let files = builds.flat_map(|b| fs::read_dir(b.unwrap().path()).unwrap());
        let mut names = files.map(|f| f.unwrap().path());
        if let Some(found) = names.find(|p| p.to_string_lossy().contains("/covcounters.")) {
            break found;
        }
        std::thread::yield_now();
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let pid: i32 = name.split('.').nth(2).unwrap().parse().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("TracerPid:\t0"), "{status}");
    let service = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(service, rustix::process::Signal::TERM).unwrap();
    let build = file.parent().unwrap().to_string_lossy().into_owned();
    let output = project.run(&["covdata", "percent", &format!("-i={build}")]);
    assert!(
        stdout(&output).contains("coverage: 50.0%"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn a_program_without_its_main_instrumented_is_collected_all_the_same() {
    let Some(project) = Project::new() else {
        return;
    };
    let build = Command::new("go")
        .args([
            "build",
            "-cover",
            "-coverpkg=./lib",
            "-o",
            "mute",
            "./cmd/svc",
        ])
        .current_dir(project.path())
        .status()
        .unwrap();
    assert!(build.success());
    assert_code(&project.script(&[], "./mute live"), 0);
    assert_eq!(route(&project.only_row()), Some(Route::Exit));
    assert!(ran(&project)["Used"]);
}

#[test]
fn the_go_tool_reads_what_was_tapped() {
    let Some(project) = Project::new() else {
        return;
    };
    assert_code(&project.script(&["--route=tap,exit"], "./svc live"), 0);
    let build = project.only_row().build.unwrap();
    let raw = project.latest().join("raw").join(build);
    let output = Command::new("go")
        .args(["tool", "covdata", "percent"])
        .arg(format!("-i={}", raw.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("coverage: 50.0%"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn an_exec_ends_a_life_and_begins_the_next() {
    let Some(project) = Project::new() else {
        return;
    };
    let output = project.script(&["--route=tap,exit"], "./svc becomes ./svc live");
    let ledger = project.ledger();
    let [first, second] = ledger.targets.as_slice() else {
        panic!("{ledger:#?}")
    };
    assert_eq!(first.pid, second.pid);
    assert!(first.generation < second.generation);
    // Which of its threads calls execve is Go's affair. When it is the first one, the old program is gone
    // before anybody could look; else that one's end shows it.
    if route(first) == Some(Route::Exit) {
        assert_code(&output, 0);
        assert_eq!(first.outcome, Outcome::Merged);
    } else {
        assert_code(&output, 4);
        let said = because(first);
        assert!(said.contains("it became another program (exec)"), "{said}");
    }
    assert_eq!(second.outcome, Outcome::Merged);
}

/// A session across steps. It sees all of its machine; so that this is not the machine of the other
/// tests, it gets a pid namespace of its own.
#[test]
fn start_mark_and_stop() {
    let Some(project) = Project::new() else {
        return;
    };
    let namespace = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    let probe = Command::new("unshare").args(namespace).arg("true").status();
    if !probe.is_ok_and(|status| status.success()) {
        skipped("covtap start, mark and stop: no new pid namespace");
        return;
    }
    let steps = r#"
        mkfifo ready
        "$covtap" mark too-early 2> early
        "$covtap" start --require svc || exit 10
        "$covtap" start 2> twice && exit 11
        ./svc hang ready & service=$!
        read said < ready
        "$covtap" mark login || exit 12
        "$covtap" mark ../x 2> name && exit 13
        kill -9 $service
        wait $service
        "$covtap" stop
    "#;
    let mut command = Command::new("unshare");
    let inner = project.covtap(&[]);
    command.args(namespace).args(["sh", "-c", steps]);
    command.current_dir(project.path()).env_remove("GOCOVERDIR");
    command.env("covtap", inner.get_program());
    assert_code(&command.output().unwrap(), 0);
    let said = |name: &str| fs::read_to_string(project.path().join(name)).unwrap();
    assert!(said("early").contains("covtap start begins one"));
    assert!(said("twice").contains("covtap stop ends it"));
    assert!(said("name").contains("a mark's name has"));
    let row = project.only_row();
    assert_eq!(row.outcome, Outcome::Merged);
    assert_eq!(row.exit_status.as_deref(), Some("signal 9"));
    assert_eq!(route(&row), Some(Route::Exit));
    let mark = project
        .latest()
        .join("marks/001-login")
        .join(row.build.unwrap());
    assert_eq!(fs::read_dir(mark).unwrap().count(), 2);
    assert_code(&project.run(&["stop"]), 2);
}

#[test]
fn what_ran_before_the_session_is_marked_and_can_be_left_out() {
    let Some(project) = Project::new() else {
        return;
    };
    let namespace = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    let probe = Command::new("unshare").args(namespace).arg("true").status();
    if !probe.is_ok_and(|status| status.success()) {
        skipped("covtap start --since-run: no new pid namespace");
        return;
    }
    for (flag, used) in [("--since-run=false", true), ("--since-run", false)] {
        let steps = format!(
            r#"
            mkfifo ready
            ./svc serve ready & service=$!
            read said < ready
            "$covtap" start {flag} || exit 10
            kill -TERM $service
            wait $service
            "$covtap" stop
            rm ready
            "#
        );
        let mut command = Command::new("unshare");
        let inner = project.covtap(&[]);
        command.args(namespace).args(["sh", "-c", &steps]);
        command.current_dir(project.path()).env_remove("GOCOVERDIR");
        command.env("covtap", inner.get_program());
        assert_code(&command.output().unwrap(), 0);
        let row = project.only_row();
        assert_eq!(row.outcome, Outcome::Merged);
        let note = row.state.unwrap().note.unwrap();
        assert!(note.contains("before the run"), "{note}");
        assert_eq!(ran(&project)["Used"], used, "{flag}");
    }
}

/// Says it past the test runner, which hides what a passing test prints.
fn skipped(what: &str) {
    let line = format!("SKIPPED: {what}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}
