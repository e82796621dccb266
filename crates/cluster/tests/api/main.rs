//! A follower against a scripted API server: lists, watches, and everything that goes wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/server.rs"]
#[expect(
    dead_code,
    reason = "engines listen at sockets, which the crate's own tests use"
)]
mod server;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use covtap_cluster::facts::Facts;
use covtap_cluster::selection::{Namespaces, Selection};
use covtap_cluster::{Follower, Log, Options, Settled};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{LONG, until};
use crate::server::{Reply, Request, Server, list, refusal, status};

const PODS: &str = "/api/v1/namespaces/shop/pods";

/// A kubeconfig in a folder of its own.
struct Kubeconfig {
    folder: TempDir,
}

impl Kubeconfig {
    fn new(server: &str) -> Self {
        let new = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        new.write(server);
        new
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    fn write(&self, server: &str) {
        let text = format!(
            "apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: 'http://{server}'}}}}]
users: [{{name: u, user: {{}}}}]
contexts: [{{name: test, context: {{cluster: c, user: u, namespace: shop}}}}]
current-context: test
"
        );
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    fn follow(&self) -> Follower {
        self.follow_selected(Selection::default())
    }

    fn follow_selected(&self, selection: Selection) -> Follower {
        Follower::start(Options {
            selection,
            kubeconfig: Some(self.path()),
            cluster: true,
            ..Options::default()
        })
        .unwrap()
    }
}

/// Follows a scripted server's cluster.
fn follow(server: &Server) -> (Follower, Kubeconfig) {
    let kubeconfig = Kubeconfig::new(&server.address);
    (kubeconfig.follow(), kubeconfig)
}

/// How many troubles say all of these.
fn troubles(facts: &Facts, words: &[&str]) -> usize {
    let says = |text: &str| words.iter().all(|word| text.contains(word));
    facts
        .troubles
        .iter()
        .filter(|t| says(&t.to_string()))
        .count()
}

/// A pod, perhaps of a replica set.
fn pod(name: &str, owned: bool) -> Value {
    let owner = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api-1", "uid": "rs", "controller": true });
    json!({ "metadata": { "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": "2",
            "labels": { "app": "api" }, "ownerReferences": if owned { vec![owner] } else { vec![] } },
        "spec": { "containers": [{ "name": "main", "image": "api:1" }] }, "status": { "phase": "Running" } })
}

/// The replica set or deployment that a path names.
fn owner(request: &Request) -> Option<Reply> {
    let meta = |name: &str, uid: &str, owners: Value| {
        Some(Reply::Json(
            200,
            json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": { "name": name, "namespace": "shop", "uid": uid, "ownerReferences": owners } }),
        ))
    };
    if request.lists("/apis/apps/v1/namespaces/shop/replicasets/api-1") {
        let deployment = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "api", "uid": "d", "controller": true }]);
        return meta("api-1", "rs", deployment);
    }
    if request.lists("/apis/apps/v1/namespaces/shop/deployments/api") {
        return meta("api", "d", json!([]));
    }
    None
}

fn event(kind: &str, object: &Value) -> Value {
    json!({ "type": kind, "object": object })
}

/// The names of the pods that are there.
fn there(facts: &Facts) -> Vec<&str> {
    let here = facts.pods.iter().filter(|pod| pod.gone.is_none());
    here.map(|pod| pod.name.as_str()).collect()
}

#[test]
fn pods_come_change_and_go_under_their_workload() {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(Some(told));
    let server = Server::start(move |request| {
        if request.lists(PODS) {
            return Some(Reply::Json(200, list(&[pod("p1", true)])));
        }
        if request.watches(PODS) {
            return told.lock().unwrap().take().map(Reply::Stream);
        }
        owner(request)
    });
    let (mut follower, _kubeconfig) = follow(&server);
    assert_eq!(follower.settle(LONG), Settled::Yes);
    let facts = follower.facts();
    assert_eq!(facts.clusters[0].name, "test");
    assert_eq!(facts.clusters[0].version.as_deref(), Some("v1.34.0"));
    let p1 = facts.pod("uid-p1").unwrap();
    assert_eq!(p1.workload.as_ref().unwrap().to_string(), "deployment/api");
    assert!(p1.selected && p1.containers[0].selected);

    tell.send(event("ADDED", &pod("p2", true))).unwrap();
    let facts = until(&mut follower, "p2", |facts| facts.pods.len() == 2);
    assert_eq!(
        facts.pods[1].workload.as_ref().unwrap().to_string(),
        "deployment/api"
    );

    let mut last = pod("p2", true);
    last["status"]["containerStatuses"] = json!([{ "name": "main", "image": "", "imageID": "", "ready": false,
        "restartCount": 0, "containerID": "containerd://c9", "state": { "terminated": { "exitCode": 2 } } }]);
    tell.send(event("DELETED", &last)).unwrap();
    let facts = until(&mut follower, "the end of p2", |f| there(f) == ["p1"]);
    assert_eq!(facts.pods[1].containers[0].id.as_deref(), Some("c9"));
    assert_eq!(facts.troubles, []);
}

