//! What of the facts is asked for, and what of it is awaited. Pure functions.

use covtap_cluster::facts::{
    Container, ContainerState, Facts, Place, Pod, PodContainer, Purpose, Termination, Value,
    Variable, VolumeKind, Workload,
};
use covtap_cluster::selection::Selection;
use covtap_model::ls::Listed;

/// The containers that are asked for and there, sorted by where they are. Pods that have ended are
/// still there and would not be watched.
pub(super) fn targets(facts: &Facts, selection: &Selection) -> Vec<Listed> {
    let mut targets: Vec<Listed> = pods(facts)
        .filter(|pod| !matches!(pod.phase.as_str(), "Succeeded" | "Failed"))
        .flat_map(|pod| {
            let containers = pod.containers.iter().filter(|c| c.selected);
            containers.map(|container| of_pod(pod, container))
        })
        .collect();
    let plain = facts.containers.iter().filter(|c| c.ended.is_none());
    targets.extend(
        plain
            .filter(|container| selection.asks_for_plain(container))
            .map(of_engine),
    );
    targets.sort();
    targets
}

/// What is asked for and not there or not ready, in words.
pub(super) fn awaited(facts: &Facts, selection: &Selection) -> Vec<String> {
    let targets = targets(facts, selection);
    let mut awaited: Vec<String> = selection
        .workloads
        .iter()
        .filter(|name| !pods(facts).any(|pod| pod.selected && owners(pod).any(|w| name.is(&w))))
        .filter(|name| {
            !targets
                .iter()
                .any(|t| t.pod.is_none() && is_plain(t, &name.name))
        })
        .map(|name| format!("no pod of {name}"))
        .collect();
    if selection.workloads.is_empty() && targets.is_empty() {
        awaited.push("nothing that is asked for is there".into());
    }
    awaited.extend(targets.iter().filter(|target| !target.ready).map(|target| {
        let place = target.pod.as_ref().map_or_else(String::new, |pod| {
            let namespace = target.namespace.as_deref().unwrap_or_default();
            format!("pod {namespace}/{pod}, ")
        });
        format!("{place}container {}: {}", target.container, target.state)
    }));
    awaited
}

/// The pods that are there and asked for.
fn pods(facts: &Facts) -> impl Iterator<Item = &Pod> {
    facts
        .pods
        .iter()
        .filter(|pod| pod.gone.is_none() && pod.selected)
}

/// A pod and what is above it, as far as a selection by name needs it.
fn owners(pod: &Pod) -> impl Iterator<Item = Workload> {
    let itself = Workload {
        kind: "Pod".into(),
        name: pod.name.clone(),
    };
    pod.owners.iter().cloned().chain([itself])
}

fn is_plain(target: &Listed, name: &str) -> bool {
    target.container == name
        || target
            .workload
            .as_ref()
            .is_some_and(|w| w.rsplit('/').next() == Some(name))
}

fn of_pod(pod: &Pod, container: &PodContainer) -> Listed {
    Listed {
        cluster: Some(pod.cluster.clone()),
        namespace: Some(pod.namespace.clone()),
        pod: Some(pod.name.clone()),
        pod_uid: Some(pod.uid.clone()),
        container: container.name.clone(),
        id: container.id.clone(),
        node: pod.node.clone(),
        workload: pod.workload.as_ref().map(ToString::to_string),
        image: container.image.clone(),
        state: state(&container.state),
        ready: ready(container),
        coverage_directory: container.variable(DIRECTORY).map(str::to_owned),
        coverage_place: container
            .coverage_directory
            .as_ref()
            .map(place)
            .or_else(|| unread(&container.environment)),
        user: container.run_as_user.map(|user| user.to_string()),
    }
}

fn of_engine(container: &Container) -> Listed {
    let value = container.environment.iter().find(|v| v.name == DIRECTORY);
    Listed {
        cluster: None,
        namespace: None,
        pod: None,
        pod_uid: None,
        container: container.name.clone(),
        id: Some(container.id.clone()),
        node: None,
        workload: container
            .compose
            .as_ref()
            .map(|compose| format!("{}/{}", compose.project, compose.service)),
        image: container.image.clone(),
        state: "running".into(),
        ready: true,
        coverage_directory: value.and_then(|variable| match &variable.value {
            Value::Text(text) => Some(text.clone()),
            Value::From(_) => None,
        }),
        coverage_place: None,
        user: container.user.clone(),
    }
}

/// Go's variable of the directory for coverage files.
const DIRECTORY: &str = "GOCOVERDIR";

/// Where a value comes from that is not read.
fn unread(environment: &[Variable]) -> Option<String> {
    let variable = environment.iter().find(|v| v.name == DIRECTORY)?;
    match &variable.value {
        Value::From(source) => Some(format!("set from {source}")),
        Value::Text(_) => None,
    }
}

/// Whether a container is ready, or has done its work.
fn ready(container: &PodContainer) -> bool {
    match (&container.state, container.purpose) {
        (ContainerState::Terminated(end), _) => end.exit_code == Some(0),
        (ContainerState::Running { .. }, Purpose::Init | Purpose::Ephemeral) => true,
        (ContainerState::Running { .. }, Purpose::Main | Purpose::Sidecar) => container.ready,
        // Nobody starts a container that is only there for debugging again.
        (ContainerState::Waiting { .. }, _) => false,
    }
}

fn state(state: &ContainerState) -> String {
    match state {
        ContainerState::Running { .. } => "running".into(),
        ContainerState::Waiting { reason: None, .. } => "waiting".into(),
        ContainerState::Waiting {
            reason: Some(reason),
            ..
        } => format!("waiting: {reason}"),
        ContainerState::Terminated(Termination {
            reason, exit_code, ..
        }) => {
            let code = exit_code.map_or(String::new(), |code| format!(" ({code})"));
            format!("terminated: {}{code}", reason.as_deref().unwrap_or("ended"))
        }
    }
}

