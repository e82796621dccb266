//! A pod as the API has it (core/v1), as a fact. Pure functions.

use std::collections::BTreeMap;
use std::time::SystemTime;

use k8s_openapi::api::core::v1::{self as core, ContainerStatus, EnvVar, PodSpec, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};

use crate::facts::{
    ContainerState, Place, Pod, PodContainer, Purpose, Termination, Value, Variable, VolumeKind,
};
use crate::variables;

/// The annotation with the hash that stands for a static pod's uid in control groups.
const STATIC_HASH: &str = "kubernetes.io/config.hash";

/// A pod, and what the book needs beside it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Read {
    /// The fact; its workload and selection are the book's to fill in.
    pub(crate) pod: Pod,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// The owner that controls it.
    pub(crate) owner: Option<OwnerReference>,
}

/// A pod as a fact. None when it has no uid or name, which no API server sends.
pub(crate) fn read(cluster: &str, pod: core::Pod) -> Option<Read> {
    let meta = pod.metadata;
    let (name, uid) = (meta.name?, meta.uid?);
    let spec = pod.spec.unwrap_or_default();
    let status = pod.status.unwrap_or_default();
    let ready = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let statuses: Vec<&ContainerStatus> = [
        &status.init_container_statuses,
        &status.container_statuses,
        &status.ephemeral_container_statuses,
    ]
    .into_iter()
    .flatten()
    .flatten()
    .collect();
    let containers = described(&spec)
        .map(|described| {
            let status = statuses.iter().find(|s| s.name == described.name);
            container(&spec, described, status.copied())
        })
        .collect();
    Some(Read {
        owner: controller(meta.owner_references.unwrap_or_default()),
        labels: meta.labels.unwrap_or_default(),
        pod: Pod {
            cluster: cluster.to_owned(),
            node: spec.node_name.clone(),
            namespace: meta.namespace.unwrap_or_default(),
            name,
            uid,
            static_hash: meta
                .annotations
                .and_then(|mut annotations| annotations.remove(STATIC_HASH)),
            owners: Vec::new(),
            workload: None,
            containers,
            phase: status.phase.unwrap_or_else(|| "Unknown".into()),
            reason: status.reason,
            ready,
            created: time(meta.creation_timestamp),
            deletion_requested: time(meta.deletion_timestamp),
            gone: None,
            grace_period: meta
                .deletion_grace_period_seconds
                .or(spec.termination_grace_period_seconds),
            host_network: spec.host_network.unwrap_or_default(),
            selected: false,
        },
    })
}

/// The owner that controls an object. A static pod's is its node, which no person would name.
pub(crate) fn controller(owners: Vec<OwnerReference>) -> Option<OwnerReference> {
    owners
        .into_iter()
        .find(|owner| owner.controller == Some(true))
        .filter(|owner| owner.kind != "Node")
}

/// A container as the specification has it, whichever of its three lists it is in.
struct Described<'a> {
    purpose: Purpose,
    name: &'a str,
    image: Option<&'a str>,
    environment: &'a [EnvVar],
    mounts: &'a [VolumeMount],
    security: Option<&'a core::SecurityContext>,
}

fn described(spec: &PodSpec) -> impl Iterator<Item = Described<'_>> {
    fn of(container: &core::Container, purpose: Purpose) -> Described<'_> {
        Described {
            purpose,
            name: &container.name,
            image: container.image.as_deref(),
            environment: container.env.as_deref().unwrap_or_default(),
            mounts: container.volume_mounts.as_deref().unwrap_or_default(),
            security: container.security_context.as_ref(),
        }
    }
    let init = spec.init_containers.iter().flatten().map(|container| {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        let purpose = if sidecar {
            Purpose::Sidecar
        } else {
            Purpose::Init
        };
        of(container, purpose)
    });
    let main = spec.containers.iter().map(|c| of(c, Purpose::Main));
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral = ephemeral.map(|container| Described {
        purpose: Purpose::Ephemeral,
        name: &container.name,
        image: container.image.as_deref(),
        environment: container.env.as_deref().unwrap_or_default(),
        mounts: container.volume_mounts.as_deref().unwrap_or_default(),
        security: container.security_context.as_ref(),
    });
    init.chain(main).chain(ephemeral)
}

