//! Kind configurations: a directory of the host in every node.
//!
//! Upstream: kind 0.27, `pkg/apis/config/v1alpha4/types.go` (`nodes`, `extraMounts`). A configuration without nodes
//! means one control plane.

use super::{Edited, HOST_DIRECTORY};
use crate::template::Template;
use crate::yaml::{self, Insert, Node, Value};

/// Whether a document is a Kind configuration.
#[must_use]
pub fn is_kind_config(document: &Node) -> bool {
    let text = |key| document.get(key).and_then(Node::text).unwrap_or_default();
    text("kind") == "Cluster" && text("apiVersion").starts_with("kind.x-k8s.io/")
}

/// Gives every node of every configuration in a text the mount of `directory`.
#[must_use]
pub fn wire(template: &Template, directory: &str) -> Edited {
    let stream = yaml::read(&template.masked);
    let mut edited = Edited::default();
    for document in stream.documents.iter().filter(|d| is_kind_config(d)) {
        let mut insert = Insert::new(template, document);
        let nodes = document.get("nodes").map(Node::items).unwrap_or_default();
        if nodes.is_empty() {
            let node = Value::Map(vec![
                ("role", Value::scalar("control-plane")),
                ("extraMounts", Value::List(vec![mount(directory)])),
            ]);
            if let Err(why) = insert.item(document, "nodes", node) {
                edited.blocked.push(why.to_string());
            }
        }
        for (number, node) in nodes.iter().enumerate() {
            let role = node
                .get("role")
                .and_then(Node::text)
                .unwrap_or("control-plane");
            if mounts(node).any(|m| m == directory) {
                edited
                    .done
                    .push(format!("node {number} ({role}) has {directory}"));
            } else if let Err(why) = insert.item(node, "extraMounts", mount(directory)) {
                edited
                    .blocked
                    .push(format!("node {number} ({role}): {why}"));
            }
        }
        edited.edits.extend(insert.finish());
    }
    edited
}

fn mounts(node: &Node) -> impl Iterator<Item = &str> {
    node.get("extraMounts")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .filter_map(|m| m.get("containerPath").and_then(Node::text))
        .map(|path| path.trim_end_matches('/'))
}

fn mount(directory: &str) -> Value {
    Value::Map(vec![
        ("hostPath", Value::scalar(HOST_DIRECTORY)),
        ("containerPath", Value::scalar(directory)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n";

    fn wired(rest: &str) -> String {
        let text = format!("{HEAD}{rest}");
        let edited = wire(&Template::plain(&text), "/coverdata");
        assert_eq!(edited.blocked, [] as [&str; 0], "{rest}");
        let after = edited.edits.apply(&text);
        assert!(
            wire(&Template::plain(&after), "/coverdata")
                .edits
                .is_empty(),
            "twice: {after}"
        );
        after.strip_prefix(HEAD).expect("it only grows").to_owned()
    }

    #[test]
    fn every_node_gets_it_once() {
        for (before, after) in [
            (
                "nodes:\n  - role: control-plane\n    # why\n  - role: worker\n",
                "nodes:\n  - role: control-plane\n    extraMounts:\n      - hostPath: ./coverdata\n        containerPath: /coverdata\n    # why\n  - role: worker\n    extraMounts:\n      - hostPath: ./coverdata\n        containerPath: /coverdata\n",
            ),
            (
                "nodes:\n- role: worker\n  extraMounts:\n  - {hostPath: /x, containerPath: /y}\n  image: z",
                "nodes:\n- role: worker\n  extraMounts:\n  - {hostPath: /x, containerPath: /y}\n  - hostPath: ./coverdata\n    containerPath: /coverdata\n  image: z",
            ),
            (
                "nodes: [{role: worker}, {role: worker, extraMounts: [{hostPath: /a, containerPath: /coverdata/}]}]\n",
                "nodes: [{role: worker, extraMounts: [{hostPath: ./coverdata, containerPath: /coverdata}]}, {role: worker, extraMounts: [{hostPath: /a, containerPath: /coverdata/}]}]\n",
            ),
            (
                "",
                "nodes:\n  - role: control-plane\n    extraMounts:\n      - hostPath: ./coverdata\n        containerPath: /coverdata\n",
            ),
        ] {
            assert_eq!(wired(before), after);
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        assert!(
            wire(
                &Template::plain(
                    "kind: Cluster\napiVersion: cluster.x-k8s.io/v1beta1\nnodes: []\n"
                ),
                "/c"
            )
            .is_nothing()
        );
        assert!(wire(&Template::plain("kind: ["), "/c").is_nothing());
    }

    #[test]
    fn nodes_from_an_anchor_are_said() {
        let text = format!("{HEAD}nodes:\n- &n\n  role: worker\n- *n\n");
        let edited = wire(&Template::plain(&text), "/coverdata");
        assert!(edited.edits.is_empty(), "{:?}", edited.edits);
        assert_eq!(edited.blocked.len(), 2, "{:?}", edited.blocked);
    }
}
