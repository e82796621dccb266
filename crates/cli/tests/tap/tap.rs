//! `covtap tap`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use covtap_model::tap::{Life, SCHEMA, Tapped};

use super::surroundings::{
    Programs, VERSIONS, assert_code, assert_says, covtap, drill, newest, run, scratch, stderr,
    stdout,
};

/// The document that a call printed.
#[track_caller]
fn document(output: &Output, code: i32) -> Tapped {
    assert_code(output, code);
    let document: Tapped = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document.schema, SCHEMA);
    document
}

/// The only life.
#[track_caller]
fn only(tapped: &Tapped) -> &Life {
    let [life] = tapped.lives.as_slice() else {
        panic!("one life, not {:#?}", tapped.lives);
    };
    life
}

/// Names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Starts covtap and waits until there is a first counter file in `out`.
fn start(directory: &Path, args: &[&str]) -> Child {
    let mut child = covtap(directory, args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The line on standard error comes after the first snapshot and after tracing has begun.
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("reading "), "{line}");
    child
}

#[test]
fn one_snapshot_is_a_pair_that_gos_tool_reads() {
    for version in VERSIONS {
        let Some(programs) = Programs::of(version) else {
            continue;
        };
        let scratch = scratch();
        let mut drill = drill(&programs, "static-stripped/drill", scratch.path());
        drill.ask("work 3");
        let pid = drill.pid().to_string();
        let args = ["tap", &pid, "-o", "out", "--format", "json"];
        let tapped = document(&run(scratch.path(), &args), 0);
        let state = only(&tapped).state.as_ref().unwrap();
        assert!(state.statements.covered > 0 && !state.last);
        assert_eq!(only(&tapped).end, None);
        let out = scratch.path().join("out");
        assert_eq!(names(&out), [&*state.counter_file, &*state.meta_file]);
        // A later call replaces the file of an earlier one.
        drill.ask("work 5");
        let later = run(scratch.path(), &["tap", &pid, "-o", "out"]);
        assert_code(&later, 0);
        assert_says(
            stdout(&later),
            &[
                &format!("drill ({pid}): "),
                " statements; found by sections; running; out/covcounters.",
            ],
        );
        assert_eq!(names(&out).len(), 2);
        let theirs = programs.covdata("func", &out);
        assert_says(&theirs, &["example.org/drill/steps"]);
        let ours = run(scratch.path(), &["covdata", "func", "-i=out"]);
        assert_eq!(stdout(&ours), theirs);
    }
}

#[test]
fn without_a_directory_each_call_has_its_own() {
    let Some(programs) = newest() else { return };
    let scratch = scratch();
    let first = drill(&programs, "static/drill", scratch.path());
    let second = drill(&programs, "static/drill", scratch.path());
    let pids = [first.pid().to_string(), second.pid().to_string()];
    let args = [
        "tap", &pids[0], &pids[1], &pids[0], "--format", "json", "--store", "store",
    ];
    let tapped = document(&run(scratch.path(), &args), 0);
    assert_eq!(tapped.lives.len(), 2, "named twice, read once");
    assert!(
        tapped.directory.starts_with("store/tap/"),
        "{}",
        tapped.directory
    );
    let there = names(&scratch.path().join(&tapped.directory));
    assert_eq!(there.len(), 3, "one covmeta: {there:?}");
    assert!(scratch.path().join("store/.gitignore").is_file());
    let again = document(&run(scratch.path(), &args), 0);
    assert_ne!(again.directory, tapped.directory);
}

#[test]
fn the_last_state_is_read_whatever_ends_it() {
    for version in VERSIONS {
        let Some(programs) = Programs::of(version) else {
            continue;
        };
        for (way, end) in [
            ("sigkill", "signal 9"),
            ("exit 3", "exit 3"),
            ("panic", "exit 2"),
        ] {
            let scratch = scratch();
            let mut drill = drill(&programs, "atomic/drill", scratch.path());
            let pid = drill.pid().to_string();
            // No snapshot comes by itself after the first.
            let args = [
                "tap",
                &pid,
                "-o",
                "out",
                "--until-exit",
                "--every",
                "1h",
                "--format",
                "json",
            ];
            let covtap = start(scratch.path(), &args);
            for number in 0..9 {
                assert_says(&drill.ask(&format!("work {number}")), &["ok"]);
            }
            let reference = scratch.path().join("reference");
            fs::create_dir(&reference).unwrap();
            let status = drill.die(&format!("dump-then {} {way}", reference.display()));
            match end.strip_prefix("signal ") {
                Some(signal) => assert_eq!(status.signal().unwrap().to_string(), signal),
                None => assert_eq!(format!("exit {}", status.code().unwrap()), end),
            }
            let tapped = document(&covtap.wait_with_output().unwrap(), 0);
            let life = only(&tapped);
            assert_eq!(life.end.as_deref(), Some(end), "{version} {way}");
            assert!(life.state.as_ref().unwrap().last, "{life:#?}");
            let func = |directory: &Path| programs.covdata("func", directory);
            assert_eq!(func(&scratch.path().join("out")), func(&reference), "{way}");
        }
    }
}

