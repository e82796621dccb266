//! How processes end, and what becomes of those that do not, when files are the only route.

use covtap_model::ledger::Outcome;

use crate::project::{Project, assert_code, because, kill, stderr};

#[test]
fn a_killed_service_is_missing_with_the_reason() {
    let Some(project) = Project::new() else {
        return;
    };
    let script = "./svc hang $r & read x < $r; kill -9 $!; wait $!; ./svc quick";
    assert_code(&project.script(&["--route=files"], script), 4);
    let ledger = project.ledger();
    let killed = ledger
        .targets
        .iter()
        .find(|t| t.outcome != Outcome::Merged)
        .unwrap();
    let reason = because(killed);
    assert!(
        reason.starts_with(
            "started (covmeta is there) and did not end through os.Exit or a return from main: "
        ),
        "{reason}"
    );
    assert!(killed.build.is_some());
}

#[test]
fn a_killed_command_is_missing_with_its_signal() {
    let Some(project) = Project::new() else {
        return;
    };
    // The service is CMD: covtap itself collects how it ended.
    let script = "exec ./svc hang $r";
    let killer = "read x < $r; kill -9 $p";
    let script = format!("p=$$; ({killer}) & {script}");
    assert_code(&project.script(&["--route=files"], &script), 137);
    let row = project.only_row();
    assert_eq!(row.exit_status.as_deref(), Some("signal 9"));
    assert!(
        because(&row).ends_with("exit status signal 9 (SIGKILL)"),
        "{}",
        because(&row)
    );
    assert_eq!(project.ledger().verdict().code(), 3);
}

#[test]
fn a_panic_is_missing_with_the_reason() {
    let Some(project) = Project::new() else {
        return;
    };
    assert_code(
        &project.run(&["run", "--route=files", "--", "./svc", "panic"]),
        2,
    );
    let row = project.only_row();
    assert!(
        because(&row).ends_with("exit status 2, as after a panic"),
        "{}",
        because(&row)
    );
}

#[test]
fn a_daemon_is_waited_for() {
    let Some(project) = Project::new() else {
        return;
    };
    // A grandchild in a session of its own, which ends when CMD has: its pipe is closed then.
    let script = "(setsid ./svc until-eof $r &); exec 9> $r";
    let output = project.script(&["--grace", "60s"], script);
    assert_code(&output, 0);
    let row = project.only_row();
    assert_eq!(because(&row), "merged");
    assert_eq!(
        row.exit_status.as_deref(),
        Some("exit 0"),
        "covtap reaped it"
    );
}

#[test]
fn a_service_that_stays_gets_a_sigterm() {
    let Some(project) = Project::new() else {
        return;
    };
    let script = "./svc serve $r & read x < $r";
    let output = project.script(&["--grace=300ms"], script);
    assert_code(&output, 0);
    assert!(
        stderr(&output).contains("did not end by itself: SIGTERM"),
        "{}",
        stderr(&output)
    );
    assert_eq!(because(&project.only_row()), "merged");
}

#[test]
fn what_resists_is_named() {
    let Some(project) = Project::new() else {
        return;
    };
    let script = "./svc quick; ./svc stubborn $r > /dev/null 2>&1 & read x < $r";
    let output = project.script(&["--route=files", "--grace=50ms"], script);
    let ledger = project.ledger();
    let row = ledger
        .targets
        .iter()
        .find(|t| t.outcome != Outcome::Merged)
        .unwrap();
    kill(row);
    assert_code(&output, 4);
    assert_eq!(
        because(row),
        "it still runs, and Go writes counters when a process ends"
    );
    assert!(row.ended.is_none());
}

#[test]
fn leave_running_leaves_it_running() {
    let Some(project) = Project::new() else {
        return;
    };
    let script = "./svc serve $r > /dev/null 2>&1 & read x < $r";
    let output = project.script(
        &["--route=files", "--grace=50ms", "--leave-running"],
        script,
    );
    let row = project.only_row();
    kill(&row);
    assert_code(&output, 3);
    assert!(matches!(row.outcome, Outcome::Running { .. }));
    assert!(!stderr(&output).contains("SIGTERM"), "{}", stderr(&output));
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let Some(project) = Project::new() else {
        return;
    };
    let first = project.start(&["run", "--", "./svc", "serve", "ready"]);
    assert_code(&project.script(&[], "./svc quick"), 0);
    let second = project.latest();
    crate::signals::send(&first, rustix::process::Signal::TERM);
    let output = first.wait_with_output().unwrap();
    assert_code(&output, 0);
    assert_ne!(project.latest(), second);
    assert_eq!(project.ledger().targets.len(), 1);
    assert_eq!(
        std::fs::read_dir(project.path().join(".covtap/runs"))
            .unwrap()
            .count(),
        2
    );
}
