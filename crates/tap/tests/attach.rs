//! What a look says of processes that cannot be read, or not any more, or not by this way.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use covtap_tap::go::{AttachError, Attached, Evidence, Found, SnapshotError};
use covtap_tap::image::Images;
use covtap_tap::memory::MemoryError;
use covtap_tap::permission::Obstacle;
use covtap_tap::target::Target;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use common::{Drill, Programs, command, say, scratch};

/// The version whose programs are used: what is tested here does not depend on it.
const VERSION: &str = "1.27.3";

fn refused(pid: u32) -> AttachError {
    let target = Target::find(pid).unwrap();
    Attached::attach(target, &Images::new()).expect_err("it cannot be read")
}

/// A program that waits until its standard input is closed. Its exec is over.
fn waiting() -> Child {
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = common::start(&mut cat);
    let mut line = [0; 3];
    child.stdin.as_mut().unwrap().write_all(b"on\n").unwrap();
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut line)
        .unwrap();
    child
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_process_that_is_gone() {
    let child = waiting();
    let target = Target::find(child.id()).unwrap();
    let pid = child.id();
    end(child);
    let error = Attached::attach(target, &Images::new()).unwrap_err();
    assert!(matches!(error, AttachError::Gone { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("process {pid} is gone"));
    assert!(!error.is_passing());
}

#[test]
fn a_later_process_of_the_same_number() {
    let child = waiting();
    let now = Target::find(child.id()).unwrap();
    let before = Target {
        start_ticks: now.start_ticks - 1,
        ..now
    };
    let error = Attached::attach(before, &Images::new()).unwrap_err();
    assert!(matches!(error, AttachError::Gone { .. }), "{error:?}");
    end(child);
}

#[test]
fn a_process_that_nobody_has_reaped() {
    let mut child = waiting();
    drop(child.stdin.take());
    let id = Id::Pid(Pid::from_raw(child.id().cast_signed()));
    // Until it has ended; it stays a zombie.
    waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    let error = refused(child.id());
    assert!(matches!(error, AttachError::Zombie { .. }), "{error:?}");
    assert!(error.to_string().contains("(it is a zombie)"), "{error}");
    child.wait().unwrap();
}

#[test]
fn a_thread_of_the_kernel() {
    // The first of them; a container does not show any.
    if fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n") {
        let error = refused(2);
        assert!(
            matches!(error, AttachError::KernelThread { pid: 2 }),
            "{error:?}"
        );
        assert!(
            error.to_string().contains("thread of the kernel"),
            "{error}"
        );
    } else {
        say("SKIPPED: kernel threads: process 2 is none here");
    }
}

#[test]
fn a_program_that_is_not_go() {
    let child = waiting();
    let error = refused(child.id());
    match &error {
        AttachError::NotInstrumented { path, evidence, .. } => {
            assert_eq!(*evidence, Evidence::NotGo);
            assert!(path.is_absolute(), "{}", path.display());
        }
        other => panic!("{other:?}"),
    }
    end(child);
}

#[test]
fn a_go_program_without_coverage() {
    let Some(programs) = Programs::of(VERSION) else {
        return;
    };
    let scratch = scratch();
    let drill = Drill::start(command(
        &programs.path("uninstrumented/drill"),
        scratch.path(),
    ));
    let error = refused(drill.pid());
    let AttachError::NotInstrumented { evidence, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(matches!(evidence, Evidence::NoCounters { .. }), "{error}");
    assert!(error.hint().unwrap().contains("-cover"), "{error}");
    drill.die("die exit 0");
}

#[test]
fn a_process_that_dies_or_executes_another_program() {
    let Some(programs) = Programs::of(VERSION) else {
        return;
    };
    let scratch = scratch();
    let program = programs.path("static/drill");
    let images = Images::new();
    let attach = |drill: &Drill| {
        let target = Target::find(drill.pid()).unwrap();
        Attached::attach(target, &images).unwrap()
    };
    let drill = Drill::start(command(&program, scratch.path()));
    let mut dead = attach(&drill);
    dead.snapshot().unwrap();
    drill.die("die exit 0");
    let error = dead.snapshot().unwrap_err();
    assert!(
        matches!(error, SnapshotError::Memory(MemoryError::Gone)),
        "{error:?}"
    );
    // The same program again: the addresses are the same, the life is not.
    let mut drill = Drill::start(command(&program, scratch.path()));
    let mut before = attach(&drill);
    before.snapshot().unwrap();
    drill
        .talk
        .tell(&format!("die exec leader {}", program.display()));
    drill.talk.answer();
    drill.ready();
    let error = before.snapshot().unwrap_err();
    assert!(
        matches!(error, SnapshotError::Memory(MemoryError::Replaced)),
        "{error:?}"
    );
    let mut after = attach(&drill);
    after.snapshot().unwrap();
    assert!(Arc::ptr_eq(before.meta(), after.meta()), "read once");
    drill.die("die exit 0");
}

#[test]
fn a_program_whose_file_is_deleted_or_replaced() {
    let Some(programs) = Programs::of(VERSION) else {
        return;
    };
    let scratch = scratch();
    let copy = scratch.path().join("copy");
    fs::copy(programs.path("static/drill"), &copy).unwrap();
    let drill = Drill::start(command(&copy, scratch.path()));
    fs::remove_file(&copy).unwrap();
    // Another program has its name now.
    fs::copy("/bin/cat", &copy).unwrap();
    let target = Target::find(drill.pid()).unwrap();
    let mut tap = Attached::attach(target, &Images::new()).unwrap();
    assert_eq!(tap.found(), Found::Symbols);
    assert!(tap.snapshot().unwrap().live_functions() > 0);
    drill.die("die exit 0");
}

/// What a process of another user is told; in a process of its own, see below.
const DENIED: &str = "COVTAP_TEST_DENIED";

#[test]
fn a_process_of_another_user() {
    if let Some(pid) = env::var(DENIED).ok().and_then(|pid| pid.parse().ok()) {
        let error = refused(pid);
        let hint = error.hint().unwrap();
        let AttachError::Denied(denied) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(denied.obstacle, Obstacle::OtherUser);
        assert_eq!(
            error.to_string(),
            format!(
                "may not read the memory of process {pid}: it runs as user 0, covtap as user 1001 \
                 without CAP_SYS_PTRACE"
            )
        );
        assert!(hint.starts_with("run covtap as root"), "{hint}");
        return;
    }
    let own = env::current_exe().unwrap();
    if !nix::unistd::geteuid().is_root() || !reachable(&own) {
        say("SKIPPED: another user's process: not root, or the tests lie where others may not go");
        return;
    }
    let child = waiting();
    let mut other = Command::new(&own);
    other
        .args(["--exact", "a_process_of_another_user"])
        .env(DENIED, child.id().to_string())
        .uid(1001)
        .gid(1001)
        .current_dir("/")
        .stdout(Stdio::piped());
    let out = common::start(&mut other).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
    end(child);
}

/// Whether everybody may execute a file.
fn reachable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.ancestors()
        .all(|p| fs::metadata(p).is_ok_and(|m| m.permissions().mode() & 1 != 0))
}