#[test]
fn a_program_that_executes_another_is_two_lives() {
    let Some(programs) = newest() else { return };
    for who in ["leader", "thread"] {
        let scratch = scratch();
        let drill = drill(&programs, "atomic/drill", scratch.path());
        let pid = drill.pid().to_string();
        let args = ["tap", &pid, "-o", "out", "--until-exit", "--format", "json"];
        let covtap = start(scratch.path(), &args);
        let next = programs.path("static/short");
        drill.die(&format!("die exec {who} {}", next.display()));
        let output = covtap.wait_with_output().unwrap();
        // What the first program did after the last snapshot is not known where its leader executes
        // the other: its memory is gone by then.
        let tapped = document(&output, if who == "leader" { 4 } else { 0 });
        let [first, second] = tapped.lives.as_slice() else {
            panic!("two lives, not {:#?}", tapped.lives);
        };
        assert_eq!((first.end.as_deref(), first.generation), (Some("exec"), 0));
        assert_eq!((second.name.as_str(), second.generation), ("short", 1));
        assert_eq!(second.end.as_deref(), Some("exit 0"), "{tapped:#?}");
        assert!(second.state.as_ref().unwrap().last, "{tapped:#?}");
    }
}

#[test]
fn ctrl_c_ends_with_a_last_snapshot() {
    let Some(programs) = newest() else { return };
    for mode in [&["--every", "1h"][..], &["--until-exit", "--every", "1h"]] {
        let scratch = scratch();
        let mut drill = drill(&programs, "atomic/drill", scratch.path());
        let pid = drill.pid().to_string();
        let args = [&["tap", &*pid, "-o", "out", "--format", "json"], mode].concat();
        let covtap = start(scratch.path(), &args);
        let out = scratch.path().join("out");
        let before = fs::read(out.join(names(&out).remove(0))).unwrap();
        drill.ask("work 4");
        let raw = i32::try_from(covtap.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(raw).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let tapped = document(&covtap.wait_with_output().unwrap(), 0);
        assert_eq!(only(&tapped).end, None, "{tapped:#?}");
        let after = fs::read(out.join(names(&out).remove(0))).unwrap();
        assert_ne!(before, after);
        assert_says(&drill.ask("work 1"), &["ok"]);
    }
}

#[test]
fn what_gives_nothing_is_named() {
    let Some(programs) = newest() else { return };
    let scratch = scratch();
    let plain = drill(&programs, "uninstrumented/drill", scratch.path());
    let plain_pid = plain.pid().to_string();
    let output = run(scratch.path(), &["tap", &plain_pid, "-o", "out"]);
    assert_code(&output, 3);
    assert_says(
        stderr(&output),
        &["is not instrumented", "hint: build it with go build -cover"],
    );
    let good = drill(&programs, "static/drill", scratch.path());
    let good_pid = good.pid().to_string();
    let output = run(scratch.path(), &["tap", &plain_pid, &good_pid, "-o", "out"]);
    assert_code(&output, 4);
    assert_says(stdout(&output), &[&format!("drill ({good_pid}): ")]);
    let output = run(scratch.path(), &["tap", "4194305"]);
    assert_code(&output, 2);
    assert_says(stderr(&output), &["there is no such process"]);
    // A file in the place of the directory.
    fs::write(scratch.path().join("file"), "").unwrap();
    let output = run(scratch.path(), &["tap", &good_pid, "-o", "file"]);
    assert_code(&output, 2);
    assert_says(stderr(&output), &["cannot make ", "hint: name a directory"]);
}
