//! Nothing but a kubeconfig: no engine, no rights on this machine. Agents come as a DaemonSet, and what they
//! bring is what the host itself sees.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use covtap_live::agent::message::Selection;
use covtap_live::agent::remote::{Condition, News, Options, Remote};
use serde_json::Value;

use crate::exact::{Ground, counts_are_exact};
use crate::manifest;
use crate::place::{self, PATIENCE, Place, Run};
use crate::unprivileged::Unprivileged;
use crate::{Cluster, output};

const IMAGE: &str = "covtap-agent:test";

/// One test at a time has DaemonSets.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // A test that failed has said so itself.
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loads the image of agents into the nodes, once.
pub(crate) fn load_agent(cluster: &Cluster) {
    static LOADED: OnceLock<()> = OnceLock::new();
    LOADED.get_or_init(|| {
        let place = Place::new();
        let archive = place.path().join("agent.tar");
        let archive = archive.to_str().unwrap();
        let name = format!("--name={IMAGE}");
        let mut image = crate::covtap(&place);
        output(image.args(["agent", "image", "-o", archive, &name]));
        output(Command::new("kind").args([
            "load",
            "image-archive",
            archive,
            "--name",
            cluster.name(),
        ]));
    });
}

/// A user without an engine, who has this kubeconfig and the image.
pub(crate) fn user(kubeconfig: &str) -> Option<Unprivileged> {
    let user = Unprivileged::new()?;
    user.lose_engine();
    user.write("kubeconfig", kubeconfig);
    Some(user)
}

pub(crate) fn run(user: &Unprivileged, flags: &[&str]) -> Run {
    let image = format!("--agent-image={IMAGE}");
    user.run(&[flags, &[&image]].concat())
}

pub(crate) fn kubeconfig(cluster: &Cluster) -> String {
    output(Command::new("kind").args(["get", "kubeconfig", "--name", cluster.name()]))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Waits until no namespace and no DaemonSet is covtap's.
pub(crate) fn all_is_gone(cluster: &Cluster) {
    let began = Instant::now();
    loop {
        let ours = ["-l", "app.kubernetes.io/managed-by=covtap", "-o", "name"];
        let left =
            cluster.kubectl(&[&["get", "namespaces,daemonsets,pods", "-A"], &ours[..]].concat());
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "still there: {left}");
    }
}

/// What the API and the kernel say of the agents.
fn is_locked_down(cluster: &Cluster) {
    let ours = ["-l", "app.kubernetes.io/managed-by=covtap", "-o", "json"];
    let pods = json(&cluster.kubectl(&[&["get", "pods", "-A"], &ours[..]].concat()));
    let pods = pods["items"].as_array().unwrap();
    let nodes = cluster.kubectl(&["get", "nodes", "-o", "name"]);
    assert_eq!(pods.len(), nodes.lines().count(), "one a node");
    for pod in pods {
        let spec = &pod["spec"];
        assert_eq!(spec["hostPID"], true);
        assert_eq!(spec["hostNetwork"], Value::Null);
        assert_eq!(spec["automountServiceAccountToken"], false);
        // No token is mounted: only the names of pods are.
        let volumes = spec["volumes"].as_array().unwrap();
        assert_eq!(volumes.len(), 1, "{volumes:?}");
        assert_eq!(volumes[0]["hostPath"]["path"], "/var/log/pods");
        let container = &spec["containers"][0];
        assert_eq!(container["ports"], Value::Null);
        let security = &container["securityContext"];
        assert_eq!(security["privileged"], Value::Null);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["capabilities"]["drop"][0], "ALL");
        let added: Vec<&str> = security["capabilities"]["add"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap())
            .collect();
        assert_eq!(added, ["SYS_PTRACE", "DAC_READ_SEARCH"]);
        let uid = pod["metadata"]["uid"].as_str().unwrap().replace('-', "_");
        let pid = crate::process("covtap", &uid).unwrap();
        for protocol in ["tcp", "tcp6", "udp", "udp6"] {
            let sockets = fs::read_to_string(format!("/proc/{pid}/net/{protocol}")).unwrap();
            assert_eq!(sockets.lines().count(), 1, "{sockets}");
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        // CAP_DAC_READ_SEARCH is 2, CAP_SYS_PTRACE is 19.
        assert!(status.contains("CapEff:\t0000000000080004"), "{status}");
        assert!(status.contains("CapBnd:\t0000000000080004"), "{status}");
    }
}

