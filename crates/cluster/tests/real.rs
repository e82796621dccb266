//! A real engine and a real Kind cluster, which this test creates and deletes while it is followed.
//! Runs where `COVTAP_TEST_CLUSTER` is set, with `docker`, `kind` and `kubectl` on the PATH and
//! `E2E_NODE_IMAGE` for Kind where its public image cannot be had.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::print_stdout,
    reason = "says what is skipped and what was measured"
)]

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use covtap_cluster::facts::{ContainerState, Facts, Node, Place, Pod, VolumeKind};
use covtap_cluster::{Follower, Log, Options, Reach, Settled};

use crate::common::{LONG, until};

/// Whether there is an engine and Kind; says so otherwise.
fn possible(what: &str) -> bool {
    let possible = std::env::var_os("COVTAP_TEST_CLUSTER").is_some();
    if !possible {
        println!("SKIPPED: {what}: COVTAP_TEST_CLUSTER is not set");
    }
    possible
}

/// Runs a command to its end and takes its output.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn engines() -> Follower {
    let mut follower = Follower::start(Options {
        engines: true,
        ..Options::default()
    })
    .unwrap();
    assert_eq!(follower.settle(LONG), Settled::Yes);
    follower
}

/// A plain container, removed when dropped.
struct Plain(String);

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", &self.0]).output();
    }
}

#[test]
fn a_plain_container_starts_is_acted_in_and_ends() {
    if !possible("a plain container") {
        return;
    }
    let Ok(image) = std::env::var("E2E_RUNTIME_IMAGE") else {
        println!("SKIPPED: a plain container: E2E_RUNTIME_IMAGE names no image to run");
        return;
    };
    let mut follower = engines();
    let id = run(
        "docker",
        &[
            "run",
            "-d",
            "-e",
            "GOCOVERDIR=/cover",
            "-e",
            "PASSWORD=secret",
            "--label",
            "com.docker.compose.project=shop",
            "--label",
            "com.docker.compose.service=api",
            &image,
            "sleep",
            "600",
        ],
    );
    let container = Plain(id.clone());
    // What it is does not depend on how long it runs.
    let facts = until(&mut follower, "the container", |facts| {
        facts.container(&id).is_some()
    });
    let seen = facts.container(&id).unwrap();
    assert_eq!(seen.compose.as_ref().unwrap().service, "api");
    assert_eq!(seen.environment.len(), 1);
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", seen.pid.unwrap())).unwrap();
    assert!(cgroup.contains(&id), "its pid is of this machine");

    acts(&follower.reach(), &id);

    run("docker", &["kill", &id]);
    let ended = |facts: &Facts| facts.container(&id).unwrap().ended.clone();
    let facts = until(&mut follower, "its end", |facts| ended(facts).is_some());
    assert_eq!(ended(&facts).unwrap().exit_code, Some(137));
    drop(container);
}

/// Files and programs in a container.
fn acts(reach: &Reach, id: &str) {
    let script = b"#!/bin/sh\necho \"$1\"; echo oops >&2; exit 3\n".to_vec();
    reach
        .copy_into(id, "/usr/local/bin/say", script, 0o755)
        .unwrap();
    let output = reach.exec_output(id, &["say", "a b"], 1000, LONG).unwrap();
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"a b\n"[..], &b"oops\n"[..])
    );
    assert_eq!(output.status, Some(3));

    let much = reach.exec_output(id, &["cat", "/dev/zero"], 1000, LONG);
    assert!(much.unwrap_err().to_string().contains("1000 bytes"));
    let slow = reach.exec_output(id, &["sleep", "5"], 1000, Duration::from_millis(200));
    assert!(slow.unwrap_err().to_string().contains("in time"));

    // Every byte comes back, and the end of the input is the end of the program.
    let begin = Instant::now();
    let mut cat = reach
        .exec(id, &["sh", "-c", "echo ready >&2; exec cat"])
        .unwrap();
    assert_eq!(cat.stderr.recv_timeout(LONG).unwrap(), "ready");
    println!(
        "a program in a container: {} ms to its first line",
        begin.elapsed().as_millis()
    );
    let sent: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        let mut input = cat.stream.try_clone().unwrap();
        let sent = &sent;
        scope.spawn(move || {
            input.write_all(sent).unwrap();
            input.shutdown(Shutdown::Write).unwrap();
        });
        cat.stream.read_to_end(&mut back).unwrap();
    });
    assert!(
        back == sent,
        "{} of {} bytes came back",
        back.len(),
        sent.len()
    );
    assert_eq!(cat.status.recv_timeout(LONG).unwrap(), 0);

    // Whoever lets go of the socket ends the program's input.
    let left = reach.exec(id, &["sh", "-c", "cat; echo left >&2"]).unwrap();
    drop(left.stream);
    assert_eq!(left.stderr.recv_timeout(LONG).unwrap(), "left");
}

