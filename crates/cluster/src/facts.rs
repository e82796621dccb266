//! What is known of engines, nodes, containers and pods: plain data, with nothing to call.
//!
//! Facts are never forgotten while a [`Follower`](crate::Follower) lives: what is gone says when it
//! went, so that a process's control group can still be given its names at the end of a run.

use std::fmt;
use std::time::SystemTime;

use covtap_model::problem::Problem;

/// Everything known so far: also what is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The container engines of this machine that answered.
    pub engines: Vec<Engine>,
    /// The clusters that are or were followed.
    pub clusters: Vec<Cluster>,
    /// Their nodes.
    pub nodes: Vec<Node>,
    /// Containers of the engines that are no nodes.
    pub containers: Vec<Container>,
    /// The pods of the clusters.
    pub pods: Vec<Pod>,
    /// What cannot be followed, and why.
    pub troubles: Vec<Problem>,
}

impl Facts {
    /// The pod that a control group names: by the API's uid, or by the configuration's hash, which
    /// is what the kubelet uses for static pods.
    #[must_use]
    pub fn pod(&self, uid_or_hash: &str) -> Option<&Pod> {
        self.pods
            .iter()
            .find(|pod| pod.uid == uid_or_hash || pod.static_hash.as_deref() == Some(uid_or_hash))
    }

    /// The node that is this container of an engine.
    #[must_use]
    pub fn node(&self, container: &str) -> Option<&Node> {
        self.nodes
            .iter()
            .find(|node| node.container.as_deref() == Some(container))
    }

    /// The container of an engine with this id, if it is no node.
    #[must_use]
    pub fn container(&self, id: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.id == id)
    }
}

/// A container engine of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Where it is reached: `unix:///var/run/docker.sock`. Names it everywhere.
    pub address: String,
    /// Docker or Podman, as it says itself.
    pub kind: EngineKind,
    /// Its version.
    pub version: String,
    /// Whether it runs on this machine, so that the pids that it names are pids of this machine.
    pub local: bool,
}

/// Whose engine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// Docker's.
    Docker,
    /// Podman's service, which speaks Docker's interface.
    Podman,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        })
    }
}

/// A Kubernetes cluster that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The context's name; of a Kind cluster `kind-NAME`, as in `kubectl --context`. Names it
    /// everywhere.
    pub name: String,
    /// Where its API is: `https://127.0.0.1:40123`.
    pub server: String,
    /// Whether it was found as containers of an engine of this machine.
    pub kind: bool,
    /// The server's version, when it has answered.
    pub version: Option<String>,
}

/// A machine of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The cluster.
    pub cluster: String,
    /// Its name in the cluster, which for Kind is the container's name too.
    pub name: String,
    /// The engine's id of the container that it is; none when it is no container of this machine.
    pub container: Option<String>,
    /// The engine, by its address.
    pub engine: Option<String>,
    /// Its first process as this machine counts; only while it runs, and only of a local engine.
    pub pid: Option<u32>,
    /// `control-plane` or `worker`.
    pub role: Option<String>,
    /// `amd64`, `arm64`, as Kubernetes says.
    pub arch: Option<String>,
    /// Whether the API says that it is ready.
    pub ready: Option<bool>,
    /// When it was started last.
    pub started: Option<SystemTime>,
    /// When it ended; none while it runs.
    pub ended: Option<SystemTime>,
}

/// A container of an engine that is no node: plain, or of a Compose project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The engine, by its address.
    pub engine: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, without the slash that Docker's interface puts before it.
    pub name: String,
    /// The image as it was asked for.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// Its first process as this machine counts; only while it runs, and only of a local engine.
    pub pid: Option<u32>,
    /// The Compose project and service that it belongs to.
    pub compose: Option<Compose>,
    /// The coverage variables of its environment. No other variable is kept.
    pub environment: Vec<Variable>,
    /// The user that its process runs as, as the image or the command line says.
    pub user: Option<String>,
    /// When it was started last.
    pub started: Option<SystemTime>,
    /// How it ended; none while it runs.
    pub ended: Option<Termination>,
}

/// What a container of a Compose project is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compose {
    /// `com.docker.compose.project`.
    pub project: String,
    /// `com.docker.compose.service`.
    pub service: String,
}

/// A pod, as its cluster's API last said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The cluster.
    pub cluster: String,
    /// The node that it was given to.
    pub node: Option<String>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The API's uid.
    pub uid: String,
    /// Of a static pod the hash of its configuration, which its control group names instead of the
    /// uid (annotation `kubernetes.io/config.hash`).
    pub static_hash: Option<String>,
    /// Its owners as far as they are known, nearest first: a replica set, its deployment.
    pub owners: Vec<Workload>,
    /// What a person would name: its top owner, or itself when nothing owns it. None until the
    /// owners have been asked for.
    pub workload: Option<Workload>,
    /// Its containers: init containers first, then the others, then ephemeral ones.
    pub containers: Vec<PodContainer>,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: String,
    /// Why it is in that phase, when the API says: `Evicted`.
    pub reason: Option<String>,
    /// Whether its condition `Ready` holds.
    pub ready: bool,
    /// When it was created.
    pub created: Option<SystemTime>,
    /// When its deletion takes effect at the latest, when that was asked for.
    pub deletion_requested: Option<SystemTime>,
    /// When the API had it no more; none while it has.
    pub gone: Option<SystemTime>,
    /// How long its containers may take to end, in seconds.
    pub grace_period: Option<i64>,
    /// Whether its containers are in the node's own network.
    pub host_network: bool,
    /// Whether the selection asks for it. Its containers say so for themselves.
    pub selected: bool,
}