#[test]
fn through_a_daemonset_counts_are_those_that_clients_saw() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let _one = one_at_a_time();
    load_agent(&cluster);
    crate::load(&cluster, "numbered:test", "fixtures/cluster/service");
    let Some(user) = user(&kubeconfig(&cluster)) else {
        return;
    };
    let ground = Ground {
        namespace: "daemonset",
        port: 30080,
    };
    let run = run(&user, &["-n", ground.namespace]);
    counts_are_exact(&cluster, &user.place, run, &ground, || {
        is_locked_down(&cluster);
    });
    all_is_gone(&cluster);
}

#[test]
fn an_image_that_nobody_has_is_said_with_its_node() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let _one = one_at_a_time();
    let Some(user) = user(&kubeconfig(&cluster)) else {
        return;
    };
    let began = Instant::now();
    let mut run = user.run(&["-n", "default", "--agent-image=localhost:1/nobody-has-it:1"]);
    let line = run.says(&["node ", "ErrImagePull"]);
    assert!(line.contains("localhost:1/nobody-has-it:1"), "{line}");
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    run.end();
    all_is_gone(&cluster);
}

/// Somebody who may look into one namespace, and make agents in another.
const RUNNER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: runner, namespace: allowed}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: covtap, namespace: allowed}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: covtap}
subjects: [{kind: ServiceAccount, name: runner, namespace: allowed}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: covtap-agents, namespace: covtap-tools}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: covtap-agents}
subjects: [{kind: ServiceAccount, name: runner, namespace: allowed}]
";

/// The kubeconfig of the runner.
fn kubeconfig_of_runner(cluster: &Cluster) -> String {
    let place = Place::new();
    let file = place.path().join("kubeconfig");
    fs::write(&file, kubeconfig(cluster)).unwrap();
    let token = cluster.in_namespace("allowed", &["create", "token", "runner"]);
    let config = |args: &[&str]| {
        let mut kubectl = Command::new("kubectl");
        output(
            kubectl
                .arg("--kubeconfig")
                .arg(&file)
                .arg("config")
                .args(args),
        );
    };
    config(&[
        "set-credentials",
        "runner",
        &format!("--token={}", token.trim()),
    ]);
    config(&[
        "set-context",
        "--current",
        "--user=runner",
        "--namespace=allowed",
    ]);
    fs::read_to_string(file).unwrap()
}

/// Somebody who executes the agent's program in a pod of it, and asks for everything.
struct Asks {
    remote: Remote<UnixStream>,
    kubectl: Child,
    news: Vec<News>,
}

impl Asks {
    fn start(cluster: &Cluster, pod: &str, folder: PathBuf) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let input = std::os::fd::OwnedFd::from(theirs.try_clone().unwrap());
        let kubectl = Command::new("kubectl")
            .args([
                "--context",
                &cluster.context,
                "-n",
                "covtap-tools",
                "exec",
                "-i",
                pod,
            ])
            .args(["--", "covtap", "agent", "--join"])
            .stdin(input)
            .stdout(std::os::fd::OwnedFd::from(theirs))
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let options = Options {
            name: pod.to_owned(),
            number: 1,
            folder,
            version: "test".into(),
        };
        Self {
            remote: Remote::connect(ours, options).unwrap(),
            kubectl,
            news: Vec::new(),
        }
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(
                began.elapsed() < PATIENCE,
                "{what}: {:?}",
                self.remote.condition()
            );
            let news = self.remote.take_in();
            self.news.extend(news);
        }
    }
}