/// A Kind cluster, deleted when dropped.
struct Kind {
    name: String,
    kubeconfig: tempfile::TempDir,
}

impl Kind {
    fn create(name: &str) -> Self {
        let kind = Self {
            name: name.to_owned(),
            kubeconfig: tempfile::tempdir().unwrap(),
        };
        let mut create = Command::new("kind");
        create
            .args(["create", "cluster", "--name", name, "--kubeconfig"])
            .arg(kind.kubeconfig());
        if let Some(image) = std::env::var_os("E2E_NODE_IMAGE") {
            create.arg("--image").arg(image);
        }
        let output = create.stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kind create cluster: {stderr}");
        kind
    }

    fn kubeconfig(&self) -> std::path::PathBuf {
        self.kubeconfig.path().join("config")
    }

    fn kubectl(&self, args: &[&str]) -> String {
        let kubeconfig = self.kubeconfig().display().to_string();
        run("kubectl", &[&["--kubeconfig", &kubeconfig], args].concat())
    }

    fn apply(&self, manifest: &str) {
        let file = self.kubeconfig.path().join("manifest.yaml");
        std::fs::write(&file, manifest).unwrap();
        self.kubectl(&["apply", "-f", &file.display().to_string()]);
    }
}

impl Drop for Kind {
    fn drop(&mut self) {
        let _ = Command::new("kind")
            .args(["delete", "cluster", "--name", &self.name])
            .output();
    }
}

/// A deployment, a bare pod and a job of the image that every node has.
fn manifest(image: &str) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: shop}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: api, namespace: shop}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: api}}}}
  template:
    metadata: {{labels: {{app: api}}}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {{runAsUser: 1001, runAsNonRoot: true}}
      containers:
      - name: main
        image: {image}
        imagePullPolicy: Never
        securityContext: {{readOnlyRootFilesystem: true}}
        env: [{{name: GOCOVERDIR, value: /cover/api}}, {{name: PASSWORD, value: secret}}]
        volumeMounts: [{{name: cover, mountPath: /cover}}]
      volumes: [{{name: cover, emptyDir: {{}}}}]
---
apiVersion: batch/v1
kind: Job
metadata: {{name: once, namespace: shop}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: main, image: {image}, imagePullPolicy: Never}}]
"
    )
}

fn pods_of<'a>(facts: &'a Facts, workload: &str) -> Vec<&'a Pod> {
    let is = |pod: &&Pod| {
        pod.gone.is_none()
            && pod
                .workload
                .as_ref()
                .is_some_and(|w| w.to_string() == workload)
    };
    facts.pods.iter().filter(is).collect()
}

/// The control plane of a cluster.
fn node(facts: &Facts, cluster: &str) -> Option<Node> {
    let is = |node: &&Node| node.cluster == cluster && node.container.is_some();
    facts.nodes.iter().find(is).cloned()
}

