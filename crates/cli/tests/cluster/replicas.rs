//! Three replicas that were asked different things have three figures, and one that is all of them.

use std::collections::BTreeSet;
use std::fs;

use covtap_model::coverage::Coverage;

use crate::manifest::{all, deployment, ready_on, spec};
use crate::place::Place;
use crate::{Cluster, covtap, load, output};

const NAMESPACE: &str = "replicas";

/// The handlers that each replica is asked for. The last one covers what the first two do.
const ASKED: [&[usize]; 3] = [&[1], &[2, 3], &[1, 2, 3, 4, 5]];

#[test]
fn each_replica_has_its_own_figure() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    load(&cluster, "numbered:test", "fixtures/cluster/service");
    let place = Place::new();
    let context = format!("--context={}", cluster.context);
    let mut run = place.run(&["-n", NAMESPACE, "--per-replica", &context]);
    run.says(&["watching node"]);
    let service = deployment(NAMESPACE, "numbered", 3, spec(&[ready_on(8080, &[])]));
    cluster.apply(&all(NAMESPACE, vec![service]));
    let pods = cluster.rolled_out(NAMESPACE, "numbered");
    for (pod, handlers) in pods.iter().zip(ASKED) {
        let pod = pod.strip_prefix("pod/").unwrap();
        for handler in handlers {
            let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/h/{handler}");
            assert_eq!(
                cluster.kubectl(&["get", "--raw", &path]),
                format!("{pod} {handler}\n")
            );
        }
    }
    let (status, said) = run.end();
    assert!(status.success(), "{status}\n{said}");
    assert!(said.contains("WORKLOAD"), "{said}");

    let document = |path: &str| -> Coverage {
        let bytes = fs::read(place.latest().join(path)).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let whole = document("coverage.json").totals.statements;
    let mut figures = BTreeSet::new();
    for pod in &pods {
        let folder = pod.replace("pod/", "replicas/replicas-");
        let own = document(&format!("{folder}/coverage.json"))
            .totals
            .statements;
        assert_eq!(own.total, whole.total);
        assert!(said.contains(&own.to_string()), "{own}\n{said}");
        figures.insert(own.covered);
        assert!(place.latest().join(folder).join("lcov.info").is_file());
    }
    assert_eq!(figures.len(), 3, "{figures:?}");
    assert_eq!(
        figures.last(),
        Some(&whole.covered),
        "the largest has all of it"
    );

    let table = output(covtap(&place).args(["report", "--per-replica", "--store=store"]));
    for pod in &pods {
        assert!(table.contains(&pod.replace("pod/", "replicas/")), "{table}");
    }
    crate::say(&format!("three replicas, three figures:\n{table}"));
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}
