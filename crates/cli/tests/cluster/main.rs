//! covtap on a real Kind cluster: one control plane and two workers.
//!
//! `cargo xtask test-cluster rust` makes the cluster and runs these; `kubectl`, `kind` and `docker`
//! are on the search path then, and KUBECONFIG and DOCKER_HOST are set. Not part of `cargo test`
//! (`test = false` in Cargo.toml).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(unix)]

mod agents;
mod build;
mod daemonset;
mod daemonset_ends;
mod deaths;
mod exact;
mod files;
mod images;
mod manifest;
mod murder;
mod outages;
mod place;
mod replicas;
mod require;
mod short;
mod standing;
mod stop;
mod unprivileged;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use place::{PATIENCE, Place};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The cluster that was made for these tests.
struct Cluster {
    /// Its context in KUBECONFIG.
    context: String,
    /// None of one that a test has made for itself.
    _use: Option<Use>,
}

/// How a test uses the cluster, for as long as it does.
#[allow(dead_code, reason = "held, not read")]
enum Use {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// Who ends nodes has the cluster alone.
static USERS: RwLock<()> = RwLock::new(());

impl Cluster {
    /// The cluster, or `None` and a line that says why there is none.
    fn get() -> Option<Self> {
        // A test that failed has said so itself.
        Self::used(|| Use::Shared(USERS.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The same, with nobody else in it.
    fn alone() -> Option<Self> {
        Self::used(|| Use::Alone(USERS.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn used(how: impl FnOnce() -> Use) -> Option<Self> {
        if std::env::var_os("COVTAP_TEST_CLUSTER").is_none() {
            say("SKIPPED: a test on a Kind cluster: run cargo xtask test-cluster rust");
            return None;
        }
        let context = std::env::var("COVTAP_TEST_CONTEXT").unwrap();
        let _use = Some(how());
        Some(Self { context, _use })
    }

    /// What `kubectl` prints.
    fn kubectl(&self, args: &[&str]) -> String {
        output(
            Command::new("kubectl")
                .args(["--context", &self.context])
                .args(args),
        )
    }

    /// `kubectl apply` of a manifest.
    fn apply(&self, manifest: &str) {
        self.feed(&["apply", "-f", "-"], manifest);
    }

    /// `kubectl` with something on its standard input.
    fn feed(&self, args: &[&str], text: &str) {
        let mut kubectl = Command::new("kubectl")
            .args(["--context", &self.context])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = kubectl.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        assert!(kubectl.wait().unwrap().success(), "kubectl {args:?}");
    }

    /// What `kubectl -n NAMESPACE` prints.
    fn in_namespace(&self, namespace: &str, args: &[&str]) -> String {
        self.kubectl(&[&["-n", namespace], args].concat())
    }

    /// Waits until an object is as `kubectl wait --for` says.
    fn wait(&self, namespace: &str, what: &str, until: &str) {
        let (until, patience) = (
            format!("--for={until}"),
            format!("--timeout={}s", PATIENCE.as_secs()),
        );
        self.in_namespace(namespace, &["wait", what, &until, &patience]);
    }

    /// Waits until all pods of a deployment are ready, and names them.
    fn rolled_out(&self, namespace: &str, deployment: &str) -> Vec<String> {
        let name = format!("deployment/{deployment}");
        let patience = format!("--timeout={}s", PATIENCE.as_secs());
        self.in_namespace(namespace, &["rollout", "status", &name, &patience]);
        let label = format!("app={deployment}");
        let args = ["get", "pods", "-l", &label, "-o", "name"];
        let pods = self.in_namespace(namespace, &args);
        pods.lines().map(str::to_owned).collect()
    }

    /// The process of a pod on this machine.
    fn process(&self, namespace: &str, pod: &str) -> u32 {
        let args = ["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"];
        let uid = self.in_namespace(namespace, &args);
        let began = Instant::now();
        loop {
            if let Some(pid) = process("numbered", &uid.replace('-', "_")) {
                return pid;
            }
            assert!(began.elapsed() < PATIENCE, "no process of {pod}");
        }
    }

    /// Kills the process of a pod with -9, and waits until it has ended.
    fn kill(&self, namespace: &str, pod: &str) {
        let ended = Ending::of(self.process(namespace, pod));
        output(Command::new("kill").args(["-9", &ended.pid.to_string()]));
        ended.wait();
    }

    /// Asks the API to evict a pod.
    fn evict(&self, namespace: &str, pod: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
        let eviction = serde_json::json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": pod, "namespace": namespace },
        });
        self.feed(
            &["create", "--raw", &path, "-f", "-"],
            &eviction.to_string(),
        );
    }

    /// Its name, as kind knows it.
    fn name(&self) -> &str {
        self.context.strip_prefix("kind-").unwrap()
    }

    /// Where this machine reaches its first node.
    fn node_address(&self) -> String {
        const ADDRESS: &str = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let node = format!("{}-control-plane", self.name());
        let said = output(Command::new("docker").args(["inspect", "-f", ADDRESS, &node]));
        said.trim().to_owned()
    }
}

/// A process of this machine by its name and a part of its control group.
fn process(name: &str, group: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        read("cgroup").contains(group) && read("comm").trim() == name
    })
}

/// A process whose end is awaited.
struct Ending {
    pid: u32,
    descriptor: std::os::fd::OwnedFd,
}

impl Ending {
    fn of(pid: u32) -> Self {
        let known = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        let descriptor = pidfd_open(known, PidfdFlags::empty()).unwrap();
        Self { pid, descriptor }
    }

    fn wait(&self) {
        let patience = Timespec::try_from(PATIENCE).unwrap();
        let ready = poll(
            &mut [PollFd::new(&self.descriptor, PollFlags::IN)],
            Some(&patience),
        );
        assert_eq!(ready, Ok(1), "process {} does not end", self.pid);
    }
}

/// What a command prints; it has to succeed.
fn output(command: &mut Command) -> String {
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// covtap in the directory of a test.
fn covtap(place: &Place) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_covtap"));
    command.current_dir(place.path());
    command
}

/// Builds an image of a folder of the repository, and loads it into the cluster.
fn load(cluster: &Cluster, image: &str, folder: &str) {
    load_with(cluster, image, folder, &[]);
}

/// The same, with arguments of the Dockerfile.
fn load_with(cluster: &Cluster, image: &str, folder: &str, arguments: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(folder);
    let mut build = Command::new("docker");
    build.args(["build", "--quiet", "--tag", image]);
    if let Ok(builder) = std::env::var("E2E_BUILDER_IMAGE") {
        build.arg(format!("--build-arg=BUILDER_IMAGE={builder}"));
    }
    for argument in arguments {
        build.arg(format!("--build-arg={argument}"));
    }
    output(build.arg(folder));
    output(Command::new("kind").args(["load", "docker-image", image, "--name", cluster.name()]));
}

/// Prints a line past the test runner, which hides what a test says when it passes.
fn say(line: &str) {
    let line = format!("\n{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

#[test]
fn three_nodes_are_ready() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let wait = [
        "wait",
        "--for=condition=Ready",
        "nodes",
        "--all",
        "--timeout=60s",
    ];
    let ready = cluster.kubectl(&wait);
    assert_eq!(ready.lines().count(), 3, "{ready}");
}