fn container(
    spec: &PodSpec,
    described: Described<'_>,
    status: Option<&ContainerStatus>,
) -> PodContainer {
    let pod = spec.security_context.as_ref();
    let own = described.security;
    let environment = environment(described.environment);
    let coverage_directory = environment
        .iter()
        .find(|variable| variable.name == "GOCOVERDIR")
        .and_then(|variable| match &variable.value {
            Value::Text(path) => place(path, described.mounts, spec),
            Value::From(_) => None,
        });
    let mut ids: Vec<String> = Vec::new();
    let last = status.and_then(|s| s.last_state.as_ref()?.terminated.as_ref());
    let current = status.and_then(|s| s.container_id.as_deref());
    for id in [last.and_then(|t| t.container_id.as_deref()), current] {
        let id = id.map(plain_id).filter(|id| !id.is_empty());
        ids.extend(id.map(str::to_owned).filter(|id| !ids.contains(id)));
    }
    PodContainer {
        name: described.name.to_owned(),
        purpose: described.purpose,
        id: current
            .map(plain_id)
            .map(str::to_owned)
            .filter(|id| !id.is_empty()),
        ids,
        image: described.image.unwrap_or_default().to_owned(),
        image_id: status
            .map(|s| s.image_id.clone())
            .filter(|id| !id.is_empty()),
        ready: status.is_some_and(|s| s.ready),
        restarts: status.map_or(0, |s| s.restart_count),
        state: state(status.and_then(|s| s.state.as_ref())),
        last_termination: last.map(termination),
        environment,
        coverage_directory,
        run_as_user: own.and_then(|s| s.run_as_user).or_else(|| pod?.run_as_user),
        run_as_group: own
            .and_then(|s| s.run_as_group)
            .or_else(|| pod?.run_as_group),
        read_only_root: own
            .and_then(|s| s.read_only_root_filesystem)
            .unwrap_or_default(),
        selected: false,
    }
}

/// `containerd://ID` without the runtime's name.
fn plain_id(id: &str) -> &str {
    id.split_once("://").map_or(id, |(_, id)| id)
}

fn state(state: Option<&core::ContainerState>) -> ContainerState {
    if let Some(running) = state.and_then(|s| s.running.as_ref()) {
        return ContainerState::Running {
            since: time(running.started_at.clone()),
        };
    }
    if let Some(terminated) = state.and_then(|s| s.terminated.as_ref()) {
        return ContainerState::Terminated(termination(terminated));
    }
    let waiting = state.and_then(|s| s.waiting.as_ref());
    ContainerState::Waiting {
        reason: waiting.and_then(|w| w.reason.clone()),
        message: waiting.and_then(|w| w.message.clone()),
    }
}

fn termination(terminated: &core::ContainerStateTerminated) -> Termination {
    Termination {
        reason: terminated.reason.clone(),
        exit_code: Some(terminated.exit_code.into()),
        signal: terminated.signal,
        started: time(terminated.started_at.clone()),
        finished: time(terminated.finished_at.clone()),
    }
}

/// A time of the API.
pub(crate) fn time(time: Option<Time>) -> Option<SystemTime> {
    time.map(|time| time.0.into())
}

/// The coverage variables of a specification. The last of a name counts.
fn environment(variables: &[EnvVar]) -> Vec<Variable> {
    let mut kept: Vec<Variable> = Vec::new();
    for variable in variables {
        if !variables::is_about_coverage(&variable.name) {
            continue;
        }
        kept.retain(|earlier| earlier.name != variable.name);
        kept.push(Variable {
            name: variable.name.clone(),
            value: value(variable),
        });
    }
    kept
}

fn value(variable: &EnvVar) -> Value {
    let text = variable.value.clone().unwrap_or_default();
    let Some(source) = &variable.value_from else {
        // Kubernetes puts other variables in its place, and those are not kept.
        return match text.contains("$(") {
            true => Value::From(format!("the text {text}")),
            false => Value::Text(text),
        };
    };
    Value::From(if let Some(key) = &source.config_map_key_ref {
        format!("config map {}, key {}", key.name, key.key)
    } else if let Some(key) = &source.secret_key_ref {
        format!("secret {}, key {}", key.name, key.key)
    } else if let Some(field) = &source.field_ref {
        format!("field {}", field.field_path)
    } else {
        "another source".into()
    })
}

