//! Nothing but an image that was built with -cover: from scratch, as user 1001, stripped, on a read-only
//! root, without capabilities, GOCOVERDIR or volume; three replicas on two nodes, one of which is killed
//! with -9. Of each replica and handler the counts are those that its clients saw.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use covtap_model::ledger::{Outcome, Route, Target};

use crate::place::{PATIENCE, Place};
use crate::{Cluster, covtap, load, output};

const NAMESPACE: &str = "exact";
const HANDLERS: usize = 20;
const PORT: u16 = 30077;
/// Requests before the kill, and after it.
const REQUESTS: usize = 600;

/// What the clients saw: answers of each pod and handler, requests that nobody answered, and
/// connections that nobody took.
#[derive(Default)]
struct Seen {
    refused: u64,
    answered: BTreeMap<(String, usize), u64>,
    unanswered: BTreeMap<usize, u64>,
}

impl Seen {
    /// Asks for a handler over a connection of its own, so that requests spread over the replicas.
    fn ask(&mut self, address: &str, handler: usize) {
        // Who is refused has asked nobody.
        let Ok(stream) = TcpStream::connect(address) else {
            self.refused += 1;
            return;
        };
        match answer(stream, handler) {
            Some(pod) => *self.answered.entry((pod, handler)).or_default() += 1,
            None => *self.unanswered.entry(handler).or_default() += 1,
        }
    }
}

/// The pod that answers; `None` when none does, or not to the end.
fn answer(mut stream: TcpStream, handler: usize) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = format!("GET /h/{handler} HTTP/1.0\r\nHost: numbered\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    BufReader::new(stream).read_to_string(&mut text).ok()?;
    let body = text.split("\r\n\r\n").nth(1)?;
    let (pod, number) = body.trim().split_once(' ')?;
    assert_eq!(number, handler.to_string());
    Some(pod.to_owned())
}

/// How often each handler of one target was entered.
fn entered(place: &Place, target: &Target) -> Vec<u64> {
    let file = place.path().join("profile");
    let mut textfmt = covtap(place);
    textfmt.args(["covdata", "textfmt"]);
    textfmt.arg(format!("-i={}", place.alone(target).display()));
    output(textfmt.arg(format!("-o={}", file.display())));
    // Each handler is a line of its own, in their order: the last ones of the file.
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<(u64, u64)> = text
        .lines()
        .skip(1)
        .map(|line| {
            let (place, count) = line.rsplit_once(' ').unwrap();
            let line = place.split(':').nth(1).unwrap().split('.').next().unwrap();
            (line.parse().unwrap(), count.parse().unwrap())
        })
        .collect();
    lines.sort_unstable();
    let handlers = lines.split_off(lines.len() - HANDLERS);
    handlers.into_iter().map(|(_, count)| count).collect()
}

/// The process of a pod on this machine, if a tracer has it.
fn process(uid: &str) -> Option<u32> {
    let uid = uid.replace('-', "_");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|pid| {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        read("cgroup").contains(&uid) && read("comm").trim() == "numbered"
    })
}

fn kill(cluster: &Cluster, pod: &str) {
    let uid = cluster.kubectl(&[
        "-n",
        NAMESPACE,
        "get",
        "pod",
        pod,
        "-o",
        "jsonpath={.metadata.uid}",
    ]);
    let began = Instant::now();
    let pid = loop {
        assert!(began.elapsed() < PATIENCE, "no process of {pod}");
        if let Some(pid) = process(&uid) {
            break pid;
        }
    };
    output(Command::new("kill").args(["-9", &pid.to_string()]));
}

