//! Which pods and containers are asked for, in kubectl's words. Pure functions.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::facts::{Container, Workload};

/// Namespaces that are Kubernetes' own, or those of the provisioner that Kind brings with it.
const SYSTEM: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

/// Which pods and containers are asked for. What is left open excludes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `-n` and `-A`.
    pub namespaces: Namespaces,
    /// `-l`.
    pub labels: Labels,
    /// `deploy/api`, …: any of them.
    pub workloads: Vec<WorkloadName>,
    /// `-c`: names of containers, any of them.
    pub containers: Vec<String>,
}

/// Which namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// All of them, Kubernetes' own too (`-A`).
    All,
    /// These (`-n`).
    These(Vec<String>),
    /// Nothing was said: in the kubeconfig's cluster the namespace of the context, as kubectl does;
    /// in Kind clusters that were found through a container engine all but Kubernetes' own, since
    /// nobody knows beforehand what the suite names them.
    #[default]
    Unsaid,
}

/// What [`Namespaces::Unsaid`] stands for in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// Every namespace but Kubernetes' own.
    Everywhere,
    /// This namespace.
    Namespace(String),
    /// Another cluster was asked for by name: nothing in this one is, whatever the namespaces are.
    Nowhere,
}

/// The name of something that owns pods, as kubectl takes it: `deploy/api`, `statefulset/db`,
/// `pod/x`; a name alone is of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkloadName {
    /// Kubernetes' kind in lower case, without its API group: `deployment`; none for any.
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
}

/// As kubectl takes it.
impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Some(kind) => write!(f, "{kind}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A text that is no selection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// Neither `NAME` nor `KIND/NAME`.
    #[error("{0:?} is not the name of a workload: expected NAME or KIND/NAME, like deploy/api")]
    Workload(String),
    /// No label selector.
    #[error("{text:?} is not a label selector: {why}")]
    Labels {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

impl FromStr for WorkloadName {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        let wrong = || SelectionError::Workload(text.to_owned());
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) => (Some(kind), name),
            None => (None, text),
        };
        let plain = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        };
        if !plain(name) || kind.is_some_and(|kind| !plain(kind)) {
            return Err(wrong());
        }
        Ok(Self {
            kind: kind.map(full_kind),
            name: name.to_owned(),
        })
    }
}

/// kubectl's short and plural names of what owns pods.
const KINDS: [(&str, &[&str]); 9] = [
    ("pod", &["po", "pods"]),
    ("deployment", &["deploy", "deployments"]),
    ("replicaset", &["rs", "replicasets"]),
    ("statefulset", &["sts", "statefulsets"]),
    ("daemonset", &["ds", "daemonsets"]),
    ("job", &["jobs"]),
    ("cronjob", &["cj", "cronjobs"]),
    ("replicationcontroller", &["rc", "replicationcontrollers"]),
    ("node", &["no", "nodes"]),
];

/// The kind behind what kubectl takes for one; the group after a dot (`deployments.apps`) is left out.
fn full_kind(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    let kind = kind.split('.').next().unwrap_or_default();
    KINDS
        .iter()
        .find(|(full, others)| *full == kind || others.contains(&kind))
        .map_or_else(|| kind.to_owned(), |(full, _)| (*full).to_owned())
}

/// A label selector: `app=api,tier in (a, b),!canary`. All of its requirements hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<Requirement>);

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    /// The label has one of these values.
    In(String, Vec<String>),
    /// The label is not there or has another value.
    NotIn(String, Vec<String>),
    /// The label is there.
    Exists(String),
    /// The label is not there.
    Absent(String),
}

impl Labels {
    /// Whether labels fulfil all requirements.
    #[must_use]
    pub fn match_all(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => !labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }

    /// Whether nothing is required.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Labels {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        requirements(text)
            .map(Self)
            .map_err(|why| SelectionError::Labels {
                text: text.to_owned(),
                why,
            })
    }
}

