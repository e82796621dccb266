//! The tracer against real processes: C programs that end, stop, exec and get signals in every way.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a test says what it could not do")]

#[path = "trace/rig.rs"]
mod rig;

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use covtap_tap::life::Status;
use covtap_tap::trace::{Event, LONGEST_STOP, SeizeError, Stop, Survival, Tracer};
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags,
    Response,
};
use nix::sys::signal::{SigSet, Signal, kill};

use rig::{Rig, Subject, pid_of, status_field, until};

/// Waits for the exit stop of a target.
fn exiting(rig: &mut Rig, target: &Subject) -> (u32, i32, Stop) {
    rig.next(
        "exit stop",
        |e| matches!(e, Event::Exiting { pid, .. } if *pid == target.pid),
        |e| match e {
            Event::Exiting {
                tid,
                wait_status,
                stop,
                ..
            } => (tid, wait_status, stop),
            _ => unreachable!(),
        },
    )
}

fn gone(rig: &mut Rig, target: &Subject) -> Option<Status> {
    rig.next(
        "end",
        |e| matches!(e, Event::Gone { pid, .. } if *pid == target.pid),
        |e| match e {
            Event::Gone { status, .. } => status,
            _ => unreachable!(),
        },
    )
}

fn survived(rig: &mut Rig, target: &Subject) -> (u32, Survival) {
    rig.next(
        "survival",
        |e| matches!(e, Event::Survived { pid, .. } if *pid == target.pid),
        |e| match e {
            Event::Survived { tid, because, .. } => (tid, because),
            _ => unreachable!(),
        },
    )
}

fn exec(rig: &mut Rig, target: &Subject) -> (u32, Stop) {
    rig.next(
        "exec",
        |e| matches!(e, Event::Exec { pid, .. } if *pid == target.pid),
        |e| match e {
            Event::Exec {
                former_tid, stop, ..
            } => (former_tid, stop),
            _ => unreachable!(),
        },
    )
}

fn reaped(rig: &mut Rig, child: u32) -> Status {
    rig.next(
        "reaped child",
        |e| matches!(e, Event::Reaped { pid, .. } if *pid == child),
        |e| match e {
            Event::Reaped { status, .. } => status,
            _ => unreachable!(),
        },
    )
}

/// Nothing more has been told of a target that has ended.
fn assert_silence(rig: &mut Rig, target: &Subject) {
    let rest = rig.rest(target.pid);
    assert!(rest.is_empty(), "{rest:?}");
}

/// Lets the C program end in one way, below another parent, and says what that parent learnt: the
/// wait status. When traced, what we learn must fit it.
fn end_once(rig: &mut Rig, arguments: &str, signal: Option<Signal>, traced: bool) -> i32 {
    let mut target = rig.spawn(rig.command(&format!("launch {arguments}")));
    target.await_ready();
    if traced {
        rig.tracer().seize(target.pid).unwrap();
    }
    target.go();
    if let Some(signal) = signal {
        target.told("waiting");
        target.signal(signal);
    }
    if !traced {
        let status = target.told("status");
        assert_eq!(reaped(rig, target.child), Status::Exit(0));
        return status;
    }
    let (tid, wait_status, stop) = exiting(rig, &target);
    assert_eq!(target.read_counter(tid), Ok(42));
    drop(stop);
    let status = target.told("status");
    let learnt = Status::from_wait(status);
    assert_eq!(Status::from_wait(wait_status), learnt);
    assert_eq!(gone(rig, &target), Some(learnt));
    assert_eq!(reaped(rig, target.child), Status::Exit(0));
    assert_silence(rig, &target);
    status
}

#[test]
fn every_end_is_seen_and_none_is_changed() {
    let Some(mut rig) = Rig::new("ends") else {
        return;
    };
    let ways = [
        ("exit 0", None, 0),
        ("exit 7", None, 7 << 8),
        ("_exit 255", None, 255 << 8),
        ("return 1", None, 1 << 8),
        ("wait", Some(Signal::SIGKILL), 9),
        ("wait", Some(Signal::SIGTERM), 15),
        ("wait", Some(Signal::SIGQUIT), 3),
        ("wait", Some(Signal::SIGHUP), 1),
        ("wait", Some(Signal::SIGUSR1), 10),
        ("wait", Some(Signal::SIGTRAP), 5),
        ("raise 15", None, 15),
        ("raise 9", None, 9),
        // A real-time signal.
        ("raise 40", None, 40),
        ("segv", None, 11),
        ("abort", None, 6),
        ("exit-thread 5", None, 5 << 8),
        ("kill-threads", Some(Signal::SIGKILL), 9),
        ("kill-threads", Some(Signal::SIGTERM), 15),
    ];
    for (arguments, signal, expected) in ways {
        println!("{arguments} {signal:?}");
        let plain = end_once(&mut rig, arguments, signal, false);
        let traced = end_once(&mut rig, arguments, signal, true);
        assert_eq!(traced, plain);
        // Whether there is a core dump depends on the machine, not on us.
        assert_eq!(plain & !0x80, expected);
    }
}

