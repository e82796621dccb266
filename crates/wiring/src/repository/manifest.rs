//! What runs containers, and on what: Kubernetes objects, Kind configurations, Compose files, in whatever
//! text they stand.

use covtap_model::facts::Place;
use covtap_model::facts::repository::{
    Container, ExtraMount, KindConfig, KindNode, Mount, Repository, Security, Source, Variable,
    Volume, Workload, concerns_coverage, is_open,
};

use super::yaml::Node;

/// Kinds that run containers, and the way to their pod.
const KINDS: [(&str, &[&str]); 9] = [
    ("Deployment", &["spec", "template"]),
    ("StatefulSet", &["spec", "template"]),
    ("DaemonSet", &["spec", "template"]),
    ("ReplicaSet", &["spec", "template"]),
    ("ReplicationController", &["spec", "template"]),
    ("Job", &["spec", "template"]),
    ("CronJob", &["spec", "jobTemplate", "spec", "template"]),
    ("Pod", &[]),
    ("DeploymentConfig", &["spec", "template"]),
];

/// Where a text stands: its file, how many lines before it, and whether something is put into it.
pub(super) struct Around<'a> {
    pub(super) file: &'a str,
    pub(super) before: usize,
    pub(super) open: bool,
    /// Whether its documents change others: a patch.
    pub(super) partial: bool,
}

impl Around<'_> {
    fn place(&self, node: &Node) -> Place {
        Place::new(self.file, self.before + node.line)
    }
}

/// Takes what a document says.
pub(super) fn document(node: &Node, around: &Around<'_>, into: &mut Repository) {
    let kind = node.string("kind").unwrap_or_default();
    if kind == "List" {
        for item in node.get("items").map(Node::items).unwrap_or_default() {
            document(item, around, into);
        }
    } else if kind == "Cluster"
        && node
            .string("apiVersion")
            .is_some_and(|v| v.starts_with("kind.x-k8s.io"))
    {
        into.kinds.push(kind_config(node, around));
    } else if let Some((_, path)) = KINDS.iter().find(|(k, _)| *k == kind) {
        if let Some(pod) = node.at(path) {
            into.workloads.push(workload(node, kind, pod, around));
        }
    } else if let Some(services) = node.get("services").filter(|_| kind.is_empty()) {
        compose(node, services, around, into);
    }
}

fn kind_config(node: &Node, around: &Around<'_>) -> KindConfig {
    let mut nodes: Vec<KindNode> = node
        .get("nodes")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .map(|node| KindNode {
            role: node.string("role").unwrap_or("control-plane").to_owned(),
            labels: node.get("labels").map(pairs).unwrap_or_default(),
            place: around.place(node),
            mounts: node
                .get("extraMounts")
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .map(|mount| ExtraMount {
                    host: mount.string("hostPath").unwrap_or_default().to_owned(),
                    container: mount.string("containerPath").unwrap_or_default().to_owned(),
                    read_only: mount.boolean("readOnly"),
                    place: around.place(mount),
                })
                .collect(),
        })
        .collect();
    if nodes.is_empty() {
        let place = around.place(node);
        nodes.push(KindNode {
            role: "control-plane".into(),
            labels: Vec::new(),
            mounts: Vec::new(),
            place,
        });
    }
    KindConfig {
        place: around.place(node),
        name: node.string("name").map(str::to_owned),
        nodes,
    }
}

fn workload(node: &Node, kind: &str, pod: &Node, around: &Around<'_>) -> Workload {
    let spec = pod.get("spec");
    let get = |key: &str| spec.and_then(|s| s.get(key));
    let number = |key: &str| get(key).and_then(Node::text).and_then(|t| t.parse().ok());
    let mut containers = Vec::new();
    for (key, init) in [("initContainers", true), ("containers", false)] {
        for item in get(key).map(Node::items).unwrap_or_default() {
            let stays = item.string("restartPolicy") == Some("Always");
            containers.push(container(item, init && !stays, around));
        }
    }
    let labels = pod
        .at(&["metadata", "labels"])
        .map(pairs)
        .unwrap_or_default();
    let volumes = get("volumes").map(Node::items).unwrap_or_default();
    // Pods of a StatefulSet have claims of their own.
    let claims = node
        .at(&["spec", "volumeClaimTemplates"])
        .map(Node::items)
        .unwrap_or_default();
    let claims = claims.iter().filter_map(|claim| {
        let name = claim.at(&["metadata", "name"])?.text()?.to_owned();
        Some(Volume {
            source: Source::Claim(name.clone()),
            name,
            place: around.place(claim),
        })
    });
    Workload {
        kind: kind.to_owned(),
        name: node
            .at(&["metadata", "name"])
            .and_then(Node::text)
            .unwrap_or_default()
            .to_owned(),
        place: around.place(node),
        partial: around.partial || get("containers").is_none(),
        open: around.open,
        replicas: node
            .at(&["spec", "replicas"])
            .and_then(Node::text)
            .and_then(|t| t.parse().ok()),
        labels,
        node_selector: get("nodeSelector").map(pairs).unwrap_or_default(),
        node_name: get("nodeName").and_then(Node::text).map(str::to_owned),
        grace: number("terminationGracePeriodSeconds"),
        user: get("securityContext")
            .map(|n| security(n, around))
            .unwrap_or_default(),
        containers,
        volumes: volumes
            .iter()
            .filter_map(|v| volume(v, around))
            .chain(claims)
            .collect(),
    }
}