#[test]
fn counts_of_each_replica_are_those_that_clients_saw() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    load(&cluster, "numbered:test", "fixtures/cluster/service");
    let place = Place::new();
    let context = format!("--context={}", cluster.context);
    let mut run = place.run(&["-n", NAMESPACE, &context]);
    run.says(&["watching node"]);
    cluster.apply(include_str!("numbered.yaml"));
    cluster.kubectl(&[
        "-n",
        NAMESPACE,
        "rollout",
        "status",
        "deploy/numbered",
        "--timeout=120s",
    ]);
    for _ in 0..3 {
        let line = run.says(&[&format!("{NAMESPACE}/numbered-"), "is ready"]);
        assert!(
            line.contains("numbered (uid 1001) is instrumented"),
            "{line}"
        );
        assert!(line.contains("GOCOVERDIR is not set"), "{line}");
    }
    let pods = cluster.kubectl(&["-n", NAMESPACE, "get", "pods", "-o", "name"]);
    let pods: Vec<&str> = pods
        .lines()
        .filter_map(|l| l.strip_prefix("pod/"))
        .collect();
    let [victim, ..] = pods.as_slice() else {
        panic!("{pods:?}");
    };

    let address = format!("{}:{PORT}", cluster.node_address());
    let mut seen = Seen::default();
    for i in 0..REQUESTS {
        seen.ask(&address, i % HANDLERS);
    }
    let lost = seen.refused + seen.unanswered.values().sum::<u64>();
    assert_eq!(lost, 0, "before anything was killed");
    kill(&cluster, victim);
    for i in 0..REQUESTS {
        seen.ask(&address, i % HANDLERS);
    }
    // Its container is started again.
    run.says(&[victim, "is ready"]);
    let (status, said) = run.end();
    assert!(status.success(), "{status}\n{said}");

    let ledger = place.ledger();
    let rows: Vec<&Target> = ledger
        .targets
        .iter()
        .filter(|t| t.container.is_some())
        .collect();
    // Three replicas, and the container that took the place of the one that was killed.
    assert_eq!(rows.len(), 4, "{rows:#?}");
    assert!(
        rows.iter().all(|row| row.outcome == Outcome::Merged),
        "{rows:#?}"
    );
    assert!(rows.iter().all(|row| row.workload == "deployment/numbered"));
    let pod = |row: &Target| row.container.as_ref().unwrap().pod.clone().unwrap();
    let killed: Vec<_> = rows
        .iter()
        .filter(|row| row.exit_status.is_some())
        .collect();
    let [killed] = killed.as_slice() else {
        panic!("{rows:#?}");
    };
    assert_eq!(killed.exit_status.as_deref(), Some("signal 9"));
    assert_eq!(killed.state.as_ref().unwrap().route, Route::Exit);
    assert_eq!(pod(killed), *victim);
    let nodes: std::collections::BTreeSet<_> = rows
        .iter()
        .map(|row| row.container.as_ref().unwrap().node.clone().unwrap())
        .collect();
    assert!(nodes.len() >= 2, "{nodes:?}");

    let mut counted: BTreeMap<(String, usize), u64> = BTreeMap::new();
    for row in &rows {
        for (handler, count) in entered(&place, row).into_iter().enumerate() {
            *counted.entry((pod(row), handler)).or_default() += count;
        }
    }
    for name in &pods {
        for handler in 0..HANDLERS {
            let key = ((*name).to_owned(), handler);
            let answered = seen.answered.get(&key).copied().unwrap_or(0);
            let lost = seen.unanswered.get(&handler).copied().unwrap_or(0);
            let most = if name == victim {
                answered + lost
            } else {
                answered
            };
            let counted = counted.get(&key).copied().unwrap_or(0);
            assert!(
                (answered..=most).contains(&counted),
                "{name} handler {handler}: answered {answered}, lost {lost}, counted {counted}"
            );
        }
    }
    let all: u64 = seen.answered.values().sum();
    let lost: u64 = seen.unanswered.values().sum();
    crate::say(&format!(
        "{all} requests answered by {} replicas, {lost} in flight at the kill, {} refused: every count is \
         exact",
        pods.len(),
        seen.refused
    ));
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}