#[test]
fn a_signal_with_a_handler_is_handled() {
    let Some(mut rig) = Rig::new("handler") else {
        return;
    };
    for signal in [Signal::SIGTERM, Signal::SIGURG, Signal::SIGINT] {
        let mut target = rig.start_traced(&format!("handle {}", signal as i32));
        target.go();
        target.told("waiting");
        target.signal(signal);
        let (tid, _, stop) = exiting(&mut rig, &target);
        assert_eq!(target.read_counter(tid), Ok(43));
        drop(stop);
        assert_eq!(gone(&mut rig, &target), Some(Status::Exit(3)));
    }
}

#[test]
fn every_signal_of_a_storm_arrives() {
    let Some(mut rig) = Rig::new("storm") else {
        return;
    };
    let mut target = rig.start_traced("storm 10000");
    target.go();
    assert_eq!(target.told("counted"), 10_000);
    drop(exiting(&mut rig, &target));
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(0)));
}

#[test]
fn every_queued_real_time_signal_arrives() {
    let Some(mut rig) = Rig::new("real-time signals") else {
        return;
    };
    let mut target = rig.start_traced("queue 1000");
    target.go();
    let signal = target.told("waiting");
    let mut sender = rig.start(&format!("send 1000 {} {signal}", target.pid));
    sender.go();
    assert_eq!(target.told("counted"), 1000);
    drop(exiting(&mut rig, &target));
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(0)));
}

#[test]
fn a_stopped_target_stays_stopped_until_it_is_continued() {
    let Some(mut rig) = Rig::new("stop and continue") else {
        return;
    };
    let mut target = rig.spawn(rig.command("observe run"));
    target.await_ready();
    rig.tracer().seize(target.pid).unwrap();
    target.go();
    for (signal, number) in [(Signal::SIGSTOP, 19), (Signal::SIGTSTP, 20)] {
        target.signal(signal);
        // Its parent sees it, as if nobody traced.
        assert_eq!(target.told("stopped"), number);
        until("it stands still", || {
            let before = target.read_counter(target.pid).unwrap();
            // Signals that do not continue it do not.
            target.signal(Signal::SIGURG);
            std::thread::sleep(std::time::Duration::from_millis(5));
            target.read_counter(target.pid) == Ok(before)
        });
        let before = target.read_counter(target.pid).unwrap();
        target.signal(Signal::SIGCONT);
        target.told("continued");
        until("it goes on", || {
            target.read_counter(target.pid) != Ok(before)
        });
    }
    // Killed while it is stopped.
    target.signal(Signal::SIGSTOP);
    assert_eq!(target.told("stopped"), 19);
    target.signal(Signal::SIGKILL);
    drop(exiting(&mut rig, &target));
    assert_eq!(target.told("status"), 9);
    assert_eq!(gone(&mut rig, &target), Some(Status::Signal(9)));
}

#[test]
fn a_target_that_was_stopped_before_is_seized_as_it_is() {
    let Some(mut rig) = Rig::new("seize of a stopped process") else {
        return;
    };
    let target = rig.start("wait");
    target.signal(Signal::SIGSTOP);
    until("it is stopped", || target.state() == "T");
    rig.tracer().seize(target.pid).unwrap();
    // It is stopped for its tracer now: T becomes t, and it listens.
    until("its stop is seen", || target.state() == "t");
    // Let go, it is still stopped.
    rig.tracer().detach(target.pid);
    until("it is let go", || {
        target.tracer() == "0" && target.state() == "T"
    });
    rig.tracer().seize(target.pid).unwrap();
    until("its stop is seen", || target.state() == "t");
    rig.end_tracer();
    until("it is let go", || {
        target.tracer() == "0" && target.state() == "T"
    });
    target.signal(Signal::SIGCONT);
    target.signal(Signal::SIGKILL);
}

