//! Signals to covtap: CMD ends politely, and what came is collected.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use crate::project::{Project, assert_code, because, stdout};

pub(crate) fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn ctrl_c_and_sigterm_collect() {
    let Some(project) = Project::new() else {
        return;
    };
    for signal in [Signal::INT, Signal::TERM] {
        let child = project.start(&["run", "--", "./svc", "serve", "ready"]);
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert_code(&output, 0);
        assert_eq!(because(&project.only_row()), "merged");
    }
}

#[test]
fn a_command_without_a_handler_dies_of_the_signal() {
    let Some(project) = Project::new() else {
        return;
    };
    let child = project.start(&["run", "--", "./svc", "hang", "ready"]);
    send(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_code(&output, 130);
    assert!(because(&project.only_row()).ends_with("signal 2 (SIGINT)"));
}

#[test]
fn who_insists_is_obeyed() {
    let Some(project) = Project::new() else {
        return;
    };
    let script = "trap '' INT TERM; echo ready > ready; while :; do read x < never; done";
    let never = project.path().join("never");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&never)
            .status()
            .unwrap()
            .success()
    );
    let child = project.start(&["run", "--", "sh", "-c", script]);
    // The streams of one signal are counted, so three in a row are three.
    for _ in 0..3 {
        send(&child, Signal::INT);
        // Signals of one kind that wait together become one: let it take each.
        wait_until_taken(&child);
    }
    assert_code(&child.wait_with_output().unwrap(), 137);
}

/// Waits until no SIGINT is pending for a process: looking is the only event there is.
fn wait_until_taken(child: &Child) {
    let pending = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("ShdPnd:").map(str::trim).map(str::to_owned))?;
        Some(u64::from_str_radix(&line, 16).unwrap() & (1 << 1) != 0)
    };
    while pending() == Some(true) {
        std::thread::yield_now();
    }
}

#[test]
fn a_run_that_was_cut_short_is_listed_as_that() {
    let Some(project) = Project::new() else {
        return;
    };
    let mut child = project.start(&["run", "--", "./svc", "serve", "ready"]);
    let running = project.run(&["runs", "ls"]);
    assert!(
        stdout(&running).contains("  running  "),
        "{}",
        stdout(&running)
    );
    // The service, an orphan from then on, is ended by its group, which is covtap's.
    let group = Pid::from_raw(child.id().cast_signed()).unwrap();
    send(&child, Signal::KILL);
    child.wait().unwrap();
    rustix::process::kill_process_group(group, Signal::KILL).unwrap();
    let listed = project.run(&["runs", "ls"]);
    assert!(
        stdout(&listed).contains("  unfinished  "),
        "{}",
        stdout(&listed)
    );
    assert_code(&project.run(&["runs", "rm", "--all"]), 0);
    assert_eq!(
        std::fs::read_dir(project.path().join(".covtap/runs"))
            .unwrap()
            .count(),
        0
    );
}
