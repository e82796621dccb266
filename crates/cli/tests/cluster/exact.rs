//! Nothing but an image that was built with -cover: from scratch, as user 1001, stripped, on a read-only
//! root, without capabilities, GOCOVERDIR or volume; three replicas on two nodes, one of which is killed
//! with -9. Of each replica and handler the counts are those that its clients saw.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use covtap_model::ledger::{Outcome, Route, Target};

use crate::place::{HANDLERS, PATIENCE, Place, Run};
use crate::{Cluster, load};

/// Requests that are answered before the kill, and after it.
const REQUESTS: usize = 600;

/// Where the service runs.
pub(crate) struct Ground {
    pub(crate) namespace: &'static str,
    /// Its port on every node.
    pub(crate) port: u16,
}

impl Ground {
    /// The service there.
    pub(crate) fn manifest(&self) -> String {
        include_str!("numbered.yaml")
            .replace("exact", self.namespace)
            .replace("30077", &self.port.to_string())
    }
}

/// What the clients saw: answers of each pod and handler, requests that nobody answered, and
/// connections that nobody took.
#[derive(Default)]
pub(crate) struct Seen {
    refused: u64,
    answered: BTreeMap<(String, usize), u64>,
    unanswered: BTreeMap<usize, u64>,
}

impl Seen {
    /// How many replicas have answered.
    fn replicas(&self) -> usize {
        let pods: BTreeSet<_> = self.answered.keys().map(|(pod, _)| pod).collect();
        pods.len()
    }

    /// How many requests were answered.
    pub(crate) fn all(&self) -> usize {
        let all: u64 = self.answered.values().sum();
        all.try_into().unwrap()
    }

    /// Asks for a handler over a connection of its own, so that requests spread over the replicas.
    pub(crate) fn ask(&mut self, address: &str, handler: usize) {
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

#[test]
fn counts_of_each_replica_are_those_that_clients_saw() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    load(&cluster, "numbered:test", "fixtures/cluster/service");
    let place = Place::new();
    let context = format!("--context={}", cluster.context);
    let ground = Ground {
        namespace: "exact",
        port: 30077,
    };
    let run = place.run(&["-n", ground.namespace, &context]);
    counts_are_exact(&cluster, &place, run, &ground, || ());
}

/// Has three replicas on two nodes asked, one of which is killed, beside a covtap that begins, and compares.
/// `meanwhile` is called when all of them are watched.
pub(crate) fn counts_are_exact(
    cluster: &Cluster,
    place: &Place,
    mut run: Run,
    ground: &Ground,
    meanwhile: impl FnOnce(),
) {
    let (namespace, port) = (ground.namespace, ground.port);
    run.says(&["watching node"]);
    cluster.apply(&ground.manifest());
    cluster.kubectl(&[
        "-n",
        namespace,
        "rollout",
        "status",
        "deploy/numbered",
        "--timeout=120s",
    ]);
    for _ in 0..3 {
        let line = run.says(&[&format!("{namespace}/numbered-"), "is ready"]);
        assert!(
            line.contains("numbered (uid 1001) is instrumented"),
            "{line}"
        );
        assert!(line.contains("GOCOVERDIR is not set"), "{line}");
    }
    let pods = cluster.kubectl(&["-n", namespace, "get", "pods", "-o", "name"]);
    let pods: Vec<&str> = pods
        .lines()
        .filter_map(|l| l.strip_prefix("pod/"))
        .collect();
    let [victim, ..] = pods.as_slice() else {
        panic!("{pods:?}");
    };

    meanwhile();
    let address = format!("{}:{port}", cluster.node_address());
    let mut seen = Seen::default();
    // That they are ready is known to the API before the node's Service sends requests to all of them: with
    // the victim alone in it, all that follow its end would be refused.
    let began = Instant::now();
    while seen.replicas() < pods.len() {
        assert!(began.elapsed() < PATIENCE, "not all of {pods:?} answer");
        seen.ask(&address, 0);
    }
    let early = seen.refused;
    for i in 0..REQUESTS {
        seen.ask(&address, i % HANDLERS);
    }
    let lost = seen.refused - early + seen.unanswered.values().sum::<u64>();
    assert_eq!(lost, 0, "before anything was killed");
    cluster.kill(namespace, victim);
    // Until its Service knows, a part of the requests goes to the one that is not there: those that are
    // answered count.
    let (before, began) = (seen.all(), Instant::now());
    for i in 0.. {
        if seen.all() == before + REQUESTS {
            break;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "after the kill {} of {i} requests were answered, {} refused",
            seen.all() - before,
            seen.refused
        );
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
    let nodes: BTreeSet<_> = rows
        .iter()
        .map(|row| row.container.as_ref().unwrap().node.clone().unwrap())
        .collect();
    assert!(nodes.len() >= 2, "{nodes:?}");

    let mut counted: BTreeMap<(String, usize), u64> = BTreeMap::new();
    for row in &rows {
        for (handler, count) in place.entered(row).into_iter().enumerate() {
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
    let all = seen.all();
    let lost: u64 = seen.unanswered.values().sum();
    crate::say(&format!(
        "{all} requests answered by {} replicas, {lost} in flight at the kill, {} refused: every count is \
         exact",
        pods.len(),
        seen.refused
    ));
    cluster.kubectl(&["delete", "namespace", namespace, "--wait=false"]);
}