#[test]
fn a_leader_that_ends_before_its_process_is_no_death() {
    let Some(mut rig) = Rig::new("leader ends") else {
        return;
    };
    let mut target = rig.start_traced("leader-ends 9");
    target.go();
    let (tid, _, stop) = exiting(&mut rig, &target);
    assert_eq!(tid, target.pid);
    assert_eq!(target.read_counter(tid), Ok(42));
    drop(stop);
    let (anchor, because) = survived(&mut rig, &target);
    assert_eq!(because, Survival::Thread);
    assert_ne!(anchor, target.pid);
    until("the leader has ended", || target.state() == "Z");
    // It has no memory any more, the anchor has.
    assert_eq!(target.read_counter(anchor), Ok(42));
    assert!(target.read_counter(target.pid).is_err());
    target.go();
    let (tid, wait_status, stop) = exiting(&mut rig, &target);
    assert_eq!((tid, wait_status), (anchor, 9 << 8));
    assert_eq!(target.read_counter(tid), Ok(43));
    drop(stop);
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(9)));
    assert_silence(&mut rig, &target);
}

#[test]
fn a_process_whose_leader_has_ended_can_be_seized() {
    let Some(mut rig) = Rig::new("seize after the leader's end") else {
        return;
    };
    let mut target = rig.start("leader-ends 9");
    target.go();
    until("the leader ends", || target.state() == "Z");
    rig.tracer().seize(target.pid).unwrap();
    target.go();
    let (tid, _, stop) = exiting(&mut rig, &target);
    assert_eq!(target.read_counter(tid), Ok(43));
    drop(stop);
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(9)));
    assert_silence(&mut rig, &target);
}

#[test]
fn an_exec_by_the_leader_is_held_before_the_first_instruction() {
    let Some(mut rig) = Rig::new("exec by the leader") else {
        return;
    };
    let mut target = rig.start_traced("exec exit 4");
    target.go();
    let (former, stop) = exec(&mut rig, &target);
    assert_eq!(former, target.pid);
    assert_eq!(target.state(), "t");
    let arguments = std::fs::read(format!("/proc/{}/cmdline", target.pid)).unwrap();
    assert_eq!(arguments, b"exec\0exit\x004\0");
    drop(stop);
    target.await_ready();
    assert_eq!(target.read_counter(target.pid), Ok(0));
    target.go();
    let (tid, _, stop) = exiting(&mut rig, &target);
    assert_eq!(target.read_counter(tid), Ok(42));
    drop(stop);
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(4)));
    assert_silence(&mut rig, &target);
}

#[test]
fn a_program_that_is_of_no_interest_is_let_go_at_its_exec() {
    let Some(mut rig) = Rig::new("detach at exec") else {
        return;
    };
    let mut target = rig.start_traced("exec exit 4");
    target.go();
    let (_, stop) = exec(&mut rig, &target);
    stop.detach();
    target.await_ready();
    assert_eq!(target.tracer(), "0");
    target.go();
    assert_eq!(reaped(&mut rig, target.pid), Status::Exit(4));
    assert_silence(&mut rig, &target);
}

#[test]
fn an_exec_by_another_thread_is_survived_with_its_last_state() {
    let Some(mut rig) = Rig::new("exec by a thread") else {
        return;
    };
    // The second program execs from a thread as well.
    let mut target = rig.start_traced("exec-thread exec-thread exit 4");
    for _ in 0..2 {
        target.go();
        let (tid, _, stop) = exiting(&mut rig, &target);
        assert_eq!(tid, target.pid);
        // The old program's memory.
        assert_eq!(target.read_counter(tid), Ok(42));
        drop(stop);
        assert_eq!(survived(&mut rig, &target), (target.pid, Survival::Exec));
        target.await_ready();
        assert_eq!(target.read_counter(target.pid), Ok(0));
    }
    target.go();
    let (tid, wait_status, stop) = exiting(&mut rig, &target);
    assert_eq!((tid, wait_status), (target.pid, 4 << 8));
    assert_eq!(target.read_counter(tid), Ok(42));
    drop(stop);
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(4)));
    assert_silence(&mut rig, &target);
}

#[test]
fn a_short_program_that_a_thread_called_is_captured_or_known_to_be_missed() {
    let Some(mut rig) = Rig::new("short program") else {
        return;
    };
    const LIVES: usize = 30;
    let mut captured = 0;
    for _ in 0..LIVES {
        let mut target = rig.start_traced("exec-thread _exit 0");
        target.go();
        // What it is to wait for is there already.
        target.go();
        drop(exiting(&mut rig, &target));
        assert_eq!(survived(&mut rig, &target), (target.pid, Survival::Exec));
        let last = rig.next("end", |e| pid_of(e) == target.pid, |e| e);
        let end = if let Event::Exiting { stop, .. } = last {
            drop(stop);
            captured += 1;
            rig.next("end", |e| pid_of(e) == target.pid, |e| e)
        } else {
            last
        };
        assert!(
            matches!(
                end,
                Event::Gone {
                    status: Some(Status::Exit(0)),
                    ..
                }
            ),
            "{end:?}"
        );
    }
    println!("trace: {captured} of {LIVES} programs that live a millisecond captured");
}

