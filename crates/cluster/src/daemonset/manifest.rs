//! The objects of agents: a namespace, a DaemonSet, and the roles that whoever uses them needs.
//!
//! The pods see the processes of their node and may read their memory, and nothing else is given to them: no
//! token, no port, no file system that can be written to, no rights in the API.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, Container, HostPathVolumeSource, Namespace, PodSpec,
    PodTemplateSpec, ResourceRequirements, SELinuxOptions, SeccompProfile, SecurityContext,
    Toleration, Volume, VolumeMount,
};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::remnant::Remnant;

/// The container in each pod.
pub(super) const CONTAINER: &str = "agent";
/// Where the kubelet keeps the logs of pods: the names of the folders tell whose pods these are.
const PODS: &str = "/var/log/pods";
const MANAGED: (&str, &str) = ("app.kubernetes.io/managed-by", "covtap");
const NAME: (&str, &str) = ("app.kubernetes.io/name", "covtap-agent");
const INSTANCE: &str = "app.kubernetes.io/instance";
/// Annotations: who made it.
const HOST: &str = "covtap/host";
const PROCESS: &str = "covtap/process";

/// What is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Tells the agents of one run from those of others: 8 hexadecimal digits.
    pub run: String,
    /// The image, as nodes pull it.
    pub image: String,
    /// A namespace that is there already; `None`: one of their own.
    pub namespace: Option<String>,
    /// Whether execs are held until a program is watched, which needs `SYS_ADMIN`.
    pub hold: bool,
    /// Who makes them.
    pub owner: Owner,
}

/// Who made agents: a process of some machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The machine's name.
    pub host: String,
    /// The process's number there.
    pub pid: u32,
}

impl Owner {
    pub(super) fn of(meta: &ObjectMeta) -> Option<Self> {
        let annotations = meta.annotations.as_ref()?;
        Some(Self {
            host: annotations.get(HOST)?.clone(),
            pid: annotations.get(PROCESS)?.parse().ok()?,
        })
    }
}

/// Whose pods agents may tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reachable {
    /// Everybody's.
    Everything,
    /// Those in these namespaces.
    These(Vec<String>),
}

impl Plan {
    /// The namespace that they are in.
    #[must_use]
    pub fn place(&self) -> String {
        let own = || format!("covtap-{}", self.run);
        self.namespace.clone().unwrap_or_else(own)
    }

    /// The DaemonSet's name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", NAME.1, self.run)
    }

    /// What is to be removed of a cluster when this was made there.
    #[must_use]
    pub fn remnant(&self, cluster: &str) -> Remnant {
        Remnant {
            cluster: cluster.to_owned(),
            namespace: self.place(),
            daemonset: Some(self.name()),
            whole_namespace: self.namespace.is_none(),
            owner: Some(self.owner.clone()),
            created: None,
        }
    }

    fn meta(&self, name: String) -> ObjectMeta {
        let annotations = [
            (HOST, self.owner.host.clone()),
            (PROCESS, self.owner.pid.to_string()),
        ];
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value));
        ObjectMeta {
            name: Some(name),
            labels: Some(self.labels()),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let labels = [MANAGED, NAME, (INSTANCE, self.run.as_str())];
        labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }
}

/// Selects everything that covtap makes.
pub(super) fn managed() -> String {
    format!("{}={}", MANAGED.0, MANAGED.1)
}

/// Selects the pods of a DaemonSet by its name.
pub(super) fn selector(name: &str) -> String {
    let run = name.rsplit('-').next().unwrap_or_default();
    format!("{},{INSTANCE}={run}", managed())
}

/// A namespace in which pods may see the processes of their nodes.
#[must_use]
pub fn namespace(plan: &Plan) -> Namespace {
    let mut metadata = plan.meta(plan.place());
    let labels = metadata.labels.get_or_insert_default();
    for mode in ["enforce", "warn", "audit"] {
        labels.insert(
            format!("pod-security.kubernetes.io/{mode}"),
            "privileged".to_owned(),
        );
    }
    Namespace {
        metadata,
        ..Namespace::default()
    }
}

