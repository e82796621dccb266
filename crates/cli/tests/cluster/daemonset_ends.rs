//! How agents in a DaemonSet end: with their run, however that ends, and never because of a connection.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Instant;

use covtap_model::ledger::Outcome;
use rustix::process::Signal;

use crate::daemonset::{all_is_gone, kubeconfig, load_agent, one_at_a_time, run, user};
use crate::exact::{Ground, Seen};
use crate::outages::api;
use crate::place::{HANDLERS, PATIENCE};
use crate::unprivileged::Unprivileged;
use crate::{Cluster, load, output};

/// Namespaces that covtap has made.
fn made(cluster: &Cluster) -> String {
    let ours = ["-l", "app.kubernetes.io/managed-by=covtap", "-o", "name"];
    cluster.kubectl(&[&["get", "namespaces"], &ours[..]].concat())
}

/// What `covtap clean` says to a user, and its exit code.
fn clean(user: &Unprivileged, flags: &[&str]) -> (Option<i32>, String) {
    let mut clean = user.covtap();
    let out = clean.arg("clean").args(flags).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    (out.status.code(), said)
}

#[test]
fn clean_removes_the_agents_of_a_run_that_was_killed() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let _one = one_at_a_time();
    load_agent(&cluster);
    let Some(user) = user(&kubeconfig(&cluster)) else {
        return;
    };
    let killed = || {
        let mut run = run(&user, &["-n", "default"]);
        run.says(&["watching node"]);
        run.kill();
        let namespace = made(&cluster);
        assert_eq!(namespace.lines().count(), 1, "{namespace}");
        namespace.trim().replace("namespace/", "")
    };
    let namespace = killed();
    let name = format!("the agents in namespace {namespace} of cluster");
    let (code, said) = clean(&user, &["--dry-run"]);
    assert!(
        said.contains(&name) && said.contains("would be removed"),
        "{code:?} {said}"
    );
    assert!(made(&cluster).contains(&namespace));
    let (code, said) = clean(&user, &[]);
    assert!(
        said.contains(&name) && said.contains("are removed"),
        "{said}"
    );
    assert_eq!(code, Some(0), "{said}");
    all_is_gone(&cluster);
    let (_, said) = clean(&user, &[]);
    assert!(said.contains("nothing to do"), "{said}");

    // The store has gone with the job that was ended.
    let namespace = killed();
    fs::remove_dir_all(user.place.path().join("store")).unwrap();
    let owner = |host: &str| {
        let host = format!("covtap/host={host}");
        cluster.kubectl(&["annotate", "--overwrite", "namespace", &namespace, &host]);
    };
    let named = format!("--context={}", cluster.context);
    owner("another-machine");
    let (code, said) = clean(&user, &[&named]);
    assert_eq!(code, Some(1), "{said}");
    for words in [
        "on another-machine made them",
        "delete namespace",
        &namespace,
    ] {
        assert!(said.contains(words), "{said}");
    }
    let here = rustix::system::uname();
    owner(here.nodename().to_str().unwrap());
    let (code, said) = clean(&user, &[&named]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(&namespace) && said.contains("are removed"),
        "{said}"
    );
    all_is_gone(&cluster);
}

#[test]
fn an_interrupt_removes_what_is_just_being_made() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let _one = one_at_a_time();
    load_agent(&cluster);
    let Some(user) = user(&kubeconfig(&cluster)) else {
        return;
    };
    // In the middle of making it, and when it stands.
    for stands in [false, true] {
        let mut run = run(&user, &["-n", "default"]);
        if stands {
            run.says(&["watching node"]);
        } else {
            let began = Instant::now();
            while made(&cluster).is_empty() {
                assert!(began.elapsed() < PATIENCE, "nothing is made");
            }
        }
        run.signal(Signal::INT);
        let (status, said) = run.ended();
        assert!(!status.success(), "{said}");
        all_is_gone(&cluster);
        assert!(!user.place.latest().join("agents.json").exists());
    }
}

/// The agents in the nodes of a cluster, as this machine counts.
struct Agents {
    /// The engine's ids of the nodes.
    nodes: Vec<String>,
}