#[test]
fn an_exec_after_the_leaders_end_is_seen() {
    let Some(mut rig) = Rig::new("exec after the leader's end") else {
        return;
    };
    let mut target = rig.start_traced("leader-ends-exec exit 4");
    target.go();
    drop(exiting(&mut rig, &target));
    let (anchor, because) = survived(&mut rig, &target);
    assert_eq!(because, Survival::Thread);
    target.go();
    let (former, stop) = exec(&mut rig, &target);
    assert_eq!(former, anchor);
    drop(stop);
    target.await_ready();
    target.go();
    let (tid, _, stop) = exiting(&mut rig, &target);
    assert_eq!(target.read_counter(tid), Ok(42));
    drop(stop);
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(4)));
    assert_silence(&mut rig, &target);
}

#[test]
fn an_exec_that_ends_the_anchor_after_the_leaders_end_is_seen() {
    let Some(mut rig) = Rig::new("exec by a third thread") else {
        return;
    };
    let mut target = rig.start_traced("leader-ends-other-exec exit 4");
    target.go();
    drop(exiting(&mut rig, &target));
    let (anchor, because) = survived(&mut rig, &target);
    assert_eq!(because, Survival::Thread);
    target.go();
    let (tid, _, stop) = exiting(&mut rig, &target);
    assert_eq!(tid, anchor);
    assert_eq!(target.read_counter(tid), Ok(43));
    drop(stop);
    assert_eq!(survived(&mut rig, &target), (target.pid, Survival::Exec));
    target.await_ready();
    target.go();
    let (tid, _, stop) = exiting(&mut rig, &target);
    assert_eq!(target.read_counter(tid), Ok(42));
    drop(stop);
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(4)));
    assert_silence(&mut rig, &target);
}

#[test]
fn a_thread_that_will_exec_can_be_seized_itself() {
    let Some(mut rig) = Rig::new("seize of a thread") else {
        return;
    };
    let mut target = rig.start("exec-known-thread exit 4");
    target.go();
    let thread = u32::try_from(target.told("thread")).unwrap();
    rig.tracer().seize_async(thread);
    seized(&mut rig, thread);
    target.go();
    let (former, stop) = exec(&mut rig, &target);
    assert_eq!(former, thread);
    drop(stop);
    target.await_ready();
    target.go();
    let (tid, _, stop) = exiting(&mut rig, &target);
    assert_eq!(target.read_counter(tid), Ok(42));
    drop(stop);
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(4)));
    assert_silence(&mut rig, &target);
}

#[test]
fn children_of_a_target_are_not_traced() {
    let Some(mut rig) = Rig::new("vfork") else {
        return;
    };
    let mut target = rig.start_traced("vfork wait");
    target.go();
    let parent = target.pid;
    target.await_ready();
    assert_ne!(target.pid, parent);
    assert_eq!(target.tracer(), "0");
    target.signal(Signal::SIGKILL);
    assert_eq!(target.told("child"), 9);
    target.pid = parent;
    drop(exiting(&mut rig, &target));
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(0)));
    assert_silence(&mut rig, &target);
}

#[test]
fn a_stop_that_is_held_for_too_long_ends_and_others_are_served_meanwhile() {
    let Some(mut rig) = Rig::new("long stop") else {
        return;
    };
    let mut slow = rig.start_traced("exit 1");
    let mut quick = rig.start_traced("exit 2");
    slow.go();
    let (_, _, stop) = exiting(&mut rig, &slow);
    let began = Instant::now();
    quick.go();
    drop(exiting(&mut rig, &quick));
    assert_eq!(gone(&mut rig, &quick), Some(Status::Exit(2)));
    assert!(rig.rest(slow.pid).is_empty(), "held until now");
    // It was not held up by the other one's stop.
    assert!(began.elapsed() < LONGEST_STOP);
    assert_eq!(gone(&mut rig, &slow), Some(Status::Exit(1)));
    assert!(Instant::now() >= stop.until());
    // Of no effect any more.
    drop(stop);

    let mut target = rig.start_traced("exec exit 3");
    target.go();
    let (_, stop) = exec(&mut rig, &target);
    target.await_ready();
    assert!(Instant::now() >= stop.until());
    target.go();
    let exit = exiting(&mut rig, &target);
    // The old stop's: it does not end the new one.
    drop(stop);
    assert!(
        rig.tracer().seize(target.pid).is_ok(),
        "a round through the tracer"
    );
    assert_eq!(target.state(), "t");
    assert_eq!(target.read_counter(target.pid), Ok(42));
    drop(exit);
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(3)));
}