/// The DaemonSet.
#[must_use]
pub fn daemonset(plan: &Plan, reachable: &Reachable) -> DaemonSet {
    let mut metadata = plan.meta(plan.name());
    metadata.namespace = Some(plan.place());
    DaemonSet {
        metadata,
        spec: DaemonSetSpec {
            selector: LabelSelector {
                match_labels: Some(plan.labels()),
                ..LabelSelector::default()
            },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(plan.labels()),
                    // Before Kubernetes 1.30 there is no field for it.
                    annotations: Some(BTreeMap::from([(
                        format!("container.apparmor.security.beta.kubernetes.io/{CONTAINER}"),
                        "unconfined".to_owned(),
                    )])),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(plan, reachable)),
            },
            ..DaemonSetSpec::default()
        },
        ..DaemonSet::default()
    }
}

fn pod(plan: &Plan, reachable: &Reachable) -> PodSpec {
    let bound = *reachable != Reachable::Everything;
    PodSpec {
        host_pid: Some(true),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        // A node that is being drained, or is not ready, is looked into as well.
        tolerations: Some(vec![Toleration {
            operator: Some("Exists".into()),
            ..Toleration::default()
        }]),
        node_selector: Some(BTreeMap::from([(
            "kubernetes.io/os".to_owned(),
            "linux".to_owned(),
        )])),
        termination_grace_period_seconds: Some(1),
        containers: vec![Container {
            name: CONTAINER.to_owned(),
            image: Some(plan.image.clone()),
            image_pull_policy: Some("IfNotPresent".into()),
            command: Some(command(plan, reachable)),
            security_context: Some(security(plan)),
            resources: Some(resources()),
            volume_mounts: bound.then(|| {
                vec![VolumeMount {
                    name: "pods".into(),
                    mount_path: PODS.into(),
                    read_only: Some(true),
                    ..VolumeMount::default()
                }]
            }),
            ..Container::default()
        }],
        volumes: bound.then(|| {
            vec![Volume {
                name: "pods".into(),
                host_path: Some(HostPathVolumeSource {
                    path: PODS.into(),
                    type_: Some("Directory".into()),
                }),
                ..Volume::default()
            }]
        }),
        ..PodSpec::default()
    }
}

fn command(plan: &Plan, reachable: &Reachable) -> Vec<String> {
    let watching = if plan.hold { "hold" } else { "poll" };
    let mut words: Vec<String> = [
        "covtap",
        "agent",
        "--stay",
        "--scope=containers",
        "--linger=60s",
    ]
    .map(str::to_owned)
    .into();
    words.push(format!("--watching={watching}"));
    if let Reachable::These(namespaces) = reachable {
        words.extend(namespaces.iter().map(|n| format!("--namespace={n}")));
    }
    words
}

fn security(plan: &Plan) -> SecurityContext {
    let mut capabilities = vec!["SYS_PTRACE".to_owned(), "DAC_READ_SEARCH".to_owned()];
    if plan.hold {
        capabilities.push("SYS_ADMIN".to_owned());
    }
    SecurityContext {
        run_as_user: Some(0),
        run_as_group: Some(0),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".into()]),
            add: Some(capabilities),
        }),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            ..SeccompProfile::default()
        }),
        // The profile of container runtimes lets nobody trace what is outside of its container.
        app_armor_profile: Some(AppArmorProfile {
            type_: "Unconfined".into(),
            ..AppArmorProfile::default()
        }),
        // So does the type that SELinux gives to containers.
        se_linux_options: Some(SELinuxOptions {
            type_: Some("spc_t".into()),
            ..SELinuxOptions::default()
        }),
        ..SecurityContext::default()
    }
}

/// An agent of 100 idle processes takes 20 MB; one of a thousand fits.
fn resources() -> ResourceRequirements {
    let quantities = |all: &[(&str, &str)]| {
        let all = all.iter();
        all.map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned())))
            .collect()
    };
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", "10m"), ("memory", "32Mi")])),
        limits: Some(quantities(&[("memory", "256Mi")])),
        ..ResourceRequirements::default()
    }
}

