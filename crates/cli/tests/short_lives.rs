//! Processes that live two or three milliseconds under `covtap run`, and programs with more rights
//! than covtap.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod programs;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use covtap_model::ledger::{Instrumented, Ledger, Outcome, Route, Target};

use programs::{Place, because, program, said, say};

/// How many short lives there are.
const LIVES: usize = 200;
/// How many at a time.
const AT_ONCE: usize = 4;
/// What each of them ends with.
const CODE: i32 = 7;
/// Numbers of `capability.h`.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
/// A user without rights; it needs no name.
const USER: u32 = 1001;

/// What a run over many short lives gave.
struct Lives {
    place: Place,
    /// The process ids that the launcher saw, with how often: a number may come again.
    started: BTreeMap<u32, usize>,
    ledger: Ledger,
    output: Output,
}

impl Lives {
    /// Lets the launcher start them under `covtap run FLAGS`. Each ends for its parent as it would
    /// without covtap.
    fn run(watching: &str) -> Option<Self> {
        let launcher = program("launcher")?;
        let short = program("static-atomic/short")?;
        let place = Place::new();
        let mut command = place.covtap(&[watching, "--"]);
        command
            .arg(launcher)
            .args([LIVES.to_string(), AT_ONCE.to_string()])
            .arg(short)
            .arg(CODE.to_string());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let mut started = BTreeMap::new();
        for line in text.lines() {
            let (pid, end) = line.split_once(' ').unwrap_or((line, ""));
            assert_eq!(end, format!("exit status {CODE}"), "{}", said(&output));
            *started.entry(pid.parse().unwrap()).or_default() += 1;
        }
        assert_eq!(started.values().sum::<usize>(), LIVES, "{}", said(&output));
        let ledger = place.ledger();
        Some(Self {
            place,
            started,
            ledger,
            output,
        })
    }

    /// The rows of the processes that the launcher started.
    fn rows(&self) -> Vec<&Target> {
        let of_ours = |row: &&Target| row.pid.is_some_and(|pid| self.started.contains_key(&pid));
        self.ledger.targets.iter().filter(of_ours).collect()
    }

    /// Every process is a row, once, and says how it ended.
    fn assert_each_is_a_row(&self) {
        let mut rows: BTreeMap<u32, usize> = BTreeMap::new();
        for row in self.rows() {
            *rows.entry(row.pid.unwrap()).or_default() += 1;
            assert_ne!(because(row), "", "{row:#?}");
        }
        let wrong: Vec<_> = (self.started.iter())
            .filter(|(pid, count)| rows.get(pid) != Some(count))
            .map(|(pid, count)| (pid, count, self.about(*pid)))
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", self.ledger.watching);
    }

    fn about(&self, pid: u32) -> Vec<&Target> {
        let rows = self.ledger.targets.iter();
        rows.filter(|row| row.pid == Some(pid)).collect()
    }

    /// How often a function was entered, all in all.
    fn entries(&self, name: &str) -> u64 {
        let coverage = self.place.coverage();
        let mut functions = coverage
            .packages
            .iter()
            .filter(|package| package.path == "example.org/drill/cmd/short")
            .flat_map(|package| &package.files)
            .flat_map(|file| &file.functions)
            .filter(|function| function.name == name);
        let function = functions.next().unwrap();
        assert!(functions.next().is_none());
        function.entries()
    }

    /// Those that are merged, each with its last state.
    fn merged(&self) -> Vec<&Target> {
        let mut rows = self.rows();
        rows.retain(|row| row.outcome == Outcome::Merged);
        rows
    }
}

#[test]
fn none_is_lost_where_execs_are_held() {
    if !has(CAP_SYS_ADMIN) {
        say("SKIPPED: short lives with the exec hold: it needs CAP_SYS_ADMIN");
        return;
    }
    let Some(lives) = Lives::run("--watching=hold") else {
        return;
    };
    lives.assert_each_is_a_row();
    assert!(lives.output.status.success(), "{}", said(&lives.output));
    for row in lives.rows() {
        assert_eq!(row.outcome, Outcome::Merged, "{row:#?}");
        assert_eq!(row.state.as_ref().unwrap().route, Route::Exit, "{row:#?}");
        assert_eq!(row.exit_status, Some(format!("exit {CODE}")));
    }
    for function in ["main", "wanted"] {
        assert_eq!(lives.entries(function), LIVES as u64, "{function}");
    }
}

#[test]
fn each_that_was_missed_by_process_events_is_a_row() {
    missed("events");
}

#[test]
fn each_that_was_missed_by_polling_is_a_row() {
    missed("poll");
}

