//! Kubernetes manifests: GOCOVERDIR in the containers that are meant, and a volume there.
//!
//! Upstream: Kubernetes 1.36, `k8s.io/api/core/v1/types.go` (PodSpec, Container, Volume). The kubelet makes an
//! emptyDir that everybody may write; a hostPath that it makes is root's alone, whatever fsGroup says
//! (`pkg/volume/util/hostutil`), so that somebody has to prepare it.

use super::Edited;
use crate::edit::Edits;
use crate::template::Template;
use crate::yaml::{self, Blocked, Insert, Node, Value};

/// The name of the volume.
const NAME: &str = "coverdata";
const VARIABLE: &str = "GOCOVERDIR";
/// A process that ends in less may be killed before it has written its files.
const SHORTEST_GRACE: u64 = 5;

/// What data are written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Volume {
    /// A directory that lives as long as the pod.
    #[default]
    EmptyDir,
    /// A directory of the node.
    HostPath,
    /// A claim named `coverdata`.
    Pvc,
}

/// A workload of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container<'a> {
    /// `Deployment`.
    pub kind: &'a str,
    /// The workload's name, as it is written.
    pub workload: &'a str,
    /// The container's name, as it is written.
    pub name: &'a str,
    /// Its image, as it is written.
    pub image: &'a str,
}

/// A container that is to be wired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The uid that its image runs as, where that is known.
    pub uid: Option<u32>,
}

/// Gives the containers that `choose` names GOCOVERDIR and a volume for it.
#[must_use]
pub fn wire(
    text: &str,
    template: &Template,
    directory: &str,
    volume: Volume,
    choose: &dyn Fn(&Container<'_>) -> Option<Chosen>,
) -> Edited {
    let stream = yaml::read(&template.masked);
    let mut edited = Edited::default();
    let mut claims = false;
    for document in &stream.documents {
        let mut insert = Insert::new(template, document);
        let mut numbers = Edits::default();
        let one = One {
            text,
            directory,
            volume,
            choose,
        };
        for (workload, pod) in pods(document) {
            let before = insert.len();
            one.pod(workload, pod, &mut insert, &mut numbers, &mut edited);
            claims |= insert.len() > before;
        }
        let edits = insert.finish();
        if !is_kept(&template.masked, document, &edits) {
            edited.blocked.push(
                "the text would not mean the same with the additions: it is left as it is".into(),
            );
            continue;
        }
        edited.edits.extend(edits);
        edited.edits.extend(numbers);
    }
    if volume == Volume::Pvc && claims && !stream.documents.iter().any(is_claim) {
        edited.edits.extend(super::append(text, &CLAIM));
    }
    edited
}

const CLAIM: [&str; 10] = [
    "---",
    "apiVersion: v1",
    "kind: PersistentVolumeClaim",
    "metadata:",
    "  name: coverdata",
    "spec:",
    "  accessModes: [ReadWriteOnce]",
    "  resources:",
    "    requests:",
    "      storage: 100Mi",
];

fn is_claim(document: &Node) -> bool {
    document.get("kind").and_then(Node::text) == Some("PersistentVolumeClaim")
        && document.at(&["metadata", "name"]).and_then(Node::text) == Some(NAME)
}

/// Whether a document has all that it had after the edits, which are within it.
fn is_kept(masked: &str, document: &Node, edits: &Edits) -> bool {
    let after = yaml::read(&edits.apply(masked));
    after.documents.iter().any(|d| document.is_kept_in(d))
}

/// The pods that a document describes, each with what describes it. A List has several.
fn pods(document: &Node) -> Vec<(&Node, &Node)> {
    let kind = document
        .get("kind")
        .and_then(Node::text)
        .unwrap_or_default();
    let path: &[&str] = match kind {
        "Deployment"
        | "StatefulSet"
        | "DaemonSet"
        | "ReplicaSet"
        | "ReplicationController"
        | "Job" => &["spec", "template", "spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        "Pod" => &["spec"],
        "List" => {
            let items = document.get("items").map(Node::items).unwrap_or_default();
            return items.iter().flat_map(pods).collect();
        }
        _ => return Vec::new(),
    };
    document
        .at(path)
        .map(|pod| (document, pod))
        .into_iter()
        .collect()
}

/// What a node says, as it is written, without quotes.
fn written<'a>(text: &'a str, node: Option<&Node>) -> &'a str {
    node.and_then(|n| text.get(n.span.clone()))
        .unwrap_or_default()
        .trim()
        .trim_matches(['"', '\''])
}

fn describe<'a>(text: &'a str, workload: &Node, container: &Node) -> Container<'a> {
    Container {
        kind: written(text, workload.get("kind")),
        workload: written(text, workload.at(&["metadata", "name"])),
        name: written(text, container.get("name")),
        image: written(text, container.get("image")),
    }
}

struct One<'a> {
    text: &'a str,
    directory: &'a str,
    volume: Volume,
    choose: &'a dyn Fn(&Container<'_>) -> Option<Chosen>,
}