/// One container.
pub(super) fn container(node: &Node, init: bool, around: &Around<'_>) -> Container {
    let list = |key: &str| node.get(key).map(Node::items).unwrap_or_default();
    let words = |key: &str| node.get(key).map(Node::strings).unwrap_or_default();
    Container {
        name: node.string("name").unwrap_or_default().to_owned(),
        place: around.place(node),
        init,
        image: node.string("image").map(str::to_owned),
        build: None,
        command: words("command"),
        arguments: words("args"),
        environment: list("env")
            .iter()
            .filter_map(|v| variable(v, around))
            .collect(),
        open_environment: node.get("envFrom").is_some() || node.string("env").is_some_and(is_open),
        mounts: list("volumeMounts")
            .iter()
            .filter_map(|m| mount(m, around))
            .collect(),
        user: node
            .get("securityContext")
            .map(|n| security(n, around))
            .unwrap_or_default(),
        named_user: None,
    }
}

pub(super) fn variable(node: &Node, around: &Around<'_>) -> Option<Variable> {
    let name = node.string("name")?.to_owned();
    let value = match node.get("valueFrom") {
        Some(_) => Some("${…}".to_owned()),
        None => node.string("value").map(str::to_owned),
    };
    Some(Variable {
        value: value.filter(|_| concerns_coverage(&name)),
        name,
        place: around.place(node),
    })
}

pub(super) fn mount(node: &Node, around: &Around<'_>) -> Option<Mount> {
    Some(Mount {
        volume: node.string("name")?.to_owned(),
        path: node.string("mountPath")?.to_owned(),
        read_only: node.boolean("readOnly"),
        place: around.place(node),
    })
}

pub(super) fn volume(node: &Node, around: &Around<'_>) -> Option<Volume> {
    let source = if let Some(host) = node.get("hostPath") {
        Source::Host {
            path: host.string("path").unwrap_or_default().to_owned(),
            kind: host.string("type").map(str::to_owned),
        }
    } else if node.get("emptyDir").is_some() {
        Source::Empty
    } else if let Some(claim) = node.get("persistentVolumeClaim") {
        Source::Claim(claim.string("claimName").unwrap_or_default().to_owned())
    } else if node.get("ephemeral").is_some() {
        Source::Claim(String::new())
    } else {
        let other = node.entries().iter().find(|(k, _)| k != "name");
        Source::Other(other.map(|(k, _)| k.clone()).unwrap_or_default())
    };
    Some(Volume {
        name: node.string("name")?.to_owned(),
        source,
        place: around.place(node),
    })
}

pub(super) fn security(node: &Node, around: &Around<'_>) -> Security {
    let number = |key: &str| node.string(key).and_then(|t| t.parse().ok());
    Security {
        user: number("runAsUser"),
        group: number("runAsGroup"),
        volumes_group: number("fsGroup"),
        read_only_root: node.boolean("readOnlyRootFilesystem"),
        privileged: node.boolean("privileged"),
        place: around.place(node),
    }
}

fn pairs(node: &Node) -> Vec<(String, String)> {
    let pair = |(k, v): &(String, Node)| Some((k.clone(), v.text()?.to_owned()));
    node.entries().iter().filter_map(pair).collect()
}

/// Services of a Compose file, each a workload of one container.
fn compose(root: &Node, services: &Node, around: &Around<'_>, into: &mut Repository) {
    let named: Vec<&str> = root
        .get("volumes")
        .map(|n| n.entries().iter().map(|(k, _)| k.as_str()).collect())
        .unwrap_or_default();
    for (name, service) in services.entries() {
        let build = service.get("build");
        if service.get("image").is_none() && build.is_none() && service.get("environment").is_none()
        {
            continue;
        }
        let mut workload = Workload {
            kind: "Compose".to_owned(),
            name: name.clone(),
            place: around.place(service),
            open: around.open,
            grace: service.string("stop_grace_period").and_then(seconds),
            ..Workload::default()
        };
        let mut container = Container {
            name: name.clone(),
            place: around.place(service),
            image: service.string("image").map(str::to_owned),
            build: build.map(|b| match b.text() {
                Some(folder) => folder.to_owned(),
                None => {
                    let folder = b.string("context").unwrap_or(".").trim_end_matches('/');
                    format!(
                        "{folder}/{}",
                        b.string("dockerfile").unwrap_or("Dockerfile")
                    )
                }
            }),
            command: service
                .get("entrypoint")
                .map(Node::strings)
                .unwrap_or_default(),
            arguments: service
                .get("command")
                .map(Node::strings)
                .unwrap_or_default(),
            open_environment: service.get("env_file").is_some(),
            named_user: service.string("user").map(str::to_owned),
            ..Container::default()
        };
        container.user.read_only_root = service.boolean("read_only");
        container.user.privileged = service.boolean("privileged");
        container.environment = compose_environment(service, around);
        for item in service.get("volumes").map(Node::items).unwrap_or_default() {
            if let Some((source, target, read_only)) = compose_volume(item) {
                let place = around.place(item);
                let name = source.clone();
                let of_engine = named.contains(&source.as_str());
                let bound = source.starts_with(['.', '/', '~', '$']) && !of_engine;
                let source = match bound {
                    true => Source::Host {
                        path: source,
                        kind: None,
                    },
                    false => Source::Claim(source),
                };
                workload.volumes.push(Volume {
                    name: name.clone(),
                    source,
                    place: place.clone(),
                });
                container.mounts.push(Mount {
                    volume: name,
                    path: target,
                    read_only,
                    place,
                });
            }
        }
        for item in service.get("tmpfs").map(Node::strings).unwrap_or_default() {
            let place = around.place(service);
            let path = item.split(':').next().unwrap_or_default().to_owned();
            workload.volumes.push(Volume {
                name: path.clone(),
                source: Source::Empty,
                place: place.clone(),
            });
            container.mounts.push(Mount {
                volume: path.clone(),
                path,
                read_only: false,
                place,
            });
        }
        workload.containers.push(container);
        into.workloads.push(workload);
    }
}

