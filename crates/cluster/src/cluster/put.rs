//! Pods and nodes of the API, put to the facts that are known. Pure functions.

use std::time::SystemTime;

use k8s_openapi::api::core::v1 as core;

use crate::facts::{Cluster, Facts, Node, Pod};
use crate::news::News;

/// A cluster answered.
pub(super) fn cluster(facts: &mut Facts, cluster: &Cluster) -> Vec<News> {
    match facts.clusters.iter_mut().find(|c| c.name == cluster.name) {
        Some(known) => known.clone_from(cluster),
        None => facts.clusters.push(cluster.clone()),
    }
    vec![News::Cluster(cluster.clone())]
}

/// A pod as it is now. The ids of container lives that the API has forgotten are kept.
pub(super) fn pod(facts: &mut Facts, mut pod: Pod) -> Option<News> {
    let same = |known: &&mut Pod| known.uid == pod.uid && known.cluster == pod.cluster;
    let Some(known) = facts.pods.iter_mut().find(same) else {
        facts.pods.push(pod.clone());
        return Some(News::Pod(pod));
    };
    for container in &mut pod.containers {
        let earlier = known.containers.iter().find(|c| c.name == container.name);
        let mut ids = earlier.map_or_else(Vec::new, |earlier| earlier.ids.clone());
        for id in container.ids.drain(..) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        container.ids = ids;
    }
    if *known == pod {
        return None;
    }
    known.clone_from(&pod);
    Some(News::Pod(pod))
}

/// The API has a pod no more.
pub(super) fn pod_gone(
    facts: &mut Facts,
    cluster: &str,
    uid: &str,
    at: SystemTime,
) -> Option<News> {
    let pod = facts
        .pods
        .iter_mut()
        .find(|pod| pod.uid == uid && pod.cluster == cluster && pod.gone.is_none())?;
    pod.gone = Some(at);
    Some(News::PodGone {
        cluster: cluster.to_owned(),
        uid: uid.to_owned(),
        at,
    })
}

/// Every pod of a cluster that is known and that `there` does not have is gone.
pub(super) fn only(
    facts: &mut Facts,
    cluster: &str,
    there: impl Fn(&str) -> bool,
    at: SystemTime,
) -> Vec<News> {
    let uids: Vec<String> = facts
        .pods
        .iter()
        .filter(|pod| pod.cluster == cluster && pod.gone.is_none() && !there(&pod.uid))
        .map(|pod| pod.uid.clone())
        .collect();
    uids.iter()
        .filter_map(|uid| pod_gone(facts, cluster, uid, at))
        .collect()
}

/// Where a node's role is written.
const ROLE: &str = "node-role.kubernetes.io/";

/// A node as the API has it. What the engine knows of it is kept.
pub(super) fn node(facts: &mut Facts, cluster: &str, node: &core::Node) -> Option<News> {
    let name = node.metadata.name.as_deref()?;
    let status = node.status.as_ref();
    let condition = status
        .and_then(|status| status.conditions.as_ref())
        .and_then(|all| all.iter().find(|condition| condition.type_ == "Ready"));
    let ready = Some(condition.is_some_and(|condition| condition.status == "True"));
    let arch = status
        .and_then(|status| status.node_info.as_ref())
        .map(|info| info.architecture.clone());
    let role = node
        .metadata
        .labels
        .iter()
        .flatten()
        .find_map(|(label, _)| label.strip_prefix(ROLE))
        .unwrap_or("worker");
    let same =
        |known: &&mut Node| known.cluster == cluster && known.name == name && known.ended.is_none();
    let Some(known) = facts.nodes.iter_mut().find(same) else {
        let node = Node {
            cluster: cluster.to_owned(),
            name: name.to_owned(),
            container: None,
            engine: None,
            pid: None,
            role: Some(role.to_owned()),
            arch,
            ready,
            started: None,
            ended: None,
        };
        facts.nodes.push(node.clone());
        return Some(News::NodeStarted(node));
    };
    let before = known.clone();
    known.arch = arch;
    known.ready = ready;
    known.role.get_or_insert_with(|| role.to_owned());
    (before != *known).then(|| News::NodeChanged(known.clone()))
}