#[test]
fn a_kind_cluster_appears_is_followed_and_vanishes() {
    if !possible("a Kind cluster") {
        return;
    }
    let mut follower = engines();
    let name = format!("covtap-facts-{}", std::process::id());
    let cluster = format!("kind-{name}");

    let creator = std::thread::spawn(move || Kind::create(&name));
    let facts = until(&mut follower, "the node", |facts| {
        node(facts, &cluster).is_some()
    });
    let first = node(&facts, &cluster).unwrap();
    let late = SystemTime::now()
        .duration_since(first.started.unwrap())
        .unwrap();
    println!("a node is known {} ms after its start", late.as_millis());
    assert!(Path::new(&format!("/proc/{}", first.pid.unwrap())).exists());
    let kind = creator.join().unwrap();
    until(&mut follower, "the API server's pod", |facts| {
        let is = |pod: &Pod| {
            pod.cluster == cluster && pod.name.starts_with("kube-apiserver") && pod.ready
        };
        facts
            .pods
            .iter()
            .any(|pod| is(pod) && pod.static_hash.is_some() && !pod.selected)
    });

    let container = first.container.unwrap();
    let reach = follower.reach();
    let images = reach
        .exec_output(
            &container,
            &["ctr", "-n", "k8s.io", "images", "ls", "-q"],
            1 << 20,
            LONG,
        )
        .unwrap();
    let images = String::from_utf8(images.stdout).unwrap();
    let image = images
        .lines()
        .find(|line| line.contains("/pause:"))
        .unwrap_or_else(|| panic!("no image of pause among {images}"));
    kind.apply(&manifest(image));
    let facts = until(&mut follower, "the pods", |facts| {
        pods_of(facts, "deployment/api")
            .iter()
            .filter(|pod| pod.ready)
            .count()
            == 2
            && pods_of(facts, "job/once").iter().any(|pod| pod.ready)
    });
    is_as_written(pods_of(&facts, "deployment/api")[0]);
    answers(&reach, &cluster, pods_of(&facts, "deployment/api")[0]);

    // Killed without grace: gone, and replaced.
    let killed = pods_of(&facts, "deployment/api")[0].clone();
    kind.kubectl(&[
        "-n",
        "shop",
        "delete",
        "pod",
        "--force",
        "--grace-period=0",
        &killed.name,
    ]);
    until(&mut follower, "the killed pod's end", |facts| {
        facts.pod(&killed.uid).unwrap().gone.is_some()
            && pods_of(facts, "deployment/api")
                .iter()
                .filter(|pod| pod.ready)
                .count()
                == 2
    });

    // The API server dies. What happens afterwards is seen all the same.
    let died = reach.exec_output(&container, &["pkill", "-9", "kube-apiserver"], 1000, LONG);
    assert_eq!(died.unwrap().status, Some(0));
    let restarted = |facts: &Facts| {
        let is = |pod: &&Pod| pod.cluster == cluster && pod.name.starts_with("kube-apiserver");
        let server = facts.pods.iter().find(is).unwrap();
        server.ready && server.containers[0].restarts > 0
    };
    until(&mut follower, "the API server's restart", restarted);
    kind.kubectl(&["-n", "shop", "scale", "deployment/api", "--replicas=0"]);
    until(&mut follower, "the end of all replicas", |facts| {
        pods_of(facts, "deployment/api").is_empty()
    });

    let begin = Instant::now();
    drop(kind);
    let facts = until(&mut follower, "the cluster's end", |facts| {
        node(facts, &cluster).unwrap().ended.is_some()
            && facts
                .pods
                .iter()
                .all(|pod| pod.cluster != cluster || pod.gone.is_some())
    });
    println!(
        "a cluster's end is known {} ms after `kind delete` began",
        begin.elapsed().as_millis()
    );
    assert_eq!(node(&facts, &cluster).unwrap().pid, None);
    assert!(
        facts.pods.iter().any(|pod| pod.cluster == cluster),
        "names are kept"
    );
}

/// What the manifest says of the deployment's pods.
fn is_as_written(pod: &Pod) {
    assert!(pod.selected);
    assert_eq!(pod.grace_period, Some(1));
    let main = &pod.containers[0];
    assert!(matches!(
        main.state,
        ContainerState::Running { since: Some(_) }
    ));
    assert_eq!(main.id.as_ref().map(String::len), Some(64));
    assert_eq!((main.run_as_user, main.read_only_root), (Some(1001), true));
    assert_eq!(main.variable("GOCOVERDIR"), Some("/cover/api"));
    assert!(!format!("{pod:?}").contains("secret"));
    let Some(Place::Volume { kind, below, .. }) = &main.coverage_directory else {
        panic!("{:?}", main.coverage_directory);
    };
    assert_eq!(
        (kind, below.as_str()),
        (&VolumeKind::EmptyDir { memory: false }, "api")
    );
}

/// What the API answers on demand.
fn answers(reach: &Reach, cluster: &str, pod: &Pod) {
    assert!(reach.can_exec(cluster, "shop", LONG).unwrap());
    let events = reach.events(cluster, "shop", &pod.uid, LONG).unwrap();
    assert!(
        events.iter().any(|event| event.reason == "Started"),
        "{events:?}"
    );
    let mut log = Log {
        pod: pod.name.clone(),
        container: "main".into(),
        previous: false,
        lines: 10,
    };
    assert_eq!(reach.logs(cluster, "shop", &log, LONG).unwrap(), "");
    log.previous = true;
    let none = reach
        .logs(cluster, "shop", &log, LONG)
        .unwrap_err()
        .to_string();
    assert!(none.contains("not found"), "{none}");
}