#[test]
fn a_kill_during_a_stop_changes_nothing_of_it() {
    let Some(mut rig) = Rig::new("kill during a stop") else {
        return;
    };
    // At the exit stop: the memory stays, and so does the status.
    let mut target = rig.start_traced("exit 1");
    target.go();
    let (tid, _, stop) = exiting(&mut rig, &target);
    target.signal(Signal::SIGKILL);
    assert_eq!(target.read_counter(tid), Ok(42));
    assert_eq!(target.state(), "t");
    drop(stop);
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(1)));
    // At the exec stop: the exit stop follows at once, and the first stop's end does not end it.
    let mut target = rig.start_traced("exec exit 1");
    target.go();
    let (_, exec_stop) = exec(&mut rig, &target);
    target.signal(Signal::SIGKILL);
    let (_, wait_status, stop) = exiting(&mut rig, &target);
    assert_eq!(wait_status, 9);
    exec_stop.detach();
    assert!(
        rig.tracer().seize(target.pid).is_ok(),
        "a round through the tracer"
    );
    assert_eq!(target.state(), "t");
    drop(stop);
    assert_eq!(gone(&mut rig, &target), Some(Status::Signal(9)));
}

#[test]
fn many_deaths_at_once_are_all_seen() {
    let Some(mut rig) = Rig::new("many deaths") else {
        return;
    };
    let mut targets: Vec<Subject> = (0..20).map(|_| rig.start_traced("kill-threads")).collect();
    for target in &mut targets {
        target.go();
        target.told("waiting");
    }
    for target in &targets {
        target.signal(Signal::SIGKILL);
    }
    for target in &targets {
        let (tid, wait_status, stop) = exiting(&mut rig, target);
        assert_eq!(wait_status, 9);
        assert_eq!(target.read_counter(tid), Ok(42));
        drop(stop);
    }
    for target in &targets {
        assert_eq!(gone(&mut rig, target), Some(Status::Signal(9)));
        assert_silence(&mut rig, target);
    }
}

#[test]
fn a_target_that_is_let_go_runs_on() {
    let Some(mut rig) = Rig::new("detach") else {
        return;
    };
    let mut target = rig.start_traced("run");
    target.go();
    rig.tracer().detach(target.pid);
    until("it is let go", || target.tracer() == "0");
    let before = target.read_counter(target.pid).unwrap();
    until("it goes on", || {
        target.read_counter(target.pid) != Ok(before)
    });
    // Again, and the tracer ends.
    rig.tracer().seize(target.pid).unwrap();
    assert_ne!(target.tracer(), "0");
    rig.end_tracer();
    until("it is let go", || target.tracer() == "0");
    let before = target.read_counter(target.pid).unwrap();
    until("it goes on", || {
        target.read_counter(target.pid) != Ok(before)
    });
    target.signal(Signal::SIGKILL);
}

#[test]
fn a_tracer_that_ends_lets_a_held_target_end() {
    let Some(mut rig) = Rig::new("end of the tracer at a stop") else {
        return;
    };
    let mut target = rig.spawn(rig.command("launch exit 7"));
    target.await_ready();
    rig.tracer().seize(target.pid).unwrap();
    target.go();
    let (_, _, stop) = exiting(&mut rig, &target);
    rig.end_tracer();
    assert_eq!(target.told("status"), 7 << 8);
    // Into a closed mailbox.
    drop(stop);
}

#[test]
fn a_killed_tracer_leaves_its_targets_running() {
    let Some(mut rig) = Rig::new("killed tracer") else {
        return;
    };
    let mut target = rig.start("run");
    target.go();
    let mut helper = rig.spawn(rig.helper(&format!("seize {}", target.pid)));
    helper.await_line("result Ok(())");
    assert_ne!(target.tracer(), "0");
    // It has a tracer: that is not an end of anything here.
    let error = rig.tracer().seize(target.pid).unwrap_err();
    let expected = format!(
        "process {} is traced by process {} already",
        target.pid, helper.pid
    );
    assert_eq!(error.to_string(), expected);
    helper.signal(Signal::SIGKILL);
    assert_eq!(reaped(&mut rig, helper.pid), Status::Signal(9));
    assert_eq!(target.tracer(), "0");
    let before = target.read_counter(target.pid).unwrap();
    until("it goes on", || {
        target.read_counter(target.pid) != Ok(before)
    });
    // And another tracer can take over.
    rig.tracer().seize(target.pid).unwrap();
    target.signal(Signal::SIGTERM);
    drop(exiting(&mut rig, &target));
    assert_eq!(gone(&mut rig, &target), Some(Status::Signal(15)));
}