impl Pod {
    /// The container of which this is the id of a life, the current one or an earlier one, without
    /// the runtime's name.
    #[must_use]
    pub fn container(&self, id: &str) -> Option<&PodContainer> {
        self.containers
            .iter()
            .find(|container| container.ids.iter().any(|life| life == id))
    }
}

/// What a person names: `deployment/api`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// Kubernetes' kind: `Deployment`, `CronJob`, `Pod`; of custom resources their own.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// `deployment/api`, as kubectl takes it.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.to_lowercase(), self.name)
    }
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodContainer {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The runtime's id of its current or last life, without the runtime's name (`containerd://`).
    pub id: Option<String>,
    /// The ids of all of its lives that were seen, oldest first: a restarted container has a new one.
    pub ids: Vec<String>,
    /// The image as it was asked for.
    pub image: String,
    /// The image as the runtime resolved it.
    pub image_id: Option<String>,
    /// Whether it passed its readiness probe.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: i32,
    /// What it does now.
    pub state: ContainerState,
    /// How its last life before this one ended.
    pub last_termination: Option<Termination>,
    /// The coverage variables of its environment. No other variable is kept.
    pub environment: Vec<Variable>,
    /// What its `GOCOVERDIR` lies on; none when it is not set or its value is not known.
    pub coverage_directory: Option<Place>,
    /// The user id that the specification gives it; none leaves it to the image.
    pub run_as_user: Option<i64>,
    /// The group id that the specification gives it; none leaves it to the image.
    pub run_as_group: Option<i64>,
    /// Whether its own file system cannot be written.
    pub read_only_root: bool,
    /// Whether the selection asks for it (`-c`).
    pub selected: bool,
}

impl PodContainer {
    /// The value of a coverage variable, when it stands in the specification.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .iter()
            .find(|variable| variable.name == name)
            .and_then(|variable| match &variable.value {
                Value::Text(text) => Some(text.as_str()),
                Value::From(_) => None,
            })
    }
}

/// What a container of a pod is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It runs before the others, to its end.
    Init,
    /// An init container that goes on beside the others (`restartPolicy: Always`).
    Sidecar,
    /// It does the pod's work.
    Main,
    /// It was added for debugging.
    Ephemeral,
}

/// What a container of a pod does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Not started, or not started again.
    Waiting {
        /// `ContainerCreating`, `ImagePullBackOff`, `CrashLoopBackOff`, … when the kubelet says.
        reason: Option<String>,
        /// The same in words.
        message: Option<String>,
    },
    /// It runs.
    Running {
        /// Since when.
        since: Option<SystemTime>,
    },
    /// It ended and is not started again.
    Terminated(Termination),
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Termination {
    /// `Completed`, `Error`, `OOMKilled`, … when it is known.
    pub reason: Option<String>,
    /// The exit status; none when nobody was there to be told.
    pub exit_code: Option<i64>,
    /// The signal that ended it, when the runtime says.
    pub signal: Option<i32>,
    /// When it was started.
    pub started: Option<SystemTime>,
    /// When it ended.
    pub finished: Option<SystemTime>,
}

/// A coverage variable of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// `GOCOVERDIR`, `LLVM_PROFILE_FILE`, …
    pub name: String,
    /// What it is set to.
    pub value: Value,
}

/// What a variable is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// This text.
    Text(String),
    /// What something else holds, which is not read: `config map coverage, key dir`.
    From(String),
}

/// Where a directory of a container lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the container's own file system.
    Layer,
    /// On a volume.
    Volume {
        /// The volume's name in the pod.
        name: String,
        /// What kind of volume.
        kind: VolumeKind,
        /// Where it is mounted in the container.
        mount: String,
        /// The part of the volume that is mounted there, when not all of it is.
        sub_path: Option<String>,
        /// The rest of the directory's path below the mount; empty when the mount is the directory.
        below: String,
        /// Whether the container may not write there.
        read_only: bool,
    },
}

/// What kind of volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// A directory that ends with the pod; `memory` when it is kept in memory.
    EmptyDir {
        /// `medium: Memory`.
        memory: bool,
    },
    /// A directory of the node.
    HostPath {
        /// Its path on the node.
        path: String,
        /// `DirectoryOrCreate`, … when it is set.
        check: Option<String>,
    },
    /// A claim.
    Claim {
        /// The claim's name, in the pod's namespace.
        name: String,
    },
    /// Another one, by the name of its field: `nfs`, `csi`, `configMap`.
    Other(String),
}

/// An event of the API about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `Normal` or `Warning`.
    pub kind: String,
    /// `BackOff`, `FailedMount`, …
    pub reason: String,
    /// In words.
    pub message: String,
    /// How often.
    pub count: i32,
    /// When it was last seen.
    pub last: Option<SystemTime>,
}