/// What a user of agents in a namespace that is there already needs in it.
#[must_use]
pub fn role_of_agents(namespace: &str) -> Role {
    role(
        namespace,
        "covtap-agents",
        &[
            ("apps", &["daemonsets"], &["create", "delete"]),
            ("", &["pods"], &["list", "watch"]),
            // The exec stream is a GET over a WebSocket.
            ("", &["pods/exec"], &["get", "create"]),
            ("", &["events"], &["list"]),
        ],
    )
}

/// What a user needs in a namespace whose pods are to be looked into.
#[must_use]
pub fn role_of_pods(namespace: &str) -> Role {
    role(
        namespace,
        "covtap",
        &[
            ("", &["pods"], &["get", "list", "watch"]),
            // Its owner may see what is in the pods; nothing is executed there.
            ("", &["pods/exec"], &["create"]),
            ("apps", &["replicasets"], &["get"]),
            ("batch", &["jobs"], &["get"]),
        ],
    )
}

fn role(namespace: &str, name: &str, rules: &[(&str, &[&str], &[&str])]) -> Role {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Role {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        rules: Some(
            rules
                .iter()
                .map(|(group, resources, verbs)| PolicyRule {
                    api_groups: Some(vec![(*group).to_owned()]),
                    resources: Some(owned(resources)),
                    verbs: owned(verbs),
                    ..PolicyRule::default()
                })
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Owner, Plan, Reachable, daemonset, namespace, selector};

    fn plan(hold: bool) -> Plan {
        Plan {
            run: "0123abcd".into(),
            image: "covtap-agent:1".into(),
            namespace: None,
            hold,
            owner: Owner {
                host: "ci-7".into(),
                pid: 812,
            },
        }
    }

    fn pod(hold: bool, reachable: &Reachable) -> Value {
        let set = serde_json::to_value(daemonset(&plan(hold), reachable)).unwrap();
        set["spec"]["template"]["spec"].clone()
    }

    #[test]
    fn a_pod_may_read_processes_and_nothing_else() {
        let pod = pod(false, &Reachable::Everything);
        assert_eq!(pod["hostPID"], true);
        assert_eq!(pod["automountServiceAccountToken"], false);
        for absent in ["hostNetwork", "hostIPC", "serviceAccountName", "volumes"] {
            assert_eq!(pod[absent], Value::Null, "{absent}");
        }
        let container = &pod["containers"][0];
        let security = &container["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["privileged"], Value::Null);
        assert_eq!(
            security["capabilities"],
            json!({ "drop": ["ALL"], "add": ["SYS_PTRACE", "DAC_READ_SEARCH"] })
        );
        assert_eq!(container["ports"], Value::Null);
    }

    #[test]
    fn the_hold_alone_needs_an_administrator() {
        let pod = pod(true, &Reachable::Everything);
        let added = &pod["containers"][0]["securityContext"]["capabilities"]["add"];
        assert_eq!(
            *added,
            json!(["SYS_PTRACE", "DAC_READ_SEARCH", "SYS_ADMIN"])
        );
    }

    #[test]
    fn the_namespaces_are_in_the_command() {
        let these = Reachable::These(vec!["shop".into(), "pay".into()]);
        let pod = pod(false, &these);
        let command = pod["containers"][0]["command"].as_array().unwrap();
        assert!(command.contains(&json!("--namespace=shop")), "{command:?}");
        assert!(command.contains(&json!("--namespace=pay")), "{command:?}");
        assert_eq!(pod["containers"][0]["volumeMounts"][0]["readOnly"], true);
        assert_eq!(pod["volumes"][0]["hostPath"]["path"], "/var/log/pods");
    }

    #[test]
    fn objects_are_found_again() {
        let set = daemonset(&plan(false), &Reachable::Everything);
        let name = set.metadata.name.clone().unwrap();
        assert_eq!(
            selector(&name),
            "app.kubernetes.io/managed-by=covtap,app.kubernetes.io/instance=0123abcd"
        );
        let space = namespace(&plan(false)).metadata;
        assert_eq!(space.name, set.metadata.namespace);
        assert_eq!(Owner::of(&space), Some(plan(false).owner));
        let labels = space.labels.unwrap();
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "privileged");
        assert_eq!(labels["app.kubernetes.io/managed-by"], "covtap");
    }
}