#[test]
fn a_target_under_strace_is_refused() {
    let Some(mut rig) = Rig::new("strace") else {
        return;
    };
    let target = rig.start("wait");
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o"]).arg(rig.path("strace.out"));
    strace.args(["-p", &target.pid.to_string()]);
    strace.stdin(Stdio::null());
    let Ok(strace) = rig.tracer().spawn(strace) else {
        println!("SKIPPED: trace strace: there is no strace");
        return;
    };
    until("strace has attached", || target.tracer() != "0");
    let error = rig.tracer().seize(target.pid).unwrap_err();
    assert!(
        matches!(error, SeizeError::AlreadyTraced { by, .. } if by == strace),
        "{error}"
    );
    target.signal(Signal::SIGKILL);
    // We are its parent, but not its tracer.
    assert_eq!(reaped(&mut rig, target.pid), Status::Signal(9));
    reaped(&mut rig, strace);
}

#[test]
fn what_cannot_be_traced_is_named() {
    let Some(mut rig) = Rig::new("refusals") else {
        return;
    };
    let own = std::process::id();
    let seize = |rig: &Rig, pid| rig.tracer().seize(pid).unwrap_err().to_string();
    assert_eq!(
        seize(&rig, own),
        format!("process {own} cannot trace itself")
    );
    let mut target = rig.start("exit 0");
    target.go();
    assert_eq!(reaped(&mut rig, target.pid), Status::Exit(0));
    let gone = format!("process {} is gone", target.pid);
    assert_eq!(seize(&rig, target.pid), gone);
    assert_eq!(
        seize(&rig, u32::MAX),
        format!("process {} is gone", u32::MAX)
    );
    // A zombie.
    let mut target = rig.start("vfork exit 0");
    let parent = target.pid;
    target.go();
    target.await_ready();
    let child = target.pid;
    kill(rig::pid(parent), Signal::SIGSTOP).unwrap();
    until("its parent is stopped", || rig::state(parent) == "T");
    target.go();
    until("it has ended", || target.state() == "Z");
    assert_eq!(seize(&rig, child), format!("process {child} is gone"));
    kill(rig::pid(parent), Signal::SIGKILL).unwrap();
    reaped(&mut rig, parent);

    let is_kernels = std::fs::read("/proc/2/cmdline").is_ok_and(|c| c.is_empty());
    if is_kernels && status_field(2, "Name").as_deref() == Some("kthreadd") {
        assert_eq!(seize(&rig, 2), "process 2 is a thread of the kernel");
    } else {
        println!("SKIPPED: trace kernel thread: none is to be seen here");
    }
    let again = Tracer::start(|_| {}).map(drop).unwrap_err();
    assert_eq!(again.to_string(), "this process has a tracer already");
    let missing = rig.tracer().spawn(Command::new("/nowhere/to/be/found"));
    assert_eq!(missing.unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_target_of_somebody_else_is_refused() {
    let Some(mut rig) = Rig::new("permission") else {
        return;
    };
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: trace permission: only root can become somebody else");
        return;
    }
    let target = rig.start("wait");
    let mut helper = rig.helper(&format!("seize {}", target.pid));
    helper.uid(65534).gid(65534);
    let mut helper = match rig.try_spawn(helper) {
        Ok(helper) => helper,
        Err(e) => {
            println!("SKIPPED: trace permission: nobody may not run {}", e);
            return;
        }
    };
    helper.await_line(&format!("result Err(Denied {{ pid: {} }})", target.pid));
    helper.go();
    reaped(&mut rig, helper.pid);
    target.signal(Signal::SIGKILL);
    assert_eq!(reaped(&mut rig, target.pid), Status::Signal(9));
}

/// Not a test of its own: what other tests start as another process. It seizes, says the result, and
/// waits for a byte.
#[test]
fn helper_process() {
    let Ok(task) = std::env::var(rig::HELPER) else {
        return;
    };
    let pid = task.strip_prefix("seize ").unwrap().parse().unwrap();
    let tracer = Tracer::start(|_| {}).unwrap();
    println!("\nresult {:?}", tracer.seize(pid));
    let mut byte = [0];
    let _ = std::io::stdin().read(&mut byte).unwrap();
}

#[test]
fn orphans_that_are_adopted_are_reaped() {
    let Some(mut rig) = Rig::new("orphans") else {
        return;
    };
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut target = rig.start("orphan exit 6");
    target.go();
    assert_eq!(reaped(&mut rig, target.pid), Status::Exit(0));
    target.await_ready();
    target.go();
    assert_eq!(reaped(&mut rig, target.pid), Status::Exit(6));
}

#[test]
fn other_users_of_sigchld_and_a_blocked_one_do_not_matter() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block().unwrap();
    let seen = Arc::new(AtomicBool::new(false));
    let id = signal_hook::flag::register(libc::SIGCHLD, Arc::clone(&seen)).unwrap();
    let Some(mut rig) = Rig::new("SIGCHLD") else {
        return;
    };
    let mut target = rig.start_traced("exit 7");
    target.go();
    drop(exiting(&mut rig, &target));
    assert_eq!(gone(&mut rig, &target), Some(Status::Exit(7)));
    assert!(seen.load(Ordering::Relaxed));
    signal_hook::low_level::unregister(id);
    signals.thread_unblock().unwrap();
}

