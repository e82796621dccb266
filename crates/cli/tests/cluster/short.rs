//! Jobs whose process lives for three milliseconds, without GOCOVERDIR. With the exec hold none is lost;
//! without the right to it, those that were missed are rows.

use std::process::Command;

use covtap_model::ledger::{Outcome, Route, Target};
use serde_json::{Value, json};

use crate::manifest::{all, container, spec, with};
use crate::place::Place;
use crate::{Cluster, load};

const WITH: &str = "short";
const WITHOUT: &str = "shorter";

fn ends(image: Value) -> Value {
    with(spec(&[image]), "restartPolicy", json!("Never"))
}

/// A job of which so many run, ten at a time.
fn job(namespace: &str, completions: u32) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "name": "moment", "namespace": namespace },
        "spec": {
            "completions": completions, "parallelism": 10,
            "template": { "spec": ends(container(&["once"])) },
        },
    })
}

/// One that the clock starts: the next minute is at most a minute away.
fn every_minute(namespace: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": { "name": "minute", "namespace": namespace },
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": { "spec": { "template": { "spec": ends(container(&["once"])) } } },
        },
    })
}

fn rows<'a>(targets: &'a [Target], workload: &str) -> Vec<&'a Target> {
    let of = |row: &&Target| row.workload == workload;
    targets.iter().filter(of).collect()
}

#[test]
fn a_hundred_processes_of_a_moment_are_all_there() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    load(&cluster, "numbered:test", "fixtures/cluster/service");
    let place = Place::new();
    let context = format!("--context={}", cluster.context);
    let mut run = place.run(&["-n", WITH, &context]);
    run.says(&["watching node"]);
    cluster.apply(&all(WITH, vec![job(WITH, 100), every_minute(WITH)]));
    cluster.wait(WITH, "job/moment", "condition=Complete");
    cluster.wait(
        WITH,
        "cronjob/minute",
        "jsonpath={.status.lastSuccessfulTime}",
    );
    let (status, said) = run.end();
    let ledger = place.ledger();
    assert!(status.success(), "{status}\n{said}\n{:#?}", ledger.problems);
    let of_job = rows(&ledger.targets, "job/moment");
    assert_eq!(of_job.len(), 100, "{}\n{said}", ledger.watching);
    let of_clock = rows(&ledger.targets, "cronjob/minute");
    assert!(!of_clock.is_empty(), "{said}");
    for row in of_job.iter().chain(&of_clock) {
        assert_eq!(row.outcome, Outcome::Merged);
        assert_eq!(row.exit_status.as_deref(), Some("exit 0"));
        assert_eq!(row.state.as_ref().unwrap().route, Route::Exit);
    }
    crate::say(&format!(
        "{} jobs of a moment, none lost: {}",
        of_job.len() + of_clock.len(),
        ledger.watching
    ));
    cluster.kubectl(&["delete", "namespace", WITH, "--wait=false"]);
}

#[test]
fn without_the_hold_what_was_missed_is_named() {
    const ALL: usize = 30;
    let Some(cluster) = Cluster::get() else {
        return;
    };
    load(&cluster, "numbered:test", "fixtures/cluster/service");
    let place = Place::new();
    let mut fewer = Command::new("setpriv");
    fewer.args(["--bounding-set=-sys_admin", env!("CARGO_BIN_EXE_covtap")]);
    let context = format!("--context={}", cluster.context);
    let mut run = place.run_as(fewer, &["-n", WITHOUT, &context]);
    run.says(&["watching node"]);
    cluster.apply(&all(WITHOUT, vec![job(WITHOUT, ALL.try_into().unwrap())]));
    cluster.wait(WITHOUT, "job/moment", "condition=Complete");
    let (status, said) = run.end();
    let ledger = place.ledger();
    assert!(!ledger.watching.contains("hold"), "{}", ledger.watching);
    let mut rows = rows(&ledger.targets, "job/moment");
    // What made the containers may have been missed too, and nobody expects anything of it.
    rows.retain(|row| row.expected.is_some());
    let came = rows.iter().filter(|row| row.outcome == Outcome::Merged);
    let came = came.count();
    assert_eq!(rows.len(), ALL, "{came} came\n{said}");
    let missed = ALL - came;
    for row in rows.iter().filter(|row| row.outcome != Outcome::Merged) {
        let known = row.container.as_ref().unwrap();
        assert!(row.is_gap() && known.pod.is_some(), "{row:#?}");
    }
    if missed > 0 {
        assert_eq!(status.code(), Some(if came > 0 { 4 } else { 3 }), "{said}");
        assert!(
            said.contains(&format!("{missed} of {ALL} expected processes")),
            "{said}"
        );
    }
    crate::say(&format!(
        "{came} of {ALL} jobs of a moment came without the hold, {missed} are named as missing: {}",
        ledger.watching
    ));
    cluster.kubectl(&["delete", "namespace", WITHOUT, "--wait=false"]);
}