impl Agents {
    fn of(cluster: &Cluster) -> Self {
        let names = output(Command::new("kind").args(["get", "nodes", "--name", cluster.name()]));
        let inspect = ["inspect", "-f", "{{.Id}}"];
        let ids = output(Command::new("docker").args(inspect).args(names.lines()));
        Self {
            nodes: ids.lines().map(str::to_owned).collect(),
        }
    }

    /// Those with this flag.
    fn with(&self, flag: &str) -> BTreeSet<u32> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let group = String::from_utf8_lossy(&read("cgroup")).into_owned();
            let here = self.nodes.iter().any(|id| group.contains(id));
            here && line.starts_with("covtap agent") && line.contains(flag)
        })
        .collect()
    }

    /// Waits until there is one on each node, and none of those that were there before.
    fn anew(&self, flag: &str, old: &BTreeSet<u32>) -> BTreeSet<u32> {
        let began = Instant::now();
        loop {
            let found = self.with(flag);
            if found.len() == self.nodes.len() && found.is_disjoint(old) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "{flag}: {found:?}, was {old:?}");
        }
    }
}

fn kill(pids: impl IntoIterator<Item = u32>) {
    let pids = pids.into_iter().map(|pid| pid.to_string());
    output(Command::new("kill").arg("-9").args(pids));
}

#[test]
fn neither_a_cut_stream_nor_the_end_of_an_agent_costs_a_count() {
    // The API server is killed.
    let Some(cluster) = Cluster::alone() else {
        return;
    };
    let _one = one_at_a_time();
    load_agent(&cluster);
    load(&cluster, "numbered:test", "fixtures/cluster/service");
    let Some(user) = user(&kubeconfig(&cluster)) else {
        return;
    };
    let ground = Ground {
        namespace: "cut-daemonset",
        port: 30081,
    };
    let mut run = run(&user, &["-n", ground.namespace]);
    run.says(&["watching node"]);
    cluster.apply(&ground.manifest().replace("replicas: 3", "replicas: 1"));
    let pods = cluster.rolled_out(ground.namespace, "numbered");
    let pod = pods[0].strip_prefix("pod/").unwrap();
    run.says(&[pod, "is ready", "instrumented"]);

    let address = format!("{}:{}", cluster.node_address(), ground.port);
    let mut seen = Seen::default();
    let mut ask = || {
        let before = seen.all();
        for i in 0..100 {
            seen.ask(&address, i % HANDLERS);
        }
        assert_eq!(seen.all() - before, 100);
        seen.all() as u64
    };
    ask();
    let on_nodes = Agents::of(&cluster);
    let first = on_nodes.anew("--join", &BTreeSet::new());
    let agents = on_nodes.anew("--stay", &BTreeSet::new());
    // The programs at the ends of the streams.
    kill(first.iter().copied());
    ask();
    let second = on_nodes.anew("--join", &first);
    // What is between them.
    let began = Instant::now();
    kill([api(&format!("{}-control-plane", cluster.name()))]);
    ask();
    let third = on_nodes.anew("--join", &second);
    let away = began.elapsed();
    assert_eq!(on_nodes.with("--stay"), agents, "the agents stay");
    // The agents: their containers are started again.
    kill(agents.iter().copied());
    ask();
    on_nodes.anew("--stay", &agents);
    on_nodes.anew("--join", &third);
    let asked = ask();
    let (status, said) = run.end();
    assert!(status.success(), "{status}\n{said}");

    let ledger = user.place.ledger();
    let [row] = ledger.targets.as_slice() else {
        panic!("{:#?}", ledger.targets);
    };
    assert_eq!(row.outcome, Outcome::Merged, "{row:#?}");
    let counted: u64 = user.place.entered(row).iter().sum();
    assert_eq!(counted, asked);
    crate::say(&format!(
        "{counted} requests counted exactly over three cuts of the streams; the one with the API server took \
         {away:.1?}"
    ));
    all_is_gone(&cluster);
    cluster.kubectl(&["delete", "namespace", ground.namespace, "--wait=false"]);
}