impl One<'_> {
    fn pod(
        &self,
        workload: &Node,
        pod: &Node,
        insert: &mut Insert<'_>,
        numbers: &mut Edits,
        edited: &mut Edited,
    ) {
        let before = insert.len();
        let mut uid = None;
        let mut any = false;
        let mut volume = false;
        for container in pod.get("containers").map(Node::items).unwrap_or_default() {
            let about = describe(self.text, workload, container);
            let Some(chosen) = (self.choose)(&about) else {
                continue;
            };
            let title = format!(
                "{} {}, container {}",
                about.kind, about.workload, about.name
            );
            any = true;
            uid = uid
                .or_else(|| user(container))
                .or_else(|| user(pod))
                .or(chosen.uid);
            match self.container(pod, container, &mut volume, insert) {
                Ok(true) => {}
                Ok(false) => edited
                    .done
                    .push(format!("{title} has {VARIABLE} and a volume for it")),
                Err(why) => {
                    edited.blocked.push(format!("{title}: {why}"));
                    insert.truncate(before);
                    return;
                }
            }
        }
        if let Some(grace) = pod.get("terminationGracePeriodSeconds").filter(|_| any) {
            let seconds = grace.text().and_then(|t| t.parse::<u64>().ok());
            if seconds.is_some_and(|s| s < SHORTEST_GRACE) && !grace.shared {
                // 0 becomes 30, 2 becomes 32: one more digit.
                numbers.insert(grace.span.start, "3");
            }
        }
        // What is there already stays as its owner has it.
        if insert.len() > before && self.volume != Volume::HostPath && uid != Some(0) {
            self.group(pod, uid, insert, edited);
        }
    }

    /// Wires a container; whether something was missing.
    fn container(
        &self,
        pod: &Node,
        container: &Node,
        volume: &mut bool,
        insert: &mut Insert<'_>,
    ) -> Result<bool, Blocked> {
        let list = |node: &'_ Node, key| -> Vec<Node> {
            node.get(key)
                .map(|n| n.items().to_vec())
                .unwrap_or_default()
        };
        let set = list(container, "env")
            .into_iter()
            .find(|e| name(e) == Some(VARIABLE));
        let directory = match &set {
            None => self.directory.to_owned(),
            // A value from somewhere else is its owner's business, and so is the volume.
            Some(set) => match set.get("value").and_then(Node::text) {
                Some(value) => value.trim_end_matches('/').to_owned(),
                None => return Ok(false),
            },
        };
        let mounted = list(container, "volumeMounts").into_iter().any(|m| {
            let path = m
                .get("mountPath")
                .and_then(Node::text)
                .unwrap_or_default()
                .trim_end_matches('/')
                .to_owned();
            path == directory || directory.starts_with(&format!("{path}/"))
        });
        if set.is_none() {
            let variable = Value::Map(vec![
                ("name", Value::scalar(VARIABLE)),
                ("value", Value::scalar(&*directory)),
            ]);
            insert.item(container, "env", variable)?;
        }
        if !mounted {
            let mount = Value::Map(vec![
                ("name", Value::scalar(NAME)),
                ("mountPath", Value::scalar(&*directory)),
            ]);
            insert.item(container, "volumeMounts", mount)?;
            if !list(pod, "volumes").iter().any(|v| name(v) == Some(NAME)) && !*volume {
                let (key, source) = match self.volume {
                    Volume::EmptyDir => ("emptyDir", Value::Map(Vec::new())),
                    Volume::HostPath => (
                        "hostPath",
                        Value::Map(vec![
                            ("path", Value::scalar(&*directory)),
                            ("type", Value::scalar("DirectoryOrCreate")),
                        ]),
                    ),
                    Volume::Pvc => (
                        "persistentVolumeClaim",
                        Value::Map(vec![("claimName", Value::scalar(NAME))]),
                    ),
                };
                insert.item(
                    pod,
                    "volumes",
                    Value::Map(vec![("name", Value::scalar(NAME)), (key, source)]),
                )?;
                *volume = true;
            }
        }
        Ok(set.is_none() || !mounted)
    }

    /// A group that may write, for volumes that the kubelet gives to one.
    fn group(&self, pod: &Node, uid: Option<u32>, insert: &mut Insert<'_>, edited: &mut Edited) {
        let Some(uid) = uid else { return };
        if pod.at(&["securityContext", "fsGroup"]).is_some() {
            return;
        }
        // fsGroup changes the owner of all that is on a claim: never of data that were there before.
        let claims = pod.get("volumes").map(Node::items).unwrap_or_default();
        if claims
            .iter()
            .any(|v| v.get("persistentVolumeClaim").is_some())
        {
            return;
        }
        if let Err(why) = insert.inner(
            pod,
            "securityContext",
            "fsGroup",
            Value::scalar(uid.to_string()),
        ) {
            edited.blocked.push(format!("fsGroup: {why}"));
        }
    }
}

fn name(node: &Node) -> Option<&str> {
    node.get("name").and_then(Node::text)
}

fn user(node: &Node) -> Option<u32> {
    node.at(&["securityContext", "runAsUser"])
        .and_then(Node::text)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests;
