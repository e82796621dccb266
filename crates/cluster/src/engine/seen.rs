//! What an engine says about a container, as a fact, and facts put to those that are known. Pure
//! functions over the engine's answers (Docker's Engine API 1.41 and later, `/containers/ID/json`).

use std::collections::HashMap;
use std::time::SystemTime;

use bollard::models::{ContainerInspectResponse, ContainerState};
use jiff::Timestamp;

use crate::facts::{Compose, Container, Engine, Facts, Node, Termination, Value, Variable};
use crate::news::News;
use crate::variables;

/// Kind's label of the cluster that a node belongs to.
const KIND_CLUSTER: &str = "io.x-k8s.kind.cluster";
/// Kind's label of what a node is for.
const KIND_ROLE: &str = "io.x-k8s.kind.role";
/// What Kind calls the container before several API servers, which is no node.
const LOAD_BALANCER: &str = "external-load-balancer";
/// Kind's name of a node that has the API.
const CONTROL_PLANE: &str = "control-plane";

/// A container, as one of two kinds of facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is a node of a Kind cluster, or the load balancer of one.
    Node(Node),
    /// It is not.
    Container(Container),
}

/// The name of a Kind cluster, as its context has it.
fn kind_context(name: &str) -> String {
    format!("kind-{name}")
}

/// What an answer of the engine says. None when it has no id.
pub(crate) fn seen(engine: &Engine, answer: ContainerInspectResponse) -> Option<Seen> {
    let id = answer.id?;
    let config = answer.config.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let name = answer
        .name
        .unwrap_or_default()
        .trim_start_matches('/')
        .to_owned();
    let runs = state.running.unwrap_or_default();
    let pid = state
        .pid
        .and_then(|pid| u32::try_from(pid).ok())
        .filter(|pid| *pid != 0 && engine.local && runs);
    let started = time(state.started_at.as_deref());
    let ended = (!runs && started.is_some()).then(|| termination(&state, started));
    if let Some(cluster) = labels.get(KIND_CLUSTER) {
        return Some(Seen::Node(Node {
            cluster: kind_context(cluster),
            name,
            container: Some(id),
            engine: Some(engine.address.clone()),
            pid,
            role: labels.get(KIND_ROLE).cloned(),
            arch: None,
            ready: None,
            started,
            ended: ended.and_then(|ended| ended.finished),
        }));
    }
    Some(Seen::Container(Container {
        engine: engine.address.clone(),
        id,
        name,
        image: config.image.unwrap_or_default(),
        image_id: answer.image.unwrap_or_default(),
        pid,
        compose: compose(&labels),
        environment: environment(&config.env.unwrap_or_default()),
        user: config.user.filter(|user| !user.is_empty()),
        started,
        ended,
    }))
}

/// What an event says of a container that was removed before it could be asked for.
pub(crate) fn seen_in_event(
    engine: &Engine,
    id: String,
    attributes: &HashMap<String, String>,
    started: SystemTime,
) -> Seen {
    let name = attributes.get("name").cloned().unwrap_or_default();
    if let Some(cluster) = attributes.get(KIND_CLUSTER) {
        return Seen::Node(Node {
            cluster: kind_context(cluster),
            name,
            container: Some(id),
            engine: Some(engine.address.clone()),
            pid: None,
            role: attributes.get(KIND_ROLE).cloned(),
            arch: None,
            ready: None,
            started: Some(started),
            ended: None,
        });
    }
    Seen::Container(Container {
        engine: engine.address.clone(),
        id,
        name,
        image: attributes.get("image").cloned().unwrap_or_default(),
        image_id: String::new(),
        pid: None,
        compose: compose(attributes),
        environment: Vec::new(),
        user: None,
        started: Some(started),
        ended: None,
    })
}

/// How a container that does not run ended.
fn termination(state: &ContainerState, started: Option<SystemTime>) -> Termination {
    Termination {
        reason: state
            .oom_killed
            .unwrap_or_default()
            .then(|| "OOMKilled".to_owned()),
        exit_code: state.exit_code,
        signal: None,
        started,
        finished: time(state.finished_at.as_deref()),
    }
}

/// What Compose says about a container.
fn compose(labels: &HashMap<String, String>) -> Option<Compose> {
    Some(Compose {
        project: labels.get("com.docker.compose.project")?.clone(),
        service: labels.get("com.docker.compose.service")?.clone(),
    })
}

/// The coverage variables out of `NAME=value` lines.
fn environment(lines: &[String]) -> Vec<Variable> {
    lines
        .iter()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| variables::is_about_coverage(name))
        .map(|(name, value)| Variable {
            name: name.to_owned(),
            value: Value::Text(value.to_owned()),
        })
        .collect()
}

