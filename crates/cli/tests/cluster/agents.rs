//! covtap without any right on the machine but to speak to the container engine: agents on the nodes give the
//! same as its own tracer would, go when it goes, and are replaced when they end before.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Instant;

use covtap_model::ledger::{Outcome, Route, Target};

use crate::exact::{Ground, Seen, counts_are_exact};
use crate::place::{HANDLERS, PATIENCE, Place};
use crate::unprivileged::Unprivileged;
use crate::{Cluster, load, output, say};

/// Requests between two events.
const REQUESTS: usize = 100;

/// A container that is a node.
struct Node {
    name: String,
    /// The engine's id.
    id: String,
}

impl Node {
    fn of(name: &str) -> Self {
        let id = output(Command::new("docker").args(["inspect", "-f", "{{.Id}}", name]));
        Self {
            name: name.to_owned(),
            id: id.trim().to_owned(),
        }
    }

    fn all(cluster: &Cluster) -> Vec<Self> {
        let names = output(Command::new("kind").args(["get", "nodes", "--name", cluster.name()]));
        names.lines().map(Self::of).collect()
    }

    /// The agents in it, as this machine counts: the one that watches and the one that has joined it.
    fn agents(&self) -> BTreeSet<u32> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let has = |text: &[u8], part: &str| String::from_utf8_lossy(text).contains(part);
            has(&read("cmdline"), "\0agent\0--scope=containers") && has(&read("cgroup"), &self.id)
        })
        .collect()
    }

    /// Waits until its agents are as they should be.
    fn await_agents(&self, are: impl Fn(&BTreeSet<u32>) -> bool) -> BTreeSet<u32> {
        let began = Instant::now();
        loop {
            let agents = self.agents();
            if are(&agents) {
                return agents;
            }
            assert!(began.elapsed() < PATIENCE, "{}: {agents:?}", self.name);
        }
    }

    /// No agent has a socket that anybody could connect to from elsewhere.
    fn has_no_open_port(&self) {
        for pid in self.agents() {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
            let targets = descriptors.filter_map(|d| fs::read_link(d.path()).ok());
            let sockets: Vec<String> = targets
                .filter_map(|target| {
                    let name = target.to_str()?.strip_prefix("socket:[")?;
                    Some(name.strip_suffix(']')?.to_owned())
                })
                .collect();
            for kind in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"] {
                let table =
                    fs::read_to_string(format!("/proc/{pid}/net/{kind}")).unwrap_or_default();
                let inodes = table
                    .lines()
                    .filter_map(|line| line.split_whitespace().nth(9));
                let open: Vec<&str> = inodes
                    .filter(|inode| sockets.iter().any(|s| s == inode))
                    .collect();
                assert!(open.is_empty(), "{}: {kind} {open:?}", self.name);
            }
        }
    }

    /// What covtap put there is not there any more.
    fn is_clean(&self) {
        self.await_agents(BTreeSet::is_empty);
        self.has_no_file();
    }

    fn has_no_file(&self) {
        // kubectl's cache of a cluster has the cluster's name.
        let find = "find / -xdev -path '*/.kube' -prune -o -name 'covtap*' -print";
        let exec = ["exec", &self.name, "sh", "-c", find];
        let found = output(Command::new("docker").args(exec));
        assert_eq!(found, "", "{}", self.name);
    }
}

/// Those in pods: other tests have containers of the engine's meanwhile.
fn of_pods(targets: &[Target]) -> Vec<&Target> {
    let in_pod = |target: &&Target| {
        let container = target.container.as_ref();
        container.is_some_and(|container| container.cluster.is_some())
    };
    targets.iter().filter(in_pod).collect()
}

#[test]
fn agents_count_as_exactly_as_the_hosts_own_tracer() {
    let (Some(cluster), Some(user)) = (Cluster::get(), Unprivileged::new()) else {
        return;
    };
    load(&cluster, "numbered:test", "fixtures/cluster/service");
    user.may_use(&cluster);
    let ground = Ground {
        namespace: "exact-agents",
        port: 30078,
    };
    let nodes = Node::all(&cluster);
    let context = format!("--context={}", cluster.context);
    let run = user.run(&["-n", ground.namespace, &context]);
    counts_are_exact(&cluster, &user.place, run, &ground, || {
        for node in &nodes {
            assert_eq!(node.agents().len(), 1, "{}", node.name);
            node.has_no_open_port();
            // It runs, and its file is gone already.
            node.has_no_file();
        }
    });
    for node in &nodes {
        node.is_clean();
    }
}

/// Has the only replica of the service asked some more, which has to answer.
fn ask(seen: &mut Seen, address: &str) {
    let before = seen.all();
    for i in 0..REQUESTS {
        seen.ask(address, i % HANDLERS);
    }
    assert_eq!(seen.all() - before, REQUESTS);
}

fn entered(place: &Place, target: &Target) -> u64 {
    place.entered(target).iter().sum()
}