fn compose_environment(service: &Node, around: &Around<'_>) -> Vec<Variable> {
    let Some(environment) = service.get("environment") else {
        return Vec::new();
    };
    let variable = |name: &str, value: Option<&str>, node: &Node| Variable {
        name: name.to_owned(),
        // Without a value it is that of whoever starts it.
        value: concerns_coverage(name).then(|| value.unwrap_or("${…}").to_owned()),
        place: around.place(node),
    };
    let listed = environment.items().iter().filter_map(|item| {
        let text = item.text()?;
        Some(match text.split_once('=') {
            Some((name, value)) => variable(name, Some(value), item),
            None => variable(text, None, item),
        })
    });
    let mapped = environment.entries().iter();
    let mapped = mapped.map(|(name, value)| variable(name, value.text(), value));
    listed.chain(mapped).collect()
}

/// Source, target, and whether it is read only.
fn compose_volume(item: &Node) -> Option<(String, String, bool)> {
    if let Some(text) = item.text() {
        // `${DIR:-./x}:/y` has colons of its own.
        let close = text.rfind('}').map_or(0, |n| n + 1);
        let cut = close + text[close..].find(':')?;
        let (source, rest) = (&text[..cut], &text[cut + 1..]);
        let (target, mode) = rest.split_once(':').unwrap_or((rest, ""));
        return Some((
            source.to_owned(),
            target.to_owned(),
            mode.split(',').any(|m| m == "ro"),
        ));
    }
    let source = item.string("source").unwrap_or("tmpfs").to_owned();
    Some((
        source,
        item.string("target")?.to_owned(),
        item.boolean("read_only"),
    ))
}

/// `1m30s`, `10s`, `30`.
fn seconds(text: &str) -> Option<u64> {
    let mut total = 0;
    let mut number = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' => number.push(c),
            'h' | 'm' | 's' => {
                let n: u64 = number.parse().ok()?;
                number.clear();
                total += n * match c {
                    'h' => 3600,
                    'm' => 60,
                    _ => 1,
                };
            }
            _ => return None,
        }
    }
    match number.is_empty() {
        true => Some(total),
        false => number.parse().ok(),
    }
}

/// Parts of manifests that code puts into others: `- name: GOCOVERDIR\n  value: /c`.
#[derive(Clone, Debug, Default)]
pub(super) struct Fragment {
    pub(super) environment: Vec<Variable>,
    pub(super) mounts: Vec<Mount>,
    pub(super) volumes: Vec<Volume>,
    pub(super) user: Option<Security>,
    pub(super) place: Place,
}

impl Fragment {
    pub(super) fn is_empty(&self) -> bool {
        self.environment.is_empty()
            && self.mounts.is_empty()
            && self.volumes.is_empty()
            && self.user.is_none()
    }
}

/// Reads a fragment: a list, or a mapping of the lists that a pod has.
pub(super) fn fragment(node: &Node, around: &Around<'_>) -> Fragment {
    let mut out = Fragment {
        place: around.place(node),
        ..Fragment::default()
    };
    let mut lists = vec![node];
    for (key, value) in node.entries() {
        match key.as_str() {
            "env" | "volumeMounts" | "volumes" => lists.push(value),
            "securityContext" => out.user = Some(security(value, around)),
            _ => {}
        }
    }
    for item in lists.iter().flat_map(|l| l.items()) {
        if item.get("mountPath").is_some() {
            out.mounts.extend(mount(item, around));
        } else if item.get("value").is_some() {
            out.environment.extend(variable(item, around));
        } else if ["hostPath", "emptyDir", "persistentVolumeClaim"]
            .iter()
            .any(|k| item.get(k).is_some())
        {
            out.volumes.extend(volume(item, around));
        }
    }
    out
}
