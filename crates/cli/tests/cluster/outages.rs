//! What a cluster goes through beside its pods: a node is started again, its API goes away for a while;
//! a user without rights is told what to ask for.

use std::fs;
use std::process::Command;

use covtap_model::ledger::{Outcome, Target};

use crate::manifest::{all, deployment, ready_on, spec};
use crate::place::Place;
use crate::{Cluster, Ending, covtap, load, output, process};

const NAMESPACE: &str = "outages";
const RIGHTS: &str = "rights";
const WORKED: usize = 7;

/// The process of a node's API server.
pub(crate) fn api(node: &str) -> u32 {
    let id = output(Command::new("docker").args(["inspect", "-f", "{{.Id}}", node]));
    process("kube-apiserver", id.trim()).unwrap()
}

#[test]
fn a_node_and_an_api_that_start_again_cost_nothing() {
    let Some(cluster) = Cluster::alone() else {
        return;
    };
    load(&cluster, "numbered:test", "fixtures/cluster/service");
    let node = format!("{}-worker", cluster.name());
    let control = format!("{}-control-plane", cluster.name());
    let place = Place::new();
    let context = format!("--context={}", cluster.context);
    let mut run = place.run(&["-n", NAMESPACE, &context]);
    run.says(&["watching node"]);
    let on = |name: &str, node: &str, times: &str| {
        let mut spec = spec(&[ready_on(8080, &["work", times, "wait"])]);
        spec["nodeName"] = node.into();
        deployment(NAMESPACE, name, 1, spec)
    };
    let both = vec![on("there", &node, "301"), on("unheard", &control, "302")];
    cluster.apply(&all(NAMESPACE, both));
    cluster.rolled_out(NAMESPACE, "there");
    let pods = cluster.rolled_out(NAMESPACE, "unheard");
    run.says_all(&[
        &["outages/there-", "is ready"],
        &["outages/unheard-", "is ready"],
    ]);

    // The node's processes end with it; its pods' containers begin again.
    output(Command::new("docker").args(["restart", &node]));
    run.says(&["watching node", &node]);
    run.says(&["outages/there-", "is ready"]);

    // While nobody can be asked, a container ends and another takes its place.
    let api = api(&control);
    let pod = pods[0].trim_start_matches("pod/");
    let service = Ending::of(cluster.process(NAMESPACE, pod));
    let both = [api, service.pid].map(|pid| pid.to_string());
    output(Command::new("kill").arg("-9").args(both));
    service.wait();
    run.says(&["outages/unheard-", "is ready"]);
    let (status, said) = run.end();
    assert!(status.success(), "{status}\n{said}");

    let ledger = place.ledger();
    for (workload, count) in [("deployment/there", 301), ("deployment/unheard", 302)] {
        let of = |row: &&Target| row.workload == workload;
        let rows: Vec<&Target> = ledger.targets.iter().filter(of).collect();
        assert_eq!(rows.len(), 2, "{workload}\n{said}");
        assert_eq!(
            rows.iter().filter(|row| row.exit_status.is_some()).count(),
            1
        );
        for row in rows {
            assert_eq!(row.outcome, Outcome::Merged, "{workload}");
            assert_eq!(place.entered(row)[WORKED], count, "{workload}");
        }
    }
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}

#[test]
fn who_may_not_list_pods_is_told_what_to_ask_for() {
    let Some(cluster) = Cluster::get() else {
        return;
    };
    let account = serde_json::json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "nobody", "namespace": RIGHTS },
    });
    cluster.apply(&all(RIGHTS, vec![account]));
    let token = cluster.in_namespace(RIGHTS, &["create", "token", "nobody"]);
    let place = Place::new();
    let view = ["config", "view", "--raw", "--minify", "--flatten"];
    let file = place.path().join("kubeconfig");
    fs::write(&file, cluster.kubectl(&view)).unwrap();
    let kubectl = |args: &[&str]| {
        let mut kubectl = Command::new("kubectl");
        output(kubectl.arg("--kubeconfig").arg(&file).args(args))
    };
    let token = format!("--token={}", token.trim());
    kubectl(&["config", "set-credentials", "nobody", &token]);
    kubectl(&["config", "set-context", "--current", "--user=nobody"]);
    let list = |flag: String| {
        let mut list = covtap(&place);
        list.args(["ls", "-n", RIGHTS]).arg(flag);
        // Through an engine the administrator's configuration would be found.
        list.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
        let said = list.output().unwrap();
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        (said.status.code(), text)
    };
    let (code, said) = list(format!("--kubeconfig={}", file.display()));
    for words in [
        "list pods",
        "kubectl create role",
        "--serviceaccount=rights:nobody",
    ] {
        assert!(said.contains(words), "{code:?}\n{said}");
    }
    let (code, said) = list(format!(
        "--kubeconfig={}",
        place.path().join("none").display()
    ));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("none"), "{said}");
    cluster.kubectl(&["delete", "namespace", RIGHTS, "--wait=false"]);
}