#[test]
fn a_selection_narrows() {
    let server = Server::start(|request| {
        if request.lists(PODS) {
            return Some(Reply::Json(200, list(&[pod("p1", true), pod("p2", false)])));
        }
        owner(request)
    });
    let kubeconfig = Kubeconfig::new(&server.address);
    let mut follower = kubeconfig.follow_selected(Selection {
        namespaces: Namespaces::These(vec!["shop".into()]),
        workloads: vec!["deploy/api".parse().unwrap()],
        ..Selection::default()
    });
    assert_eq!(follower.settle(LONG), Settled::Yes);
    let facts = follower.facts();
    let selected: Vec<bool> = facts.pods.iter().map(|pod| pod.selected).collect();
    assert_eq!(selected, [true, false]);
}

#[test]
fn a_watch_that_is_too_old_lists_again() {
    let lists = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        if request.lists(PODS) {
            let first = lists.fetch_add(1, Ordering::SeqCst) == 0;
            return Some(Reply::Json(
                200,
                list(&[pod(if first { "p1" } else { "p2" }, false)]),
            ));
        }
        if request.watches(PODS) && lists.load(Ordering::SeqCst) == 1 {
            let (tell, told) = mpsc::channel();
            tell.send(event("ERROR", &status(410, "too old"))).unwrap();
            return Some(Reply::Stream(told));
        }
        None
    });
    let (mut follower, _kubeconfig) = follow(&server);
    let facts = until(&mut follower, "the second list", |f| there(f) == ["p2"]);
    assert!(facts.pods[0].gone.is_some());
    assert_eq!(facts.troubles, []);
}