/// The API has a node no more. One that is a container ends with that container.
pub(super) fn node_gone(
    facts: &mut Facts,
    cluster: &str,
    name: &str,
    at: SystemTime,
) -> Option<News> {
    let node = facts.nodes.iter_mut().find(|node| {
        node.cluster == cluster
            && node.name == name
            && node.container.is_none()
            && node.ended.is_none()
    })?;
    node.ended = Some(at);
    node.ready = None;
    Some(News::NodeEnded(node.clone()))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

    use super::{node, node_gone, only, pod, pod_gone};
    use crate::facts::{Facts, Node, Pod};
    use crate::news::News;

    fn a_pod(uid: &str, container: &str) -> Pod {
        let json = json!({ "metadata": { "name": uid, "uid": uid }, "spec": { "containers": [{ "name": "a" }] },
            "status": { "containerStatuses": [{ "name": "a", "image": "", "imageID": "", "ready": true,
                "restartCount": 0, "containerID": format!("containerd://{container}") }] } });
        crate::cluster::pod::read("c", serde_json::from_value(json).unwrap())
            .unwrap()
            .pod
    }

    #[test]
    fn the_ids_of_all_lives_of_a_container_are_kept() {
        let mut facts = Facts::default();
        for id in ["c1", "c2", "c2", "c3"] {
            pod(&mut facts, a_pod("p", id));
        }
        assert_eq!(facts.pods[0].containers[0].ids, ["c1", "c2", "c3"]);
        assert_eq!(pod(&mut facts, a_pod("p", "c3")), None, "nothing is new");
    }

    #[test]
    fn a_pod_is_gone_once_and_may_come_back() {
        let (mut facts, at) = (Facts::default(), SystemTime::now());
        for uid in ["p1", "p2"] {
            pod(&mut facts, a_pod(uid, "c"));
        }
        assert_eq!(only(&mut facts, "other", |_| false, at), []);
        assert_eq!(only(&mut facts, "c", |uid| uid == "p1", at).len(), 1);
        assert_eq!(pod_gone(&mut facts, "c", "p2", at), None);
        assert_eq!(facts.pods[1].gone, Some(at));
        assert!(
            matches!(pod(&mut facts, a_pod("p2", "c")), Some(News::Pod(p)) if p.gone.is_none())
        );
    }

    #[test]
    fn the_api_adds_to_what_the_engine_knows() {
        let mut facts = Facts::default();
        facts.nodes.push(Node {
            cluster: "c".into(),
            name: "n".into(),
            container: Some("aa".into()),
            engine: Some("e".into()),
            pid: Some(7),
            role: Some("control-plane".into()),
            arch: None,
            ready: None,
            started: None,
            ended: None,
        });
        let api = |name: &str, ready: &str| {
            serde_json::from_value(json!({ "metadata": { "name": name },
                "status": { "conditions": [{ "type": "Ready", "status": ready }],
                    "nodeInfo": { "architecture": "arm64", "bootID": "", "containerRuntimeVersion": "",
                        "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "",
                        "operatingSystem": "", "osImage": "", "systemUUID": "" } } }))
            .unwrap()
        };
        assert!(matches!(
            node(&mut facts, "c", &api("n", "True")),
            Some(News::NodeChanged(_))
        ));
        assert_eq!(node(&mut facts, "c", &api("n", "True")), None);
        assert_eq!(
            (facts.nodes[0].pid, facts.nodes[0].arch.as_deref()),
            (Some(7), Some("arm64"))
        );
        assert!(matches!(
            node(&mut facts, "c", &api("m", "False")),
            Some(News::NodeStarted(_))
        ));
        assert_eq!(facts.nodes[1].role.as_deref(), Some("worker"));
        assert_eq!(node_gone(&mut facts, "c", "n", SystemTime::now()), None);
        assert!(node_gone(&mut facts, "c", "m", SystemTime::now()).is_some());
    }
}