/// A time of the engine. The year 1 stands for never.
fn time(text: Option<&str>) -> Option<SystemTime> {
    let time: Timestamp = text?.parse().ok()?;
    (time > Timestamp::UNIX_EPOCH).then(|| time.into())
}

/// Puts what was seen to the facts.
pub(crate) fn put(facts: &mut Facts, seen: Seen) -> Vec<News> {
    match seen {
        Seen::Node(node) => put_node(facts, node),
        Seen::Container(container) => put_container(facts, container),
    }
}

fn put_node(facts: &mut Facts, node: Node) -> Vec<News> {
    let known = facts.nodes.iter_mut().find(|known| {
        known.container == node.container
            || (known.container.is_none()
                && known.ended.is_none()
                && known.cluster == node.cluster
                && known.name == node.name)
    });
    let Some(known) = known else {
        facts.nodes.push(node.clone());
        return vec![began(node)];
    };
    // What only the API knows stays known.
    let node = Node {
        arch: known.arch.clone(),
        ready: known.ready.filter(|_| node.ended.is_none()),
        ..node
    };
    let before = std::mem::replace(known, node.clone());
    if before == node {
        return Vec::new();
    }
    let ran = before.container.is_some() && before.ended.is_none();
    if !ran {
        return vec![began(node)];
    }
    if before.started == node.started {
        return vec![match node.ended {
            Some(_) => News::NodeEnded(node),
            None => News::NodeChanged(node),
        }];
    }
    // It was started again before anybody could look.
    let ended = Node {
        pid: None,
        ended: node.started,
        ..before
    };
    vec![News::NodeEnded(ended), began(node)]
}

/// The news about a node that did not run before.
fn began(node: Node) -> News {
    if node.ended.is_some() {
        News::NodeEnded(node)
    } else {
        News::NodeStarted(node)
    }
}

fn put_container(facts: &mut Facts, container: Container) -> Vec<News> {
    match facts.containers.iter_mut().find(|c| c.id == container.id) {
        Some(known) if *known == container => return Vec::new(),
        Some(known) => known.clone_from(&container),
        None => facts.containers.push(container.clone()),
    }
    vec![News::Container(container)]
}

/// Whether a node has the API of its cluster.
pub(crate) fn has_api(node: &Node) -> bool {
    node.role.as_deref() == Some(CONTROL_PLANE)
}

/// Whether a node may publish the port of its cluster's API.
pub(crate) fn may_publish_api(node: &Node) -> bool {
    has_api(node) || node.role.as_deref() == Some(LOAD_BALANCER)
}