#[test]
fn the_first_process_of_a_pid_namespace_is_seen_to_its_end() {
    let Some(mut rig) = Rig::new("pid namespace") else {
        return;
    };
    let mut command = Command::new("unshare");
    let inner = rig.command("kill-threads");
    command.args(["--pid", "--fork"]).arg(inner.get_program());
    command.args(inner.get_args());
    let Ok(mut target) = rig.try_spawn(command) else {
        println!("SKIPPED: trace pid namespace: there is no unshare");
        return;
    };
    let line = target.line();
    if line.is_empty() {
        println!("SKIPPED: trace pid namespace: not permitted");
        reaped(&mut rig, target.pid);
        return;
    }
    let words: Vec<u64> = line
        .split(' ')
        .skip(1)
        .map(|w| w.parse().unwrap())
        .collect();
    // Process 1, as it sees itself.
    assert_eq!(words[0], 1, "{line}");
    target.counter = words[1];
    let children = format!("/proc/{0}/task/{0}/children", target.child);
    let children = std::fs::read_to_string(children).unwrap();
    target.pid = children.trim().parse().unwrap();
    rig.tracer().seize(target.pid).unwrap();
    target.go();
    target.told("waiting");
    target.signal(Signal::SIGKILL);
    let (tid, wait_status, stop) = exiting(&mut rig, &target);
    assert_eq!(wait_status, 9);
    assert_eq!(target.read_counter(tid), Ok(42));
    drop(stop);
    assert_eq!(gone(&mut rig, &target), Some(Status::Signal(9)));
    reaped(&mut rig, target.child);
}

/// Holds the opening of one program's interpreter: the kernel keeps `cred_guard_mutex` meanwhile, and
/// SEIZE waits for it.
struct InterpreterHold {
    group: Fanotify,
    program: PathBuf,
    linker: PathBuf,
}

impl InterpreterHold {
    /// The C program with an interpreter of its own; `None` where that cannot be held.
    fn prepare(rig: &mut Rig) -> Option<Self> {
        let group = Fanotify::init(
            InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC | InitFlags::FAN_REPORT_TID,
            EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC,
        );
        let group = match group {
            Ok(group) => group,
            Err(e) => {
                println!("SKIPPED: trace seize during a hold: fanotify: {e}");
                return None;
            }
        };
        let waiting = rig.start("wait");
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", waiting.pid)).unwrap();
        waiting.signal(Signal::SIGKILL);
        reaped(rig, waiting.pid);
        let mut files = maps.lines().filter_map(|l| l.find('/').map(|at| &l[at..]));
        let Some(linker) = files.find(|f| f.contains("/ld")) else {
            println!("SKIPPED: trace seize during a hold: no interpreter in {maps}");
            return None;
        };
        let own_linker = rig.path("ld.so");
        std::fs::copy(linker, &own_linker).unwrap();
        let program = rig.path("held");
        let mut cc = Command::new("cc");
        cc.args(["-pthread", "-o"]).arg(&program).arg(rig::SOURCE);
        cc.arg(format!("-Wl,--dynamic-linker={}", own_linker.display()));
        let cc = rig.tracer().spawn(cc).unwrap();
        assert_eq!(reaped(rig, cc), Status::Exit(0));
        Some(Self {
            group,
            program,
            linker: own_linker,
        })
    }