#[test]
fn who_may_not_look_into_a_namespace_gets_nothing_of_it() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let _one = one_at_a_time();
    load_agent(&cluster);
    crate::load(&cluster, "numbered:test", "fixtures/cluster/service");
    for namespace in ["allowed", "hidden"] {
        let spec = manifest::spec(&[manifest::ready_on(8080, &[])]);
        let service = manifest::deployment(namespace, "numbered", 2, spec);
        cluster.apply(&manifest::all(namespace, vec![service]));
    }
    // What an administrator makes of what covtap says that it needs: all of it, and a DaemonSet of its own.
    let admin = Place::new();
    let mut print = crate::covtap(&admin);
    let image = format!("--agent-image={IMAGE}");
    print.args([
        "agent",
        "manifest",
        "-n",
        "allowed",
        "--agent-namespace",
        "covtap-tools",
        &image,
    ]);
    cluster.apply(&output(&mut print));
    cluster.apply(RUNNER);
    let hidden = cluster.rolled_out("hidden", "numbered");
    assert_eq!(hidden.len(), 2);
    let allowed = cluster.rolled_out("allowed", "numbered");

    // Whoever gets into such a pod is told of one namespace, whatever is asked for.
    let ours = ["-l", "app.kubernetes.io/managed-by=covtap"];
    let patience = format!("--timeout={}s", PATIENCE.as_secs());
    let wait = ["wait", "pods", "--for=condition=Ready", &patience];
    cluster.in_namespace("covtap-tools", &[&wait[..], &ours[..]].concat());
    let get = ["get", "pods", "-o", "name"];
    let pods = cluster.in_namespace("covtap-tools", &[&get[..], &ours[..]].concat());
    let (mut told, mut kept_back) = (0, 0);
    let alone = place::alone();
    for pod in pods.lines() {
        let mut asks = Asks::start(&cluster, pod, admin.path().join("states"));
        asks.until("hello", |asks| {
            *asks.remote.condition() == Condition::Connected
        });
        asks.remote.select(Selection::everything());
        let id = asks.remote.read_now();
        asks.until("what was read", |asks| asks.news.contains(&News::Read(id)));
        // A node that has none of these processes has nothing that was read.
        asks.until("a heartbeat", |asks| asks.remote.heartbeat().now > 0);
        let lives = asks.remote.lives();
        told += lives.iter().filter(|life| life.running()).count();
        kept_back += asks.remote.heartbeat().kept_back;
        asks.remote.stop();
        asks.until("its end", |asks| {
            *asks.remote.condition() == Condition::Over
        });
        asks.kubectl.wait().unwrap();
    }
    drop(alone);
    assert_eq!(told, allowed.len(), "processes of namespace allowed");
    assert!(kept_back >= 2, "{kept_back} kept back");
    cluster.in_namespace(
        "covtap-tools",
        &[&["delete", "daemonset", "--wait"], &ours[..]].concat(),
    );

    // The runner itself, with agents that it makes.
    let Some(user) = user(&kubeconfig_of_runner(&cluster)) else {
        return;
    };
    let flags = ["-n", "allowed,hidden", "--agent-namespace", "covtap-tools"];
    let mut run = run(&user, &flags);
    run.says_all(&[
        &[
            "list pods in namespace hidden",
            "kubectl create role covtap -n hidden",
        ],
        &["allowed/numbered-", "is instrumented"],
    ]);
    let (status, said) = run.end();
    assert!(status.success(), "{status}\n{said}");
    assert!(
        said.contains("nothing of namespace hidden was collected"),
        "{said}"
    );
    let ledger = user.place.ledger();
    let namespaces = ledger.targets.iter().filter_map(|target| {
        let container = target.container.as_ref()?;
        Some(container.namespace.clone())
    });
    let namespaces: Vec<_> = namespaces.collect();
    assert_eq!(namespaces, vec![Some("allowed".to_owned()); allowed.len()]);
    for namespace in ["covtap-tools", "allowed", "hidden"] {
        cluster.kubectl(&["delete", "namespace", namespace, "--wait=false"]);
    }
    all_is_gone(&cluster);
}
