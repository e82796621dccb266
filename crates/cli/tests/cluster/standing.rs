//! `covtap collect`, and `covtap start`, `mark` and `stop`, of services that run already: by the host's own
//! tracer, and by agents. Counts are those that the client saw, and nothing is stopped.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use covtap_model::ledger::{Outcome, Route, Target};

use crate::manifest::{all, deployment, ready_on, spec};
use crate::place::{HANDLERS, Place, alone};
use crate::unprivileged::Unprivileged;
use crate::{Cluster, load};

/// The service, and what was asked of each of its pods.
struct Service<'a> {
    cluster: &'a Cluster,
    namespace: &'static str,
    asked: BTreeMap<String, Vec<u64>>,
}

impl<'a> Service<'a> {
    fn begin(cluster: &'a Cluster, namespace: &'static str) -> Self {
        load(cluster, "numbered:test", "fixtures/cluster/service");
        let service = deployment(namespace, "numbered", 2, spec(&[ready_on(8080, &[])]));
        cluster.apply(&all(namespace, vec![service]));
        Self {
            cluster,
            namespace,
            asked: BTreeMap::new(),
        }
    }

    /// Its pods, when all of them are ready.
    fn pods(&self) -> Vec<String> {
        let pods = self.cluster.rolled_out(self.namespace, "numbered");
        let names = pods.iter().filter_map(|pod| pod.strip_prefix("pod/"));
        names.map(str::to_owned).collect()
    }

    /// Asks each pod for some handlers.
    fn ask(&mut self, handlers: &[usize]) {
        for pod in self.pods() {
            for handler in handlers {
                let path = format!(
                    "/api/v1/namespaces/{}/pods/{pod}:8080/proxy/h/{handler}",
                    self.namespace
                );
                self.cluster.kubectl(&["get", "--raw", &path]);
                let asked = self.asked.entry(pod.clone());
                asked.or_insert_with(|| vec![0; HANDLERS])[*handler] += 1;
            }
        }
    }

    /// Compares a run with what was asked. Returns its rows.
    fn is_counted(&self, place: &Place) -> Vec<Target> {
        let rows: Vec<Target> = place.ledger().targets;
        assert_eq!(rows.len(), self.asked.len(), "{rows:#?}");
        for row in &rows {
            assert_eq!(row.outcome, Outcome::Merged, "{row:#?}");
            assert_eq!(row.workload, "deployment/numbered");
            let pod = row.container.as_ref().unwrap().pod.clone().unwrap();
            assert_eq!(place.entered(row), self.asked[&pod], "{pod}");
        }
        rows
    }

    /// The route of the rows that ended, and of those that did not.
    fn routes(rows: &[Target]) -> (Vec<Route>, Vec<Route>) {
        let (ended, running): (Vec<&Target>, _) = rows.iter().partition(|row| row.ended.is_some());
        let routes = |rows: Vec<&Target>| {
            let states = rows.into_iter().filter_map(|row| row.state.as_ref());
            states.map(|state| state.route).collect()
        };
        (routes(ended), routes(running))
    }
}

/// Ends a session that a test which failed has left: it would trace what other tests look at.
struct Session(Command);

impl Drop for Session {
    fn drop(&mut self) {
        // There is none, as a rule.
        let _ = self.0.output();
    }
}

/// Collects, then begins, marks and ends a session, with covtap as `command` makes it.
fn all_of_it(
    cluster: &Cluster,
    place: &Place,
    namespace: &'static str,
    command: impl Fn() -> Command,
) {
    let _alone = alone();
    let context = format!("--context={}", cluster.context);
    let covtap = |args: &[&str]| {
        let mut covtap = command();
        place.prepare(&mut covtap);
        let out = covtap.args(args).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{args:?}: {}\n{said}", out.status);
        said
    };
    let mut service = Service::begin(cluster, namespace);
    service.ask(&[1, 2, 3]);
    covtap(&["collect", "--root=.", "-n", namespace, &context]);
    let rows = service.is_counted(place);
    assert_eq!(Service::routes(&rows), (vec![], vec![Route::Tap; 2]));

    let mut stop = command();
    place.prepare(&mut stop);
    stop.arg("stop");
    let session = Session(stop);
    covtap(&["start", "--root=.", "-n", namespace, &context]);
    service.ask(&[3, 4]);
    let said = covtap(&["mark", "before the deletion"]);
    // Those of other tests on the same nodes may be among them.
    assert!(said.contains(" processes read"), "{said}");
    let pods = service.pods();
    cluster.in_namespace(namespace, &["delete", "pod", &pods[0]]);
    service.ask(&[5]);
    covtap(&["stop"]);
    drop(session);
    let rows = service.is_counted(place);
    let (ended, running) = Service::routes(&rows);
    assert_eq!(ended, [Route::Exit], "{rows:#?}");
    assert_eq!(running.len(), 2, "{rows:#?}");
    let build = rows[0].build.as_ref().unwrap();
    let marked = place
        .latest()
        .join("marks/001-before the deletion")
        .join(build);
    let baseline = place.latest().join("baseline").join(build);
    for folder in [marked, baseline] {
        // Meta-data, and one file of each.
        assert!(fs::read_dir(folder).unwrap().count() >= 3);
    }
    let restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let restarts = cluster.in_namespace(namespace, &["get", "pods", "-o", restarts]);
    assert_eq!(restarts, "0 0", "nothing is stopped");
    cluster.kubectl(&["delete", "namespace", namespace, "--wait=false"]);
}

#[test]
fn what_runs_is_collected_at_once_and_across_steps() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let place = Place::new();
    let covtap = || Command::new(env!("CARGO_BIN_EXE_covtap"));
    all_of_it(&cluster, &place, "standing", covtap);
}

#[test]
fn agents_collect_what_runs_at_once_and_across_steps() {
    let (Some(cluster), Some(user)) = (Cluster::get(), Unprivileged::new()) else {
        return;
    };
    user.may_use(&cluster);
    all_of_it(&cluster, &user.place, "standing-agents", || user.covtap());
}
