//! How it stands with the agent of a node, as its pod says. Pure functions.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::manifest::CONTAINER;

/// How it stands with the pod of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The pod's name.
    pub(super) pod: String,
    /// `Pending`, `Running`, ….
    pub(super) phase: String,
    /// Whether the agent runs.
    pub(super) runs: bool,
    /// Why it will not.
    pub(super) trouble: Option<String>,
}

/// Why a container waits, when it is for nothing that comes by itself (kubelet, `pkg/kubelet/images/types.go`
/// and `pkg/kubelet/container/sync_result.go`).
const HOPELESS: [&str; 9] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
];

/// The node of a pod, and how it stands; `None` for one that is going.
pub(super) fn of(pod: &Pod) -> Option<(String, Standing)> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let agent = containers.iter().find(|status| status.name == CONTAINER);
    let runs = agent
        .and_then(|agent| agent.state.as_ref()?.running.as_ref())
        .is_some();
    let standing = Standing {
        pod: pod.metadata.name.clone()?,
        phase: status.phase.unwrap_or_default(),
        runs,
        trouble: agent.and_then(trouble),
    };
    Some((node(pod)?, standing))
}

/// Its node. One that was not given to it yet is named by the DaemonSet's choice.
fn node(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    spec.node_name.clone().or_else(|| {
        let required = spec
            .affinity
            .as_ref()?
            .node_affinity
            .as_ref()?
            .required_during_scheduling_ignored_during_execution
            .as_ref()?;
        let fields = required
            .node_selector_terms
            .first()?
            .match_fields
            .as_ref()?;
        fields.first()?.values.as_ref()?.first().cloned()
    })
}

fn trouble(agent: &ContainerStatus) -> Option<String> {
    let waiting = agent.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    if !HOPELESS.contains(&reason) {
        return None;
    }
    let message = waiting.message.as_deref().unwrap_or_default();
    let ended = agent
        .last_state
        .as_ref()
        .and_then(|last| last.terminated.as_ref());
    let ended = ended.map_or(String::new(), |ended| {
        format!(", it ended with {}", ended.exit_code)
    });
    Some(format!("image {}: {reason}{ended}: {message}", agent.image))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::of;

    fn pod(state: Value) -> k8s_openapi::api::core::v1::Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "covtap-agent-x" },
            "spec": { "nodeName": "n1", "containers": [] },
            "status": { "phase": "Pending", "containerStatuses": [{
                "name": "agent", "image": "covtap-agent:1", "imageID": "", "ready": false, "restartCount": 0,
                "state": state,
            }] },
        }))
        .unwrap()
    }

    #[test]
    fn an_image_that_is_not_to_be_had_is_hopeless_and_a_new_container_is_not() {
        let (node, standing) = of(&pod(json!({ "waiting": {
            "reason": "ErrImagePull", "message": "not found" } })))
        .unwrap();
        assert_eq!(node, "n1");
        assert_eq!(
            standing.trouble.as_deref(),
            Some("image covtap-agent:1: ErrImagePull: not found")
        );
        let (_, standing) = of(&pod(
            json!({ "waiting": { "reason": "ContainerCreating" } }),
        ))
        .unwrap();
        assert_eq!((standing.trouble, standing.runs), (None, false));
        let (_, standing) = of(&pod(json!({ "running": {} }))).unwrap();
        assert!(standing.runs);
    }

    #[test]
    fn a_pod_without_a_node_is_on_the_one_that_it_is_for() {
        let mut pod = pod(json!({}));
        let spec = json!({ "containers": [], "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [{ "matchFields": [
                { "key": "metadata.name", "operator": "In", "values": ["n2"] }] }] } } } });
        pod.spec = serde_json::from_value(spec).unwrap();
        assert_eq!(of(&pod).unwrap().0, "n2");
    }
}