/// Follows a server whose first lists of pods get these replies.
fn after(replies: Vec<Reply>) -> (Facts, usize) {
    let mut replies = replies.into_iter();
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let server = Server::start(move |request| {
        if !request.lists(PODS) {
            return None;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        let usual = || Reply::Json(200, list(&[pod("p1", false)]));
        Some(replies.next().unwrap_or_else(usual))
    });
    let (mut follower, _kubeconfig) = follow(&server);
    let facts = until(&mut follower, "the list", |f| there(f) == ["p1"]);
    (facts, tries.load(Ordering::SeqCst))
}

#[test]
fn a_server_that_is_too_busy_is_asked_again_and_that_is_said_once() {
    let busy = || refusal(429, "too many requests");
    let (facts, tries) = after(vec![busy(), busy(), refusal(500, "etcd is away"), busy()]);
    assert!(tries >= 5, "{tries}");
    assert_eq!(troubles(&facts, &["429 too many requests"]), 1);
    assert_eq!(troubles(&facts, &["500 etcd is away"]), 1);
    assert_eq!(facts.troubles.len(), 2);
}

#[test]
fn an_answer_that_cannot_be_read_is_asked_for_again() {
    let text = |text: &str| Reply::Text(200, text.into());
    let (facts, tries) = after(vec![text("{\"items\": ["), text("<html>"), Reply::Cut]);
    assert!(tries >= 4, "{tries}");
    assert_eq!(
        troubles(&facts, &["cannot be read", "list pods in namespace shop"]),
        1
    );
}

#[test]
fn who_may_not_is_told_what_to_ask_for() {
    let server = Server::start(|request| {
        let user = "User \"eve\" cannot list resource \"pods\"";
        request.lists(PODS).then(|| refusal(403, user))
    });
    let (mut follower, _kubeconfig) = follow(&server);
    assert_eq!(follower.settle(LONG), Settled::Yes);
    let rule = "kubectl create role covtap -n shop --verb=get,list,watch --resource=pods";
    assert_eq!(troubles(&follower.facts(), &["403", rule, "--user=eve"]), 1);
}

#[test]
fn credentials_that_are_not_accepted_are_named() {
    let server = Server::start(|request| {
        (request.target != "/version").then(|| refusal(401, "Unauthorized"))
    });
    let (mut follower, _kubeconfig) = follow(&server);
    assert_eq!(follower.settle(LONG), Settled::Yes);
    let facts = follower.facts();
    assert_eq!(
        troubles(&facts, &["list pods", "401 Unauthorized", "log in again"]),
        1
    );
}

#[test]
fn an_owner_that_may_not_be_read_is_the_workload() {
    let server = Server::start(|request| {
        if request.lists(PODS) {
            return Some(Reply::Json(200, list(&[pod("p1", true)])));
        }
        let owners = request.target.contains("/replicasets/");
        owners.then(|| refusal(403, "User \"eve\" cannot get resource"))
    });
    let (mut follower, _kubeconfig) = follow(&server);
    assert_eq!(follower.settle(LONG), Settled::Yes);
    let facts = follower.facts();
    assert_eq!(
        facts.pods[0].workload.as_ref().unwrap().to_string(),
        "replicaset/api-1"
    );
    assert_eq!(
        troubles(&facts, &["--verb=get", "--resource=replicasets.apps"]),
        1
    );
}

#[test]
fn a_slow_server_is_waited_for() {
    let server = Server::start(|request| {
        let late = || Reply::Json(200, list(&[pod("p1", false)]));
        let time = Duration::from_secs(1);
        request
            .lists(PODS)
            .then(|| Reply::Late(time, Box::new(late())))
    });
    let (mut follower, _kubeconfig) = follow(&server);
    let Settled::Missing(missing) = follower.settle(Duration::from_millis(100)) else {
        panic!("nothing can be there yet");
    };
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert_eq!(follower.settle(LONG), Settled::Yes);
    assert_eq!(there(&follower.facts()), ["p1"]);
}

fn with_p1(request: &Request) -> Option<Reply> {
    request
        .lists(PODS)
        .then(|| Reply::Json(200, list(&[pod("p1", false)])))
}

#[test]
fn a_server_that_comes_later_is_found() {
    // A port that was free a moment ago: nothing else binds it while the server is away.
    let address = Server::start(|_| None).address.clone();
    let kubeconfig = Kubeconfig::new(&address);
    let mut follower = kubeconfig.follow();
    let away = |facts: &Facts| troubles(facts, &["cluster test", "refused"]) == 1;
    until(&mut follower, "the trouble", away);
    assert_eq!(follower.settle(LONG), Settled::Yes);
    let _server = Server::at(&address, with_p1);
    let facts = until(&mut follower, "p1", |f| there(f) == ["p1"]);
    assert_eq!(facts.troubles.len(), 1);
}

#[test]
fn a_kubeconfig_that_comes_later_and_is_replaced_is_followed() {
    let first = Server::start(with_p1);
    let kubeconfig = Kubeconfig::new(&first.address);
    std::fs::remove_file(kubeconfig.path()).unwrap();
    let mut follower = kubeconfig.follow();
    let none = |facts: &Facts| troubles(facts, &["a kubeconfig with", "get-contexts"]) == 1;
    until(&mut follower, "the trouble", none);
    kubeconfig.write(&first.address);
    until(&mut follower, "p1", |f| there(f) == ["p1"]);

    let second = Server::start(|request| {
        let pods = || Reply::Json(200, list(&[pod("p2", false)]));
        request.lists(PODS).then(pods)
    });
    kubeconfig.write(&second.address);
    until(&mut follower, "p2", |f| there(f) == ["p2"]);
}

#[test]
fn questions_are_answered_or_refused() {
    let server = Server::start(|request| {
        let path = request.target.split('?').next().unwrap();
        match (request.method.as_str(), path) {
            ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews") => {
                Some(Reply::Json(
                    201,
                    json!({ "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
                    "metadata": {}, "spec": {}, "status": { "allowed": true } }),
                ))
            }
            ("GET", "/api/v1/namespaces/shop/events") => {
                assert!(
                    request
                        .target
                        .contains("fieldSelector=involvedObject.uid%3Du"),
                    "{}",
                    request.target
                );
                let event = |reason: &str, time: &str| {
                    json!({ "metadata": {}, "involvedObject": {}, "type": "Warning",
                    "reason": reason, "message": "m", "lastTimestamp": time })
                };
                Some(Reply::Json(
                    200,
                    list(&[
                        event("BackOff", "2026-11-23T10:00:02Z"),
                        event("Pulled", "2026-11-23T10:00:01Z"),
                    ]),
                ))
            }
            ("GET", "/api/v1/namespaces/shop/pods/p1/log") => {
                assert!(
                    request.target.contains("previous=true")
                        && request.target.contains("tailLines=5")
                );
                Some(Reply::Text(200, "panic: no\n".into()))
            }
            ("GET", "/api/v1/namespaces/shop/pods/p2/log") => {
                Some(refusal(403, "User \"eve\" cannot"))
            }
            ("GET", "/api/v1/namespaces/shop/pods/p3/log") => Some(refusal(429, "later")),
            _ => None,
        }
    });
    let (mut follower, _kubeconfig) = follow(&server);
    assert_eq!(follower.settle(LONG), Settled::Yes);
    let reach = follower.reach();
    assert!(reach.can_exec("test", "shop", LONG).unwrap());
    let events = reach.events("test", "shop", "u", LONG).unwrap();
    let reasons: Vec<&str> = events.iter().map(|event| event.reason.as_str()).collect();
    assert_eq!(reasons, ["Pulled", "BackOff"]);
    let log = |pod: &str| Log {
        pod: pod.into(),
        container: "main".into(),
        previous: true,
        lines: 5,
    };
    assert_eq!(
        reach.logs("test", "shop", &log("p1"), LONG).unwrap(),
        "panic: no\n"
    );
    let refused = reach
        .logs("test", "shop", &log("p2"), LONG)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("--resource=pods/log"), "{refused}");
    let busy = reach.logs("test", "shop", &log("p3"), Duration::from_millis(300));
    assert!(busy.unwrap_err().to_string().contains("in time"));
    let nobody = reach
        .can_exec("other", "shop", LONG)
        .unwrap_err()
        .to_string();
    assert!(nobody.contains("no cluster other"), "{nobody}");
    drop(follower);
    let ended = reach
        .can_exec("test", "shop", LONG)
        .unwrap_err()
        .to_string();
    assert!(ended.contains("any more"), "{ended}");
}