/// The parts of a selector, which commas outside of parentheses separate.
fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut depth = 0_u32;
    let mut parts = vec![String::new()];
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or("a parenthesis too many")?,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    if depth > 0 {
        return Err("a parenthesis is not closed".into());
    }
    parts.iter().map(|part| requirement(part.trim())).collect()
}

/// One requirement.
fn requirement(part: &str) -> Result<Requirement, String> {
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement::Absent(word(key, "a label")?));
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(
            word(key, "a label")?,
            vec![value_of(value)?],
        ));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::In(
            word(key, "a label")?,
            vec![value_of(value)?],
        ));
    }
    let Some((head, list)) = part.split_once('(') else {
        return Ok(Requirement::Exists(word(part, "a label")?));
    };
    let values = list
        .strip_suffix(')')
        .ok_or("something follows a parenthesis")?
        .split(',')
        .map(value_of)
        .collect::<Result<Vec<_>, _>>()?;
    match *head.split_whitespace().collect::<Vec<_>>() {
        [key, "in"] => Ok(Requirement::In(word(key, "a label")?, values)),
        [key, "notin"] => Ok(Requirement::NotIn(word(key, "a label")?, values)),
        _ => Err("expected KEY in (…) or KEY notin (…)".into()),
    }
}

/// A label's key.
fn word(text: &str, what: &str) -> Result<String, String> {
    let text = text.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if text.is_empty() || !text.chars().all(plain) {
        return Err(format!("{text:?} is not {what}"));
    }
    Ok(text.to_owned())
}

/// A label's value, which may be empty.
fn value_of(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Ok(String::new()),
        text if text.contains('/') => Err(format!("{text:?} is not the value of a label")),
        text => word(text, "the value of a label"),
    }
}

/// What the selection looks at in a pod.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Itself and its owners, nearest first.
    pub owners: &'a [Workload],
}

impl Selection {
    /// Whether a pod is asked for, in a cluster where [`Namespaces::Unsaid`] stands for `home`.
    #[must_use]
    pub fn asks_for(&self, pod: Asked<'_>, home: &Home) -> bool {
        let namespace = match (&self.namespaces, home) {
            (_, Home::Nowhere) => false,
            (Namespaces::All, _) => true,
            (Namespaces::These(these), _) => these.iter().any(|n| n == pod.namespace),
            (Namespaces::Unsaid, Home::Everywhere) => !SYSTEM.contains(&pod.namespace),
            (Namespaces::Unsaid, Home::Namespace(home)) => home == pod.namespace,
        };
        namespace
            && self.labels.match_all(pod.labels)
            && (self.workloads.is_empty()
                || self
                    .workloads
                    .iter()
                    .any(|name| pod.owners.iter().any(|owner| name.is(owner))))
    }

    /// Whether a container of a pod that is asked for is asked for too.
    #[must_use]
    pub fn asks_for_container(&self, name: &str) -> bool {
        self.containers.is_empty() || self.containers.iter().any(|c| c == name)
    }

    /// Whether this says something that only pods have: then the kubeconfig's cluster is meant too.
    #[must_use]
    pub fn asks_for_pods(&self) -> bool {
        let kinds = self
            .workloads
            .iter()
            .any(|workload| workload.kind.is_some());
        self.namespaces != Namespaces::Unsaid || !self.labels.is_empty() || kinds
    }

    /// Whether a plain container of an engine is asked for: there are no namespaces and no labels
    /// of Kubernetes, so a selection by them asks for none.
    #[must_use]
    pub fn asks_for_plain(&self, container: &Container) -> bool {
        self.namespaces == Namespaces::Unsaid
            && self.labels.is_empty()
            && self.asks_for_container(&container.name)
            && (self.workloads.is_empty()
                || self.workloads.iter().any(|workload| {
                    workload.kind.is_none()
                        && (workload.name == container.name
                            || container
                                .compose
                                .as_ref()
                                .is_some_and(|compose| compose.service == workload.name))
                }))
    }
}