fn place(place: &Place) -> String {
    match place {
        Place::Layer => "the container's own file system".into(),
        Place::Volume {
            name,
            kind,
            read_only,
            ..
        } => {
            let kind = match kind {
                VolumeKind::EmptyDir { memory: false } => format!("emptyDir {name}"),
                VolumeKind::EmptyDir { memory: true } => format!("emptyDir {name} in memory"),
                VolumeKind::HostPath { path, .. } => format!("hostPath {path}"),
                VolumeKind::Claim { name } => format!("claim {name}"),
                VolumeKind::Other(kind) => format!("{kind} {name}"),
            };
            let limit = if *read_only { ", read-only" } else { "" };
            format!("{kind}{limit}")
        }
    }
}

#[cfg(test)]
mod tests {
    use covtap_cluster::facts::{
        ContainerState, Facts, Place, Pod, PodContainer, Purpose, Termination, Value, Variable,
        VolumeKind, Workload,
    };
    use covtap_cluster::selection::Selection;

    use super::{awaited, targets};

    fn container(name: &str, state: ContainerState, ready: bool) -> PodContainer {
        PodContainer {
            name: name.into(),
            purpose: Purpose::Main,
            id: None,
            ids: Vec::new(),
            image: "api:1".into(),
            image_id: None,
            ready,
            restarts: 0,
            state,
            last_termination: None,
            environment: vec![Variable {
                name: "GOCOVERDIR".into(),
                value: Value::Text("/cover".into()),
            }],
            coverage_directory: Some(Place::Volume {
                name: "cover".into(),
                kind: VolumeKind::HostPath {
                    path: "/coverdata".into(),
                    check: None,
                },
                mount: "/cover".into(),
                sub_path: None,
                below: String::new(),
                read_only: true,
            }),
            run_as_user: Some(1001),
            run_as_group: None,
            read_only_root: false,
            selected: true,
        }
    }

    fn pod(name: &str, containers: Vec<PodContainer>) -> Pod {
        let deployment = Workload {
            kind: "Deployment".into(),
            name: "api".into(),
        };
        Pod {
            cluster: "kind-dev".into(),
            node: Some("dev-worker".into()),
            namespace: "shop".into(),
            name: name.into(),
            uid: format!("uid-{name}"),
            static_hash: None,
            owners: vec![deployment.clone()],
            workload: Some(deployment),
            containers,
            phase: "Running".into(),
            reason: None,
            ready: true,
            created: None,
            deletion_requested: None,
            gone: None,
            grace_period: None,
            host_network: false,
            selected: true,
        }
    }

    fn facts(pods: Vec<Pod>) -> Facts {
        Facts {
            pods,
            ..Facts::default()
        }
    }

    fn ended(code: i64) -> ContainerState {
        ContainerState::Terminated(Termination {
            reason: Some("Error".into()),
            exit_code: Some(code),
            ..Termination::default()
        })
    }

    fn named(names: &[&str]) -> Selection {
        Selection {
            workloads: names.iter().map(|name| name.parse().unwrap()).collect(),
            ..Selection::default()
        }
    }

    #[test]
    fn a_line_says_where_a_container_is_and_where_its_coverage_goes() {
        let running = ContainerState::Running { since: None };
        let mut other = container("proxy", running.clone(), true);
        other.selected = false;
        let facts = facts(vec![pod(
            "b",
            vec![container("main", running, true), other],
        )]);
        let targets = targets(&facts, &Selection::default());
        assert_eq!(targets.len(), 1);
        let target = &targets[0];
        assert_eq!(target.workload.as_deref(), Some("deployment/api"));
        assert_eq!(target.coverage_directory.as_deref(), Some("/cover"));
        assert_eq!(
            target.coverage_place.as_deref(),
            Some("hostPath /coverdata, read-only")
        );
        assert_eq!((target.user.as_deref(), target.ready), (Some("1001"), true));
    }

    #[test]
    fn what_is_not_ready_is_awaited() {
        let waiting = ContainerState::Waiting {
            reason: Some("ImagePullBackOff".into()),
            message: None,
        };
        let running = || ContainerState::Running { since: None };
        let facts = facts(vec![
            pod("a", vec![container("main", waiting, false)]),
            pod("b", vec![container("main", running(), false)]),
            pod("c", vec![container("main", running(), true)]),
            pod("d", vec![container("main", ended(0), false)]),
            pod("e", vec![container("main", ended(2), false)]),
        ]);
        assert_eq!(
            awaited(&facts, &Selection::default()),
            [
                "pod shop/a, container main: waiting: ImagePullBackOff",
                "pod shop/b, container main: running",
                "pod shop/e, container main: terminated: Error (2)"
            ]
        );
    }

    #[test]
    fn what_is_named_must_be_there() {
        let running = ContainerState::Running { since: None };
        let there = facts(vec![pod("a", vec![container("main", running, true)])]);
        assert_eq!(
            awaited(&there, &named(&["deploy/api", "sts/db", "pod/a"])),
            ["no pod of statefulset/db"]
        );
        let mut once = pod("once", vec![container("main", ended(0), false)]);
        once.phase = "Succeeded".into();
        let done = facts(vec![once]);
        assert_eq!(awaited(&done, &named(&["pod/once"])), [""; 0]);
        assert_eq!(targets(&done, &Selection::default()), []);
        assert_eq!(
            awaited(&facts(Vec::new()), &Selection::default()),
            ["nothing that is asked for is there"]
        );
    }
}
