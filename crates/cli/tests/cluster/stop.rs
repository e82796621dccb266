//! The graceful stop: what is ended is brought back, whatever happens to covtap meanwhile.

use covtap_model::ledger::{Outcome, Route};
use rustix::process::Signal;

use crate::place::{Place, Run};
use crate::{Cluster, covtap, load};

/// A deployment of two replicas that take `sleep` seconds to begin to end.
fn begin(cluster: &Cluster, place: &Place, namespace: &str, (sleep, grace): (u32, u32)) -> Run {
    load(cluster, "numbered:test", "fixtures/cluster/service");
    let context = format!("--context={}", cluster.context);
    let flags = ["-n", namespace, &context, "--route=files"];
    let mut run = place.run(&flags);
    run.says(&["watching node"]);
    let manifest = include_str!("stop.yaml")
        .replace("NAMESPACE", namespace)
        .replace("SLEEP", &sleep.to_string())
        .replace("GRACE", &grace.to_string());
    cluster.apply(&manifest);
    for _ in 0..2 {
        run.says(&[namespace, "is ready"]);
    }
    run.end_command();
    run
}

/// How many replicas the deployment is to have.
fn replicas(cluster: &Cluster, namespace: &str) -> String {
    let get = ["-n", namespace, "get", "deploy", "slow"];
    cluster.kubectl(&[&get[..], &["-o", "jsonpath={.spec.replicas}"]].concat())
}

fn forget(cluster: &Cluster, namespace: &str) {
    cluster.kubectl(&["delete", "namespace", namespace, "--wait=false"]);
}

#[test]
fn a_grace_period_that_is_too_short_is_made_longer_and_an_autoscaler_named() {
    const NAMESPACE: &str = "stop-grace";
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let place = Place::new();
    // The pods' own grace period is below that of the run, which is ten seconds.
    let run = begin(&cluster, &place, NAMESPACE, (1, 2));
    // A replacement may appear between deletion and scaling, and is a row then.
    let (_, said) = run.ended();
    assert!(said.contains("horizontalpodautoscaler/busy does"), "{said}");
    assert_eq!(
        said.matches("/pod/slow-").count(),
        2,
        "deleted with more grace: {said}"
    );
    assert_eq!(replicas(&cluster, NAMESPACE), "2");
    let ledger = place.ledger();
    let first: Vec<_> = ledger
        .targets
        .iter()
        .filter(|target| target.outcome == Outcome::Merged)
        .collect();
    assert!(first.len() >= 2, "{:#?}", ledger.targets);
    for target in first {
        assert_eq!(target.state.as_ref().unwrap().route, Route::Files);
    }
    forget(&cluster, NAMESPACE);
}

#[test]
fn an_interrupt_brings_everything_back() {
    const NAMESPACE: &str = "stop-interrupt";
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let place = Place::new();
    let mut run = begin(&cluster, &place, NAMESPACE, (60, 90));
    run.says(&["deployment/slow is ended", "2 replicas"]);
    run.signal(Signal::INT);
    let (status, said) = run.ended();
    assert!(!status.success(), "{said}");
    assert!(said.contains("it is broken off"), "{said}");
    assert_eq!(replicas(&cluster, NAMESPACE), "2");
    assert!(!place.latest().join("stopped.json").exists());
    forget(&cluster, NAMESPACE);
}

#[test]
fn what_a_killed_run_has_ended_is_brought_back_by_clean() {
    const NAMESPACE: &str = "stop-killed";
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let place = Place::new();
    let mut run = begin(&cluster, &place, NAMESPACE, (60, 90));
    run.says(&["deployment/slow is ended", "2 replicas"]);
    run.signal(Signal::KILL);
    run.ended();
    assert_eq!(replicas(&cluster, NAMESPACE), "0");
    let clean = |flags: &[&str]| {
        let mut clean = covtap(&place);
        clean.arg("clean").args(flags);
        clean.env("COVTAP_STORE", place.path().join("store"));
        let out = clean.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{said}");
        said
    };
    let name = format!("{NAMESPACE}/deployment/slow in cluster {}", cluster.context);
    let said = clean(&["--dry-run"]);
    assert!(
        said.contains(&format!("{name} would get 2 replicas again")),
        "{said}"
    );
    assert_eq!(replicas(&cluster, NAMESPACE), "0");
    let said = clean(&[]);
    assert!(
        said.contains(&format!("{name} gets 2 replicas again")),
        "{said}"
    );
    assert_eq!(replicas(&cluster, NAMESPACE), "2");
    assert!(clean(&[]).contains("nothing to do"));
    forget(&cluster, NAMESPACE);
}