impl WorkloadName {
    /// Whether this names `workload`.
    #[must_use]
    pub fn is(&self, workload: &Workload) -> bool {
        self.name == workload.name
            && self
                .kind
                .as_ref()
                .is_none_or(|kind| *kind == workload.kind.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Asked, Home, Labels, Namespaces, Selection, WorkloadName};
    use crate::facts::Workload;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn workload(kind: &str, name: &str) -> Workload {
        Workload {
            kind: kind.into(),
            name: name.into(),
        }
    }

    #[test]
    fn names_are_kubectls() {
        let name = |text: &str| text.parse::<WorkloadName>().unwrap();
        assert!(name("deploy/api").is(&workload("Deployment", "api")));
        assert!(name("deployments.apps/api").is(&workload("Deployment", "api")));
        assert!(name("po/api").is(&workload("Pod", "api")));
        assert!(name("rollout/api").is(&workload("Rollout", "api")));
        assert!(name("api").is(&workload("StatefulSet", "api")));
        assert!(!name("sts/api").is(&workload("Deployment", "api")));
        assert!(!name("deploy/api").is(&workload("Deployment", "apis")));
        for wrong in ["", "/", "deploy/", "/api", "a/b/c", "a b"] {
            let error = wrong.parse::<WorkloadName>().unwrap_err().to_string();
            assert!(error.contains("KIND/NAME"), "{error}");
        }
    }

    #[test]
    fn label_selectors_are_kubernetes() {
        let api = labels(&[("app", "api"), ("tier", "backend"), ("empty", "")]);
        let holds = |text: &str| text.parse::<Labels>().unwrap().match_all(&api);
        for yes in [
            "app=api",
            "app==api",
            "app = api , tier != front",
            "app in (web, api)",
            "app notin (web),tier",
            "!canary",
            "canary!=yes",
            "empty=",
        ] {
            assert!(holds(yes), "{yes}");
        }
        for no in [
            "app=web",
            "!app",
            "canary",
            "app in (web)",
            "tier notin (backend)",
        ] {
            assert!(!holds(no), "{no}");
        }
        for wrong in [
            "",
            "app,",
            "=x",
            "app in api",
            "app in (a",
            "app in (a) b",
            "a)b",
            "a=b=c",
        ] {
            assert!(wrong.parse::<Labels>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_left_open_excludes_only_kubernetes_own() {
        let none = labels(&[]);
        let pod = |namespace| Asked {
            namespace,
            labels: &none,
            owners: &[],
        };
        let open = Selection::default();
        let home = |name: &str| Home::Namespace(name.into());
        assert!(open.asks_for(pod("shop"), &Home::Everywhere));
        assert!(!open.asks_for(pod("kube-system"), &Home::Everywhere));
        assert!(open.asks_for(pod("kube-system"), &home("kube-system")));
        assert!(!open.asks_for(pod("shop"), &home("default")));
        let all = Selection {
            namespaces: Namespaces::All,
            ..Selection::default()
        };
        assert!(all.asks_for(pod("kube-system"), &Home::Everywhere));
        assert!(!all.asks_for(pod("shop"), &Home::Nowhere));
    }

    #[test]
    fn every_flag_narrows() {
        let selection = Selection {
            namespaces: Namespaces::These(vec!["shop".into()]),
            labels: "app=api".parse().unwrap(),
            workloads: vec!["deploy/api".parse().unwrap(), "pod/x".parse().unwrap()],
            containers: vec!["main".into()],
        };
        let (api, web) = (labels(&[("app", "api")]), labels(&[("app", "web")]));
        let owners = [
            workload("Pod", "api-1-a"),
            workload("ReplicaSet", "api-1"),
            workload("Deployment", "api"),
        ];
        let asks = |namespace, labels, owners| {
            selection.asks_for(
                Asked {
                    namespace,
                    labels,
                    owners,
                },
                &Home::Everywhere,
            )
        };
        assert!(asks("shop", &api, &owners[..]));
        assert!(!asks("other", &api, &owners[..]));
        assert!(!asks("shop", &web, &owners[..]));
        assert!(!asks("shop", &api, &owners[..2]));
        assert!(selection.asks_for_container("main"));
        assert!(!selection.asks_for_container("proxy"));
    }
}
