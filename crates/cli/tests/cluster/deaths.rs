//! Every way in which a container ends: killed, out of memory, evicted, crashing again and again,
//! replaced, scaled away, removed by force. Each has done a known amount of work before, and each is a
//! row with exactly that.

use std::thread;

use covtap_model::ledger::{Outcome, Route, Target};
use serde_json::json;

use crate::manifest::{all, container, deployment, pod, ready_on, spec, with};
use crate::place::Place;
use crate::{Cluster, Ending, load};

const NAMESPACE: &str = "deaths";

/// The handler that work enters.
const WORKED: usize = 7;

/// Nobody in it listens to SIGTERM: as Go ends a first process of a container then (from 1.27 on with
/// 143), or as the kernel does when the time is over.
const UNHEARD: [&str; 3] = ["exit 2", "exit 143", "signal 9"];

fn manifest() -> String {
    let works = |name: &str, times: &str, way: &str| {
        let waits = way == "wait";
        let args = ["work", times, way];
        let container = if waits {
            ready_on(8080, &args)
        } else {
            container(&args)
        };
        pod(NAMESPACE, name, spec(&[container]))
    };
    let memory = with(
        container(&["work", "105", "memory"]),
        "resources",
        json!({ "limits": { "memory": "64Mi" } }),
    );
    let disk = with(
        container(&["work", "106", "disk"]),
        "resources",
        json!({ "limits": { "ephemeral-storage": "8Mi" } }),
    );
    // Only root may write to the root of an image from scratch.
    let disk = with(disk, "securityContext", json!({ "runAsUser": 0 }));
    all(
        NAMESPACE,
        vec![
            works("returned", "101", "return"),
            works("panicked", "102", "panic"),
            works("killed", "103", "wait"),
            works("evicted", "104", "wait"),
            pod(NAMESPACE, "memory", spec(&[memory])),
            pod(NAMESPACE, "disk", spec(&[disk])),
            works("forced", "107", "wait"),
            deployment(
                NAMESPACE,
                "crashing",
                1,
                spec(&[container(&["work", "108", "exit"])]),
            ),
            deployment(NAMESPACE, "rolled", 2, spec(&[ready_on(8080, &[])])),
            deployment(NAMESPACE, "scaled", 2, spec(&[ready_on(8080, &[])])),
        ],
    )
}

/// Brings all of them to their ends, at the same time.
fn end_all(cluster: &Cluster) {
    let wait = |what: &str, until: &str| cluster.wait(NAMESPACE, what, until);
    let ready = |what: &str| wait(what, "condition=Ready");
    let kubectl = |args: &[&str]| cluster.in_namespace(NAMESPACE, args);
    let failed = "jsonpath={.status.phase}=Failed";
    let ends: [&(dyn Fn() + Sync); 9] = [
        &|| wait("pod/returned", "jsonpath={.status.phase}=Succeeded"),
        &|| wait("pod/panicked", failed),
        &|| {
            ready("pod/killed");
            cluster.kill(NAMESPACE, "killed");
            wait("pod/killed", failed);
        },
        &|| {
            ready("pod/evicted");
            cluster.evict(NAMESPACE, "evicted");
            wait("pod/evicted", "delete");
        },
        &|| wait("pod/memory", failed),
        &|| {
            wait("pod/disk", failed);
            wait("pod/disk", "jsonpath={.status.reason}=Evicted");
        },
        &|| {
            ready("pod/forced");
            let ending = Ending::of(cluster.process(NAMESPACE, "forced"));
            kubectl(&["delete", "pod/forced", "--force", "--grace-period=0"]);
            ending.wait();
        },
        &|| {
            // A third life, and its end.
            let status = "{.status.containerStatuses[0].";
            for until in ["restartCount}=2", "state.waiting.reason}=CrashLoopBackOff"] {
                let until = format!("jsonpath={status}{until}");
                kubectl(&[
                    "wait",
                    "pod",
                    "--selector=app=crashing",
                    &format!("--for={until}"),
                    "--timeout=120s",
                ]);
            }
        },
        &|| {
            let old = cluster.rolled_out(NAMESPACE, "rolled");
            let scaled = cluster.rolled_out(NAMESPACE, "scaled");
            kubectl(&["set", "env", "deployment/rolled", "AGAIN=1"]);
            kubectl(&["scale", "deployment/scaled", "--replicas=0"]);
            cluster.rolled_out(NAMESPACE, "rolled");
            for pod in old.iter().chain(&scaled) {
                wait(pod, "delete");
            }
        },
    ];
    thread::scope(|scope| {
        for end in ends {
            scope.spawn(end);
        }
    });
}

#[test]
fn every_end_leaves_its_last_state() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    load(&cluster, "numbered:test", "fixtures/cluster/service");
    let place = Place::new();
    let context = format!("--context={}", cluster.context);
    let mut run = place.run(&["-n", NAMESPACE, &context]);
    run.says(&["watching node"]);
    cluster.apply(&manifest());
    end_all(&cluster);
    let (status, said) = run.end();
    assert!(status.success(), "{status}\n{said}");

    let ledger = place.ledger();
    let of = |workload: &str| -> Vec<&Target> {
        let targets = ledger.targets.iter();
        targets.filter(|row| row.workload == workload).collect()
    };
    let gone = |workload: &str, lives: usize, count: u64, ends: &[&str]| {
        let rows = of(workload);
        assert_eq!(rows.len(), lives, "{workload}: {rows:#?}\n{said}");
        for row in rows {
            let end = row.exit_status.as_deref().unwrap_or("none");
            assert!(ends.contains(&end), "{workload}: {end}");
            assert_eq!(row.outcome, Outcome::Merged, "{workload}");
            assert_eq!(row.state.as_ref().unwrap().route, Route::Exit, "{workload}");
            assert_eq!(place.entered(row)[WORKED], count, "{workload}");
        }
    };
    gone("pod/returned", 1, 101, &["exit 0"]);
    gone("pod/panicked", 1, 102, &["exit 2"]);
    gone("pod/killed", 1, 103, &["signal 9"]);
    gone("pod/evicted", 1, 104, &UNHEARD);
    gone("pod/memory", 1, 105, &["signal 9"]);
    gone("pod/disk", 1, 106, &UNHEARD);
    gone("pod/forced", 1, 107, &UNHEARD);
    gone("deployment/crashing", 3, 108, &["exit 3"]);
    gone("deployment/scaled", 2, 0, &["exit 0"]);
    let (new, old): (Vec<_>, Vec<_>) = of("deployment/rolled")
        .into_iter()
        .partition(|row| row.exit_status.is_none());
    assert_eq!((old.len(), new.len()), (2, 2), "{said}");
    assert!(
        old.iter()
            .all(|row| row.exit_status.as_deref() == Some("exit 0"))
    );
    crate::say(&format!(
        "{} lives of 10 workloads, each ended in its own way: every count is exact",
        ledger.targets.len()
    ));
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}