/// A container of an engine is no more. How it ended is kept where the engine has said it before.
pub(crate) fn gone(
    facts: &mut Facts,
    id: &str,
    at: SystemTime,
    exit_code: Option<i64>,
) -> Option<News> {
    if let Some(node) = facts
        .nodes
        .iter_mut()
        .find(|node| node.container.as_deref() == Some(id) && node.ended.is_none())
    {
        node.ended = Some(at);
        node.pid = None;
        node.ready = None;
        return Some(News::NodeEnded(node.clone()));
    }
    let container = facts
        .containers
        .iter_mut()
        .find(|container| container.id == id && container.ended.is_none())?;
    container.pid = None;
    container.ended = Some(Termination {
        exit_code,
        started: container.started,
        finished: Some(at),
        ..Termination::default()
    });
    Some(News::Container(container.clone()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bollard::models::ContainerInspectResponse;
    use serde_json::json;

    use super::{Seen, gone, put, seen};
    use crate::facts::{Engine, EngineKind, Facts};
    use crate::news::News;

    fn engine(local: bool) -> Engine {
        Engine {
            address: "unix:///d.sock".into(),
            kind: EngineKind::Docker,
            version: "26.1".into(),
            local,
        }
    }

    fn answer(json: serde_json::Value) -> ContainerInspectResponse {
        serde_json::from_value(json).unwrap()
    }

    fn node(pid: i64, started: &str) -> ContainerInspectResponse {
        answer(json!({
            "Id": "aa", "Name": "/dev-control-plane", "Image": "sha256:1",
            "State": { "Running": pid != 0, "Pid": pid, "StartedAt": started,
                "FinishedAt": if pid == 0 { "2026-11-23T10:05:00Z" } else { "0001-01-01T00:00:00Z" } },
            "Config": { "Image": "kindest/node", "Labels": {
                "io.x-k8s.kind.cluster": "dev", "io.x-k8s.kind.role": "control-plane" } }
        }))
    }

    #[test]
    fn a_node_starts_ends_and_starts_again() {
        let mut facts = Facts::default();
        let mut see = |answer| put(&mut facts, seen(&engine(true), answer).unwrap());
        let [News::NodeStarted(first)] = &see(node(7, "2026-11-23T10:00:00.5Z"))[..] else {
            panic!("started");
        };
        assert_eq!(
            (first.cluster.as_str(), first.name.as_str(), first.pid),
            ("kind-dev", "dev-control-plane", Some(7))
        );
        assert_eq!(see(node(7, "2026-11-23T10:00:00.5Z")), []);
        let [News::NodeEnded(ended)] = &see(node(0, "2026-11-23T10:00:00.5Z"))[..] else {
            panic!("ended");
        };
        assert_eq!(
            ended
                .ended
                .unwrap()
                .duration_since(first.started.unwrap())
                .unwrap(),
            Duration::from_millis(299_500)
        );
        let [News::NodeStarted(again)] = &see(node(9, "2026-11-23T10:06:00Z"))[..] else {
            panic!("started again");
        };
        assert_eq!((again.pid, again.ended), (Some(9), None));
        let [News::NodeEnded(ended), News::NodeStarted(again)] =
            &see(node(11, "2026-11-23T10:07:00Z"))[..]
        else {
            panic!("started again unseen");
        };
        assert_eq!((ended.pid, again.pid), (None, Some(11)));
        assert_eq!(facts.nodes.len(), 1);
        assert!(matches!(
            gone(&mut facts, "aa", SystemTime::now(), Some(137)),
            Some(News::NodeEnded(_))
        ));
        assert_eq!(gone(&mut facts, "aa", SystemTime::now(), Some(137)), None);
    }

    #[test]
    fn what_the_api_said_about_a_node_stays() {
        let mut facts = Facts::default();
        put(
            &mut facts,
            seen(&engine(true), node(7, "2026-11-23T10:00:00Z")).unwrap(),
        );
        facts.nodes[0].arch = Some("amd64".into());
        facts.nodes[0].ready = Some(true);
        assert_eq!(
            put(
                &mut facts,
                seen(&engine(true), node(7, "2026-11-23T10:00:00Z")).unwrap()
            ),
            []
        );
        assert_eq!(facts.nodes[0].arch.as_deref(), Some("amd64"));
        put(
            &mut facts,
            seen(&engine(true), node(0, "2026-11-23T10:00:00Z")).unwrap(),
        );
        assert_eq!(facts.nodes[0].ready, None);
    }

    #[test]
    fn only_coverage_variables_are_kept() {
        let Some(Seen::Container(container)) = seen(
            &engine(false),
            answer(json!({
                "Id": "bb", "Name": "/shop-api-1", "Image": "sha256:2",
                "State": { "Running": true, "Pid": 12, "StartedAt": "2026-11-23T10:00:00Z" },
                "Config": { "Image": "api:1", "User": "1001",
                    "Env": ["PASSWORD=secret", "GOCOVERDIR=/c=d", "PATH=/bin"],
                    "Labels": { "com.docker.compose.project": "shop", "com.docker.compose.service": "api" } }
            })),
        ) else {
            panic!("a container");
        };
        assert_eq!(container.environment.len(), 1);
        assert!(!format!("{container:?}").contains("secret"));
        assert_eq!(container.compose.unwrap().service, "api");
        assert_eq!(container.pid, None, "pids of a remote engine are not ours");
    }

    #[test]
    fn how_a_container_ended() {
        let mut facts = Facts::default();
        let ended = answer(json!({
            "Id": "cc", "Name": "/job", "State": { "Running": false, "Pid": 0, "ExitCode": 137,
                "OOMKilled": true, "StartedAt": "2026-11-23T10:00:00Z", "FinishedAt": "2026-11-23T10:00:01Z" }
        }));
        put(&mut facts, seen(&engine(true), ended).unwrap());
        let ended = facts.containers[0].ended.clone().unwrap();
        assert_eq!(
            (ended.exit_code, ended.reason.as_deref()),
            (Some(137), Some("OOMKilled"))
        );
        let never = answer(json!({
            "Id": "dd", "Name": "/new", "State": { "Running": false, "StartedAt": "0001-01-01T00:00:00Z" }
        }));
        let Some(Seen::Container(never)) = seen(&engine(true), never) else {
            panic!("a container");
        };
        assert_eq!((never.started, never.ended), (None, None));
    }
}
