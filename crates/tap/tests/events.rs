//! Process events of the running kernel.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says aloud that it was skipped"
)]

use std::collections::BTreeSet;
use std::fmt::Display;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use covtap_tap::watch::events::{EventsError, ProcessEvent, ProcessEvents};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Set for a test that runs in a process of its own.
const CHILD: &str = "COVTAP_TEST_CHILD";

fn open() -> Option<ProcessEvents> {
    match ProcessEvents::open() {
        Ok(events) => Some(events),
        Err(why) => {
            skipped("process events", why);
            None
        }
    }
}

/// Says it past the test runner, which hides what a passing test prints.
fn skipped(what: &str, why: impl Display) {
    use std::io::Write;
    let line = format!("SKIPPED: {what}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// This test binary again, running one of the tests below that are for that.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", test]);
    command.env(CHILD, "1");
    command
}

/// Reads until `done` says so, ten seconds at most.
fn read_until(events: &mut ProcessEvents, mut done: impl FnMut(&[ProcessEvent]) -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    let mut seen = Vec::new();
    while !done(&seen) {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap();
        let mut ready = [PollFd::new(events, PollFlags::IN)];
        if poll(&mut ready, Some(&timeout)).unwrap() == 0 {
            return false;
        }
        seen.extend(events.read());
    }
    true
}

/// The events of one child up to its exit.
fn life_of(
    events: &mut ProcessEvents,
    command: &mut Command,
) -> (u32, Vec<ProcessEvent>, ExitStatus) {
    let mut child = command.spawn().unwrap();
    let pid = child.id();
    let status = child.wait().unwrap();
    let mut life = Vec::new();
    let ended = read_until(events, |seen| {
        life = seen.iter().copied().filter(|e| is_of(*e, pid)).collect();
        life.last()
            == Some(&ProcessEvent::Exit {
                pid,
                wait_status: status.into_raw(),
            })
    });
    assert!(ended, "no exit of {pid} with {status}: {life:?}");
    (pid, life, status)
}

fn is_of(event: ProcessEvent, of: u32) -> bool {
    match event {
        ProcessEvent::Fork { child, .. } => child == of,
        ProcessEvent::Exec { pid } | ProcessEvent::Exit { pid, .. } => pid == of,
        ProcessEvent::Overflow => true,
    }
}

#[test]
fn a_life_is_told_from_its_fork_to_its_exit() {
    let Some(mut events) = open() else { return };
    for (script, expected) in [
        ("exit 3", ExitStatus::from_raw(3 << 8)),
        ("kill -9 $$", ExitStatus::from_raw(9)),
    ] {
        let mut command = Command::new("sh");
        let (pid, life, status) = life_of(&mut events, command.args(["-c", script]));
        assert_eq!(status, expected);
        let parent = std::process::id();
        assert_eq!(
            life,
            [
                ProcessEvent::Fork { parent, child: pid },
                ProcessEvent::Exec { pid },
                ProcessEvent::Exit {
                    pid,
                    wait_status: status.into_raw()
                },
            ]
        );
    }
}

#[test]
fn an_exec_by_another_thread_looks_like_an_exit_before_it() {
    let Some(mut events) = open() else { return };
    let (pid, life, status) = life_of(&mut events, &mut again("exec_by_another_thread"));
    assert!(status.success(), "{status}");
    let parent = std::process::id();
    assert_eq!(
        life,
        [
            ProcessEvent::Fork { parent, child: pid },
            ProcessEvent::Exec { pid },
            ProcessEvent::Exit {
                pid,
                wait_status: 0
            },
            ProcessEvent::Exec { pid },
            ProcessEvent::Exit {
                pid,
                wait_status: 0
            },
        ]
    );
}

#[test]
#[ignore = "runs in a process of its own"]
fn exec_by_another_thread() {
    if std::env::var_os(CHILD).is_some() {
        let exec = std::thread::spawn(|| panic!("{}", Command::new("true").exec()));
        exec.join().unwrap();
    }
}