    /// A C program that execs the held one.
    fn start(&self, rig: &Rig, arguments: &str) -> Subject {
        let mut command = rig.command(arguments);
        command.env("SUBJECT_NEXT", &self.program);
        let mut target = rig.spawn(command);
        target.await_ready();
        let mask = MaskFlags::FAN_OPEN_EXEC_PERM;
        let linker = Some(self.linker.as_path());
        let here = std::fs::File::open("/").unwrap();
        self.group
            .mark(MarkFlags::FAN_MARK_ADD, mask, &here, linker)
            .unwrap();
        target
    }

    /// Waits until a thread is held. It goes on when the event is allowed.
    fn held(&self) -> (u32, FanotifyEvent) {
        let event = self.group.read_events().unwrap().pop().unwrap();
        (event.pid().try_into().unwrap(), event)
    }

    fn allow(&self, event: &FanotifyEvent) {
        let response = FanotifyResponse::new(event.fd().unwrap(), Response::FAN_ALLOW);
        self.group.write_response(response).unwrap();
    }
}

/// Waits for the answer to `seize_async`, which must be that the process is traced.
fn seized(rig: &mut Rig, number: u32) {
    let result = rig.next(
        "answer",
        |e| matches!(e, Event::Seized { pid_or_tid, .. } if *pid_or_tid == number),
        |e| match e {
            Event::Seized { result, .. } => result,
            _ => unreachable!(),
        },
    );
    result.unwrap();
}

/// The last life of a target ends with 4, and its last state is read. Whether the stop of an exec that
/// was at work when it was seized is seen depends on the moment.
fn ends_with_4(rig: &mut Rig, target: &mut Subject) {
    target.await_ready();
    target.go();
    let (tid, wait_status, stop) = exiting(rig, target);
    assert_eq!(wait_status, 4 << 8);
    assert_eq!(target.read_counter(tid), Ok(42));
    drop(stop);
    assert_eq!(gone(rig, target), Some(Status::Exit(4)));
}

#[test]
fn a_seize_during_a_hold_of_the_interpreter_gets_the_program() {
    let Some(mut rig) = Rig::new("seize during a hold") else {
        return;
    };
    let Some(hold) = InterpreterHold::prepare(&mut rig) else {
        return;
    };
    rig.pass_execs();
    // By the leader.
    let mut target = hold.start(&rig, "exec exit 4");
    target.go();
    let (tid, event) = hold.held();
    assert_eq!(tid, target.pid);
    rig.tracer().seize_async(tid);
    std::thread::sleep(std::time::Duration::from_millis(20));
    hold.allow(&event);
    seized(&mut rig, tid);
    ends_with_4(&mut rig, &mut target);

    // By another thread, which is what is seized.
    let mut target = hold.start(&rig, "exec-thread exit 4");
    target.go();
    let (tid, event) = hold.held();
    assert_ne!(tid, target.pid);
    rig.tracer().seize_async(tid);
    std::thread::sleep(std::time::Duration::from_millis(20));
    hold.allow(&event);
    seized(&mut rig, tid);
    ends_with_4(&mut rig, &mut target);

    // By another thread, and the leader is seized, which the exec ends.
    let mut target = hold.start(&rig, "exec-thread exit 4");
    target.go();
    let (_, event) = hold.held();
    rig.tracer().seize_async(target.pid);
    std::thread::sleep(std::time::Duration::from_millis(20));
    hold.allow(&event);
    seized(&mut rig, target.pid);
    ends_with_4(&mut rig, &mut target);
}

/// The exec waits for the leader's end, the leader's end for the tracer: if that waited for the exec,
/// all three would wait for ever.
#[test]
fn a_seize_during_a_hold_does_not_wait_for_itself() {
    let Some(mut rig) = Rig::new("seize of a second thread") else {
        return;
    };
    let Some(hold) = InterpreterHold::prepare(&mut rig) else {
        return;
    };
    rig.pass_execs();
    let mut target = hold.start(&rig, "exec-thread exit 4");
    rig.tracer().seize(target.pid).unwrap();
    target.go();
    let (tid, event) = hold.held();
    assert_ne!(tid, target.pid);
    rig.tracer().seize_async(tid);
    // While it is held.
    seized(&mut rig, tid);
    hold.allow(&event);
    let (anchor, _, stop) = exiting(&mut rig, &target);
    assert_eq!(target.read_counter(anchor), Ok(42));
    drop(stop);
    assert_eq!(survived(&mut rig, &target), (target.pid, Survival::Exec));
    ends_with_4(&mut rig, &mut target);
    assert_silence(&mut rig, &target);
}