#[test]
fn neither_a_cut_connection_nor_the_end_of_an_agent_costs_a_count() {
    let (Some(cluster), Some(user)) = (Cluster::get(), Unprivileged::new()) else {
        return;
    };
    load(&cluster, "numbered:test", "fixtures/cluster/service");
    user.may_use(&cluster);
    let ground = Ground {
        namespace: "cut-agents",
        port: 30079,
    };
    let context = format!("--context={}", cluster.context);
    let mut run = user.run(&["-n", ground.namespace, &context]);
    run.says(&["watching node", "through an agent"]);
    cluster.apply(&ground.manifest().replace("replicas: 3", "replicas: 1"));
    let pods = cluster.rolled_out(ground.namespace, "numbered");
    let pod = pods[0].strip_prefix("pod/").unwrap();
    run.says(&[pod, "is ready", "instrumented"]);
    let process = cluster.process(ground.namespace, pod);
    let on = ["get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"];
    let node = Node::of(&cluster.in_namespace(ground.namespace, &on));

    let address = format!("{}:{}", cluster.node_address(), ground.port);
    let mut seen = Seen::default();
    ask(&mut seen, &address);
    let first = node.await_agents(|agents| agents.len() == 1);
    user.cut();
    ask(&mut seen, &address);
    // Another one joins the first and passes on what it sees.
    let joined = node.await_agents(|agents| agents.len() == 2);
    assert!(joined.is_superset(&first), "{joined:?} {first:?}");
    let watching = first.first().unwrap().to_string();
    output(Command::new("kill").args(["-9", &watching]));
    ask(&mut seen, &address);
    node.await_agents(|agents| agents.len() == 1 && agents.is_disjoint(&joined));
    ask(&mut seen, &address);
    assert_eq!(cluster.process(ground.namespace, pod), process);
    let (status, said) = run.end();
    assert!(status.success(), "{status}\n{said}");

    let ledger = user.place.ledger();
    let rows = of_pods(&ledger.targets);
    let [row] = rows.as_slice() else {
        panic!("{rows:#?}");
    };
    assert_eq!(row.outcome, Outcome::Merged, "{row:#?}");
    assert_eq!(row.state.as_ref().unwrap().route, Route::Tap);
    assert_eq!(entered(&user.place, row), seen.all() as u64);
    // The service goes on, and nobody traces it.
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    assert!(status.contains("TracerPid:\t0\n"), "{status}");
    node.is_clean();
    cluster.kubectl(&["delete", "namespace", ground.namespace, "--wait=false"]);
}

/// A cluster that a suite makes and deletes.
struct Suite {
    cluster: Cluster,
}

impl Suite {
    fn create(name: &str) -> Self {
        let mut create = Command::new("kind");
        create.args(["create", "cluster", "--name", name]);
        if let Some(image) = std::env::var_os("E2E_NODE_IMAGE") {
            create.arg("--image").arg(image);
        }
        let suite = Self {
            cluster: Cluster {
                _use: None,
                context: format!("kind-{name}"),
            },
        };
        output(&mut create);
        suite
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        let name = self.cluster.name();
        // A test that has failed has said so itself.
        let _ = Command::new("kind")
            .args(["delete", "cluster", "--name", name])
            .output();
    }
}

#[test]
fn of_a_cluster_that_a_suite_makes_and_deletes_the_last_states_are_there() {
    let (Some(_), Some(user)) = (Cluster::get(), Unprivileged::new()) else {
        return;
    };
    let mut run = user.run(&[]);
    let suite = Suite::create(&format!("agents-{}", std::process::id()));
    let cluster = &suite.cluster;
    run.says(&["watching node", cluster.name(), "through an agent"]);
    load(cluster, "numbered:test", "fixtures/cluster/service");
    let ground = Ground {
        namespace: "suite",
        port: 30077,
    };
    cluster.apply(&ground.manifest().replace("replicas: 3", "replicas: 1"));
    let pods = cluster.rolled_out(ground.namespace, "numbered");
    let pod = pods[0].strip_prefix("pod/").unwrap();
    run.says(&[pod, "is ready", "instrumented"]);
    let address = format!("{}:{}", cluster.node_address(), ground.port);
    let mut seen = Seen::default();
    ask(&mut seen, &address);
    drop(suite);
    let (status, said) = run.end();

    let ledger = user.place.ledger();
    let rows = of_pods(&ledger.targets);
    let [row] = rows.as_slice() else {
        panic!("{rows:#?}\n{said}");
    };
    assert_eq!(status.code(), Some(4), "{said}");
    let Outcome::Partial { because } = &row.outcome else {
        panic!("{row:#?}");
    };
    assert!(because.contains("was stopped: read"), "{because}");
    assert!(because.ends_with("ms before its end was seen"), "{because}");
    assert_eq!(row.container.as_ref().unwrap().pod.as_deref(), Some(pod));
    let counted = entered(&user.place, row);
    assert!(counted <= seen.all() as u64);
    say(&format!(
        "{counted} of {} requests counted when the node was deleted; {because}",
        seen.all()
    ));
}