#[test]
fn nothing_is_read_when_there_is_nothing() {
    let Some(mut events) = open() else { return };
    // Others may run on this machine: as many reads as it takes.
    assert!((0..1000).any(|_| events.read().is_empty()));
}

/// A shell that forks so many times.
fn forks(count: usize) -> Command {
    let mut command = Command::new("sh");
    let script = format!("i=0; while [ $i -lt {count} ]; do (:); i=$((i+1)); done");
    command.args(["-c", &script]);
    command
}

#[derive(Default)]
struct Account {
    forked: BTreeSet<u32>,
    ended: BTreeSet<u32>,
    overflow: bool,
    over: bool,
}

impl Account {
    fn add(&mut self, of: u32, seen: &[ProcessEvent]) {
        for event in seen {
            match *event {
                ProcessEvent::Fork { parent, child } if parent == of => {
                    self.forked.insert(child);
                }
                ProcessEvent::Exit { pid, .. } if pid == of => self.over = true,
                ProcessEvent::Exit { pid, .. } if self.forked.contains(&pid) => {
                    self.ended.insert(pid);
                }
                ProcessEvent::Overflow => self.overflow = true,
                _ => {}
            }
        }
    }
}

const MANY: usize = 10_000;

#[test]
fn ten_thousand_forks_are_accounted_for() {
    let Some(mut events) = open() else { return };
    let mut shell = forks(MANY).spawn().unwrap();
    let pid = shell.id();
    let mut account = Account::default();
    let mut done = 0;
    let over = read_until(&mut events, |seen| {
        account.add(pid, &seen[done..]);
        done = seen.len();
        account.over || account.overflow
    });
    shell.wait().unwrap();
    assert!(over);
    assert!(
        account.overflow || account.forked.len() == MANY,
        "{}",
        account.forked.len()
    );
    assert!(
        account.overflow || account.ended.len() == MANY,
        "{}",
        account.ended.len()
    );
    println!("overflow: {}", account.overflow);
}

#[test]
fn what_is_not_read_in_time_is_said_to_be_lost() {
    let Some(mut events) = open() else { return };
    // Room for some hundred events.
    rustix::net::sockopt::set_socket_recv_buffer_size(&events, 64 << 10).unwrap();
    forks(MANY / 10).status().unwrap();
    let mut seen = Vec::new();
    loop {
        match events.read() {
            more if more.is_empty() => break,
            more => seen.extend(more),
        }
    }
    assert!(seen.contains(&ProcessEvent::Overflow), "{}", seen.len());
    // After a loss it goes on.
    life_of(&mut events, &mut Command::new("true"));
}

#[test]
fn another_namespace_is_named() {
    if open().is_none() {
        return;
    }
    for (kind, expected) in [
        ("--pid", "NoAcknowledgement"),
        ("--net", "NetworkNamespace"),
    ] {
        let inside = again("tell_what_open_says");
        let mut command = Command::new("unshare");
        command.args([kind, "--fork"]).arg(inside.get_program());
        command.args(inside.get_args()).env(CHILD, "1");
        let output = match command.output() {
            Ok(output) if output.status.success() => output,
            Ok(output) => {
                return skipped("other namespaces", String::from_utf8_lossy(&output.stderr));
            }
            Err(why) => return skipped("other namespaces", why),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains(&format!("open: {expected}")),
            "{kind}: {text}"
        );
    }
}

#[test]
#[ignore = "runs in a process of its own"]
fn tell_what_open_says() {
    if std::env::var_os(CHILD).is_some() {
        match ProcessEvents::open() {
            Ok(_) => println!("open: done"),
            Err(EventsError::NoAcknowledgement) => println!("open: NoAcknowledgement"),
            Err(EventsError::NetworkNamespace) => println!("open: NetworkNamespace"),
            Err(other) => println!("open: {other}"),
        }
    }
}
