//! An engine that comes, tells, dies and comes again, scripted.

use std::path::Path;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

use self::common::{LONG, until};
use self::server::{Reply, Request, Server, refusal};
use super::address::{Address, Way};
use crate::facts::Facts;
use crate::{ActError, Follower, Options, Settled};

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/common/server.rs"]
#[expect(dead_code, reason = "clusters listen at ports and list their objects")]
mod server;

fn follow(socket: &Path, asked_by: Option<&str>) -> Follower {
    let address = Address {
        way: Way::Socket(socket.to_owned()),
        asked_by: asked_by.map(str::to_owned),
    };
    Follower::start_at(Options::default(), vec![address]).unwrap()
}

/// What every engine says of itself.
fn version(request: &Request) -> Option<Reply> {
    request.target.ends_with("/version").then(|| {
        Reply::Json(
            200,
            json!({ "Version": "20.10.24", "ApiVersion": "1.41", "KernelVersion": "0", "Components": [] }),
        )
    })
}

fn container(id: &str) -> Reply {
    Reply::Json(
        200,
        json!({ "Id": id, "Name": format!("/name-{id}"), "Image": "sha256:1", "Config": { "Image": "api:1" },
            "State": { "Running": true, "Pid": 7, "StartedAt": "2026-11-23T10:00:00Z" } }),
    )
}

fn event(action: &str, id: &str, attributes: Value) -> Value {
    json!({ "Type": "container", "Action": action, "Actor": { "ID": id, "Attributes": attributes },
        "time": 1_795_428_001, "timeNano": 1_795_428_001_000_000_000_i64 })
}

fn running(facts: &Facts) -> Vec<&str> {
    let runs = facts.containers.iter().filter(|c| c.ended.is_none());
    runs.map(|c| c.name.as_str()).collect()
}

#[test]
fn an_engine_comes_dies_and_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let mut follower = follow(&socket, None);
    assert_eq!(follower.settle(LONG), Settled::Yes);
    assert_eq!(follower.facts(), Facts::default(), "nobody misses it");

    let (tell, told) = mpsc::channel();
    let told = Mutex::new(Some(told));
    let first = Server::at_socket(&socket, move |request| {
        let target = request.target.split('?').next().unwrap();
        if target.ends_with("/containers/json") {
            return Some(Reply::Json(200, json!([{ "Id": "c1" }, { "Id": "gone" }])));
        }
        if target.ends_with("/containers/c1/json") || target.ends_with("/containers/c2/json") {
            return Some(container(target.rsplit('/').nth(1).unwrap()));
        }
        if target.ends_with("/events") {
            assert!(request.target.contains("since="), "{}", request.target);
            // The first connection tells, later ones are refused.
            let told = told.lock().unwrap().take();
            return Some(told.map_or(refusal(500, "no more"), Reply::Stream));
        }
        version(request).or_else(|| Some(refusal(404, "no such container")))
    });
    let facts = until(&mut follower, "c1", |facts| running(facts) == ["name-c1"]);
    assert_eq!(facts.engines[0].version, "20.10.24");
    assert!(!facts.engines[0].local, "its kernel is another one");
    assert_eq!(facts.containers[0].pid, None);

    tell.send(event("start", "c2", json!({}))).unwrap();
    until(&mut follower, "c2", |facts| {
        running(facts) == ["name-c1", "name-c2"]
    });
    let short = json!({ "name": "short", "image": "job:1" });
    tell.send(event("start", "c3", short)).unwrap();
    until(
        &mut follower,
        "a container that is removed already",
        |facts| running(facts).contains(&"short"),
    );
    tell.send(event("die", "c3", json!({ "exitCode": "2" })))
        .unwrap();
    let facts = until(&mut follower, "its end", |f| !running(f).contains(&"short"));
    let ended = facts.container("c3").unwrap().ended.clone().unwrap();
    assert_eq!(ended.exit_code, Some(2));

    // It dies, and what ran in it has ended when it comes again.
    drop(first);
    drop(tell);
    until(&mut follower, "the trouble", |facts| {
        !facts.troubles.is_empty()
    });
    let _second = Server::at_socket(&socket, |request| {
        let target = request.target.split('?').next().unwrap();
        if target.ends_with("/containers/json") {
            return Some(Reply::Json(200, json!([{ "Id": "c2" }])));
        }
        if target.ends_with("/events") {
            return Some(Reply::Late(LONG, Box::new(Reply::Cut)));
        }
        let again = target
            .ends_with("/containers/c2/json")
            .then(|| container("c2"));
        again.or_else(|| version(request))
    });
    let facts = until(&mut follower, "the end of c1", |f| {
        running(f) == ["name-c2"]
    });
    let lost = facts.container("c1").unwrap().ended.clone().unwrap();
    assert_eq!(lost.exit_code, None, "nobody was there to be told");
}

#[test]
fn an_engine_that_was_named_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let mut follower = follow(&socket, Some("DOCKER_HOST"));
    assert_eq!(follower.settle(LONG), Settled::Yes);
    let troubles = follower.facts().troubles;
    assert_eq!(troubles.len(), 1);
    assert!(troubles[0].to_string().contains("which DOCKER_HOST names"));
    let nothing = follower
        .reach()
        .exec_output("c1", &["true"], 10, Duration::ZERO);
    assert!(matches!(nothing, Err(ActError::NoContainer(_))));
}
