//! Manifests of the numbered service, as JSON: kubectl takes that too.

use serde_json::{Value, json};

/// A container of the service's image, locked down as far as Kubernetes can.
pub(crate) fn container(args: &[&str]) -> Value {
    json!({
        "name": "numbered",
        "image": "numbered:test",
        "imagePullPolicy": "Never",
        "args": args,
        "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 1001, "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
    })
}

/// One that is ready when something listens on its port.
pub(crate) fn ready_on(port: u16, args: &[&str]) -> Value {
    let probe = json!({ "tcpSocket": { "port": port }, "periodSeconds": 1 });
    with(container(args), "readinessProbe", probe)
}

/// What pods are made of, anywhere in a cluster.
pub(crate) fn spec(containers: &[Value]) -> Value {
    json!({
        "tolerations": [{ "operator": "Exists" }],
        "terminationGracePeriodSeconds": 10,
        "containers": containers,
    })
}

/// A pod that is not started again.
pub(crate) fn pod(namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace },
        "spec": with(spec, "restartPolicy", json!("Never")),
    })
}

/// A deployment, whose name is its pods' label `app`.
pub(crate) fn deployment(namespace: &str, name: &str, replicas: u32, spec: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": spec },
        },
    })
}

/// A namespace and what is in it, for one `kubectl apply`.
pub(crate) fn all(namespace: &str, mut objects: Vec<Value>) -> String {
    let space =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
    objects.insert(0, space);
    json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string()
}

/// An object with one more field, or another value of one.
pub(crate) fn with(mut object: Value, key: &str, value: Value) -> Value {
    object[key] = value;
    object
}