/// What a directory of a container lies on: the longest mount that is above it.
fn place(path: &str, mounts: &[VolumeMount], spec: &PodSpec) -> Option<Place> {
    // A relative path depends on the image's working directory, which the API does not have.
    let path = absolute(path)?;
    let mount = mounts
        .iter()
        .filter_map(|mount| Some((mount, below(&path, &absolute(&mount.mount_path)?)?)))
        .min_by_key(|(_, below)| below.len());
    let Some((mount, below)) = mount else {
        return Some(Place::Layer);
    };
    let volume = spec
        .volumes
        .iter()
        .flatten()
        .find(|v| v.name == mount.name)?;
    Some(Place::Volume {
        name: volume.name.clone(),
        kind: kind(volume),
        mount: mount.mount_path.clone(),
        sub_path: mount
            .sub_path
            .clone()
            .or_else(|| mount.sub_path_expr.clone()),
        below: below.join("/"),
        read_only: mount.read_only.unwrap_or_default(),
    })
}

/// The parts of an absolute path, without `.` and `..`.
fn absolute(path: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    for part in path.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(parts)
}

/// What of a path is below another one.
fn below<'a>(path: &[&'a str], mount: &[&'a str]) -> Option<Vec<&'a str>> {
    path.strip_prefix(mount).map(<[&str]>::to_vec)
}

fn kind(volume: &core::Volume) -> VolumeKind {
    if let Some(empty) = &volume.empty_dir {
        return VolumeKind::EmptyDir {
            memory: empty.medium.as_deref() == Some("Memory"),
        };
    }
    if let Some(host) = &volume.host_path {
        return VolumeKind::HostPath {
            path: host.path.clone(),
            check: host.type_.clone().filter(|check| !check.is_empty()),
        };
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return VolumeKind::Claim {
            name: claim.claim_name.clone(),
        };
    }
    // There are about thirty kinds, each a field beside the name.
    let fields = serde_json::to_value(volume).unwrap_or_default();
    let name = fields
        .as_object()
        .and_then(|fields| fields.keys().find(|key| *key != "name"));
    VolumeKind::Other(name.cloned().unwrap_or_else(|| "unknown".into()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::{Read, read};
    use crate::facts::{ContainerState, Place, Purpose, VolumeKind};

    fn pod(json: Json) -> Read {
        read("kind-dev", serde_json::from_value(json).unwrap()).unwrap()
    }

    fn whole() -> Json {
        json!({
            "metadata": { "name": "api-6f-x", "namespace": "shop", "uid": "u-1",
                "labels": { "app": "api" }, "creationTimestamp": "2026-11-23T10:00:00Z",
                "ownerReferences": [
                    { "apiVersion": "v1", "kind": "Config", "name": "c", "uid": "o-0" },
                    { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api-6f", "uid": "o-1", "controller": true }] },
            "spec": {
                "nodeName": "dev-worker", "terminationGracePeriodSeconds": 30, "hostNetwork": true,
                "securityContext": { "runAsUser": 1001, "runAsGroup": 7 },
                "initContainers": [
                    { "name": "wait", "image": "wait:1" },
                    { "name": "log", "image": "log:1", "restartPolicy": "Always" }],
                "containers": [{
                    "name": "api", "image": "api:1",
                    "securityContext": { "runAsUser": 7, "readOnlyRootFilesystem": true },
                    "env": [
                        { "name": "PASSWORD", "value": "secret" },
                        { "name": "GOCOVERDIR", "value": "/old" },
                        { "name": "GOCOVERDIR", "value": "/cover//data/./x/../run" },
                        { "name": "LLVM_PROFILE_FILE", "valueFrom": { "configMapKeyRef": { "name": "m", "key": "k" } } }],
                    "volumeMounts": [
                        { "name": "tmp", "mountPath": "/cover" },
                        { "name": "data", "mountPath": "/cover/data/", "subPath": "s", "readOnly": true },
                        { "name": "tmp", "mountPath": "/cover/data/ru" }] }],
                "volumes": [{ "name": "tmp", "emptyDir": { "medium": "Memory" } },
                    { "name": "data", "hostPath": { "path": "/coverdata", "type": "DirectoryOrCreate" } }] },
            "status": { "phase": "Running",
                "conditions": [{ "type": "Ready", "status": "True" }],
                "containerStatuses": [{ "name": "api", "image": "api:1", "imageID": "sha256:1", "ready": true,
                    "restartCount": 1, "containerID": "containerd://c2",
                    "state": { "running": { "startedAt": "2026-11-23T10:00:09Z" } },
                    "lastState": { "terminated": { "containerID": "containerd://c1", "exitCode": 137,
                        "reason": "OOMKilled", "finishedAt": "2026-11-23T10:00:08Z" } } }] }
        })
    }

    #[test]
    fn everything_that_is_asked_of_a_pod() {
        let Read { pod, labels, owner } = pod(whole());
        assert_eq!(labels["app"], "api");
        assert_eq!(owner.unwrap().kind, "ReplicaSet");
        assert_eq!(
            (pod.node.as_deref(), pod.ready, pod.host_network),
            (Some("dev-worker"), true, true)
        );
        assert_eq!(pod.grace_period, Some(30));
        let purposes: Vec<Purpose> = pod.containers.iter().map(|c| c.purpose).collect();
        assert_eq!(purposes, [Purpose::Init, Purpose::Sidecar, Purpose::Main]);
        let api = &pod.containers[2];
        assert_eq!(
            (api.id.as_deref(), &api.ids[..]),
            (Some("c2"), &["c1".to_owned(), "c2".into()][..])
        );
        assert_eq!(
            (api.run_as_user, api.run_as_group, api.read_only_root),
            (Some(7), Some(7), true)
        );
        let last = api.last_termination.as_ref().unwrap();
        assert_eq!(
            (last.reason.as_deref(), last.exit_code),
            (Some("OOMKilled"), Some(137))
        );
        assert!(matches!(
            api.state,
            ContainerState::Running { since: Some(_) }
        ));
        assert_eq!(api.variable("GOCOVERDIR"), Some("/cover//data/./x/../run"));
        assert_eq!(api.variable("LLVM_PROFILE_FILE"), None);
        assert_eq!(api.environment.len(), 2);
        assert!(!format!("{pod:?}").contains("secret"));
        assert_eq!(
            api.coverage_directory,
            Some(Place::Volume {
                name: "data".into(),
                kind: VolumeKind::HostPath {
                    path: "/coverdata".into(),
                    check: Some("DirectoryOrCreate".into())
                },
                mount: "/cover/data/".into(),
                sub_path: Some("s".into()),
                below: "run".into(),
                read_only: true,
            })
        );
    }

    /// The place of GOCOVERDIR with one mount of one volume.
    fn place(directory: &str, volume: Json) -> Option<Place> {
        let read = pod(json!({ "metadata": { "name": "a", "uid": "u" }, "spec": {
            "containers": [{ "name": "a", "env": [{ "name": "GOCOVERDIR", "value": directory }],
                "volumeMounts": [{ "name": "v", "mountPath": "/c" }] }],
            "volumes": [volume] } }));
        read.pod.containers[0].coverage_directory.clone()
    }

    #[test]
    fn what_a_coverage_directory_lies_on() {
        let kind = |volume| match place("/c", volume) {
            Some(Place::Volume { kind, below, .. }) if below.is_empty() => kind,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            kind(json!({ "name": "v", "emptyDir": {} })),
            VolumeKind::EmptyDir { memory: false }
        );
        assert_eq!(
            kind(json!({ "name": "v", "persistentVolumeClaim": { "claimName": "p" } })),
            VolumeKind::Claim { name: "p".into() }
        );
        assert_eq!(
            kind(json!({ "name": "v", "nfs": { "server": "s", "path": "/" } })),
            VolumeKind::Other("nfs".into())
        );
        let empty = || json!({ "name": "v", "emptyDir": {} });
        assert_eq!(place("/cover", empty()), Some(Place::Layer));
        assert_eq!(place("cover", empty()), None, "relative");
        assert_eq!(place("/c/$(POD)", empty()), None, "made of other variables");
    }

    #[test]
    fn a_static_pod_is_its_own_workload() {
        let read = pod(json!({ "metadata": { "name": "etcd-dev", "uid": "u",
            "annotations": { "kubernetes.io/config.hash": "0a1b" },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "dev", "uid": "n", "controller": true }] } }));
        assert_eq!(read.pod.static_hash.as_deref(), Some("0a1b"));
        assert_eq!(read.owner, None);
    }

    #[test]
    fn a_pod_without_a_status_waits() {
        let read = pod(json!({ "metadata": { "name": "a", "uid": "u" },
            "spec": { "containers": [{ "name": "a" }] } }));
        assert_eq!(read.pod.phase, "Unknown");
        assert!(matches!(
            read.pod.containers[0].state,
            ContainerState::Waiting { reason: None, .. }
        ));
    }
}
