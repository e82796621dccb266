//! Signals to covtap: CMD ends politely, and what came is collected.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

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
    let row = project.only_row();
    assert_eq!(because(&row), "merged");
    assert_eq!(row.exit_status.as_deref(), Some("signal 2"));
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

#[test]
fn ctrl_c_on_a_terminal_reaches_the_command_once_and_the_terminal_is_as_before() {
    let Some(project) = Project::new() else {
        return;
    };
    let mut terminal = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap());
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let screen = || {
        File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap()
    };
    let held = screen();
    assert!(
        tcgetattr(&held)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    );

    let pipe = project.path().join("ready");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let script = "trap 'echo once >> interrupts' INT; stty -echo; ./svc serve ready; exit 0";
    let covtap = project.covtap(&["run", "--", "sh", "-c", script]);
    // A session with this terminal, as a window of a desktop has.
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", "--wait"])
        .arg(covtap.get_program())
        .args(covtap.get_args());
    command.current_dir(project.path()).env_remove("TERM");
    command.stdin(screen()).stdout(screen()).stderr(screen());
    let mut child = command.spawn().unwrap();
    // The streams stay open in `command` until then.
    drop(command);
    let mut said = String::new();
    File::open(&pipe)
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(
        !tcgetattr(&held)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    );
    terminal.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(
        fs::read_to_string(project.path().join("interrupts")).unwrap(),
        "once\n"
    );
    assert_eq!(because(&project.only_row()), "merged");
    assert!(
        tcgetattr(&held)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    );
}