/// Where execs are not held some are missed. Every one is a row, and what was read is right.
fn missed(watching: &str) {
    if !has(CAP_NET_ADMIN) {
        say(&format!(
            "SKIPPED: short lives with --watching={watching}: only process events tell what was \
             missed, and they may need CAP_NET_ADMIN"
        ));
        return;
    }
    let Some(lives) = Lives::run(&format!("--watching={watching}")) else {
        return;
    };
    lives.assert_each_is_a_row();
    // All, nothing, or not all of them.
    let code = lives.output.status.code();
    assert!(matches!(code, Some(0 | 3 | 4)), "{}", said(&lives.output));
    let merged = lives.merged();
    for row in &merged {
        assert!(matches!(row.instrumented, Instrumented::Yes { .. }));
        assert_eq!(row.exit_status, Some(format!("exit {CODE}")), "{row:#?}");
    }
    if !merged.is_empty() {
        assert!(lives.entries("main") >= merged.len() as u64);
    }
    say(&format!(
        "--watching={watching}: of {LIVES} lives of 2 ms {} merged, the others are rows",
        merged.len()
    ));
}

/// Tells with whose rights it runs.
const RIGHTS: &str = r#"
#include <stdio.h>
#include <unistd.h>
int main(void) {
    printf("rights of %d\n", (int)geteuid());
    return 0;
}
"#;

/// The script starts the service, then the program with more rights, and kills the service when it
/// listens and is traced.
const SCRIPT: &str = r#"
    ./service > listening & service=$!
    ./rights
    until [ -s listening ] && grep -q '^TracerPid:[^0-9]*[1-9]' /proc/$service/status; do :; done
    ./rights
    kill -9 $service
    wait $service
    ./rights
"#;

#[test]
fn programs_with_more_rights_keep_them() {
    const WHAT: &str = "a setuid program under an unprivileged covtap";
    if !has(CAP_SYS_ADMIN) || !rustix::process::geteuid().is_root() {
        say(&format!("SKIPPED: {WHAT}: only root can make one"));
        return;
    }
    let Some(service) = program("static-atomic/service") else {
        return;
    };
    let place = Place::new();
    let file = |name: &str| place.path().join(name);
    let copy = |from: &Path, name: &str| {
        fs::copy(from, file(name)).unwrap();
        fs::set_permissions(file(name), Permissions::from_mode(0o755)).unwrap();
    };
    copy(Path::new(env!("CARGO_BIN_EXE_covtap")), "covtap");
    copy(&service, "service");
    fs::write(file("rights.c"), RIGHTS).unwrap();
    let compiler = Command::new("cc")
        .args(["-o", "rights", "rights.c"])
        .current_dir(place.path())
        .output();
    if !compiler.is_ok_and(|output| output.status.success()) {
        say(&format!("SKIPPED: {WHAT}: no C compiler"));
        return;
    }
    // Last: who writes a file takes this bit from it.
    fs::set_permissions(file("rights"), Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    chown(place.path(), Some(USER), Some(USER)).unwrap();

    let alone = as_user(&place, &["./rights"]);
    if !matches!(&alone, Some(output) if output.stdout == b"rights of 0\n") {
        say(&format!(
            "SKIPPED: {WHAT}: user {USER} cannot run one in {}: {}",
            place.path().display(),
            alone.map_or("no setpriv".into(), |output| said(&output))
        ));
        return;
    }
    for watching in ["auto", "poll"] {
        let watching = format!("--watching={watching}");
        let run = ["./covtap", "run", "--route=tap,exit", &watching, "--"];
        let script = ["timeout", "60", "sh", "-c", SCRIPT];
        let output = as_user(&place, &[&run[..], &script[..]].concat()).unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let text = String::from_utf8_lossy(&output.stdout);
        let rights: Vec<&str> = text.lines().filter(|l| l.starts_with("rights")).collect();
        assert_eq!(rights, ["rights of 0"; 3], "{}", said(&output));
        let rows = place.rows("service");
        let [row] = rows.as_slice() else {
            panic!("{rows:#?}");
        };
        assert_eq!(row.outcome, Outcome::Merged, "{row:#?}");
        assert_eq!(row.state.as_ref().unwrap().route, Route::Exit, "{row:#?}");
        assert_eq!(row.exit_status.as_deref(), Some("signal 9"), "{row:#?}");
    }
}

/// Runs a command as a user without rights; `None` without a program to do it with.
fn as_user(place: &Place, words: &[&str]) -> Option<Output> {
    let user = USER.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]);
    command.args(words);
    place.prepare(&mut command);
    command.output().ok()
}

/// Whether this process has a right over the whole machine.
fn has(capability: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let effective = u64::from_str_radix(effective.unwrap().trim(), 16).unwrap();
    // In another user namespace it is a right over that namespace only.
    let users = fs::read_to_string("/proc/self/uid_map").unwrap();
    let first = users.split_whitespace().eq(["0", "0", "4294967295"]);
    first && effective & (1 << capability) != 0
}
