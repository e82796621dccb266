//! Which workloads of some pods are scaled, which pods are deleted, and which are left alone.

use std::collections::BTreeMap;
use std::fmt;

use crate::facts::{Pod, Workload};

/// The kinds that have a number of replicas, with the names of their resources.
const SCALABLE: [(&str, &str); 4] = [
    ("Deployment", "deployments.apps"),
    ("StatefulSet", "statefulsets.apps"),
    ("ReplicaSet", "replicasets.apps"),
    ("ReplicationController", "replicationcontrollers"),
];

/// A workload whose number of replicas can be set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scalable {
    /// The cluster.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Kubernetes' kind: `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Scalable {
    /// The resource in the words of kubectl and of roles: `deployments.apps`. None for a kind that has no
    /// replicas.
    #[must_use]
    pub fn resource(&self) -> Option<&'static str> {
        let known = SCALABLE.iter().find(|(kind, _)| *kind == self.kind);
        known.map(|(_, resource)| *resource)
    }
}

/// `shop/deployment/api`.
impl fmt::Display for Scalable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.to_lowercase();
        write!(f, "{}/{kind}/{}", self.namespace, self.name)
    }
}

/// A pod that is deleted with a grace period in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// The cluster.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: another one of the same name is left alone.
    pub uid: String,
    /// Seconds.
    pub grace: u32,
}

/// A pod that is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `shop/pod/x`, or what owns it.
    pub what: String,
    /// Why.
    pub because: &'static str,
}

/// How pods are ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Pods that are deleted first, since their own grace period is too short, or because nothing else
    /// ends them and what owns them makes new ones.
    pub delete: Vec<Delete>,
    /// Workloads that are scaled to zero then, and what owns each: that may set their replicas back.
    pub scale: BTreeMap<Scalable, Option<Workload>>,
    /// Pods that are left alone.
    pub refused: Vec<Refused>,
    /// The longest time that the pods have to end, in seconds.
    pub grace: u32,
}

/// Plans the end of pods whose programs need at least `grace` seconds to end by themselves.
#[must_use]
pub fn plan<'a>(pods: impl IntoIterator<Item = &'a Pod>, grace: u32) -> Plan {
    let mut plan = Plan::default();
    for pod in pods {
        let own = pod.grace_period.unwrap_or_default();
        let own = u32::try_from(own.max(0)).unwrap_or(u32::MAX);
        // The topmost that is known to have replicas: what is below it would be set back by it.
        let known = |owner: &Workload| SCALABLE.iter().any(|(kind, _)| *kind == owner.kind);
        let top = pod.owners.iter().rposition(known);
        let daemon = pod.owners.first().is_some_and(|o| o.kind == "DaemonSet");
        let (name, because) = match (top, pod.owners.first()) {
            (Some(_), _) => (None, ""),
            (None, Some(_)) if daemon => (None, ""),
            (None, Some(owner)) if owner.kind == "Job" => (
                Some(owner),
                "it ends by itself, and deleting its pod counts as a failure",
            ),
            (None, Some(owner)) => (
                Some(owner),
                "covtap does not know how to stop and restore it",
            ),
            (None, None) => (None, "nothing owns it: deleting it could not be undone"),
        };
        if !because.is_empty() {
            let what = match name {
                Some(owner) => format!("{}/{owner}", pod.namespace),
                None => format!("{}/pod/{}", pod.namespace, pod.name),
            };
            if !plan.refused.iter().any(|refused| refused.what == what) {
                plan.refused.push(Refused { what, because });
            }
            continue;
        }
        plan.grace = plan.grace.max(own).max(grace);
        // A grace period that has begun can only be made shorter.
        if pod.deletion_requested.is_none() && (daemon || own < grace) {
            plan.delete.push(Delete {
                cluster: pod.cluster.clone(),
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                uid: pod.uid.clone(),
                grace: own.max(grace),
            });
        }
        if let Some(top) = top {
            let of = &pod.owners[top];
            let of = Scalable {
                cluster: pod.cluster.clone(),
                namespace: pod.namespace.clone(),
                kind: of.kind.clone(),
                name: of.name.clone(),
            };
            plan.scale.insert(of, pod.owners.get(top + 1).cloned());
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(owners: &[(&str, &str)], grace: i64) -> Pod {
        Pod {
            cluster: "kind-dev".into(),
            node: None,
            namespace: "shop".into(),
            name: "api-7c9".into(),
            uid: "u".into(),
            static_hash: None,
            owners: owners
                .iter()
                .map(|(kind, name)| Workload {
                    kind: (*kind).into(),
                    name: (*name).into(),
                })
                .collect(),
            workload: None,
            containers: Vec::new(),
            phase: "Running".into(),
            reason: None,
            ready: true,
            created: None,
            deletion_requested: None,
            gone: None,
            grace_period: Some(grace),
            host_network: false,
            selected: true,
        }
    }

    fn scaled(plan: &Plan) -> Vec<String> {
        plan.scale.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn a_deployment_is_scaled_not_its_replica_set() {
        let pods = [
            pod(&[("ReplicaSet", "api-7c9"), ("Deployment", "api")], 30),
            pod(&[("ReplicaSet", "api-8d0"), ("Deployment", "api")], 60),
            pod(&[("StatefulSet", "db")], 30),
            pod(&[("ReplicaSet", "bare")], 30),
        ];
        let plan = plan(&pods, 10);
        assert_eq!(
            scaled(&plan),
            [
                "shop/deployment/api",
                "shop/replicaset/bare",
                "shop/statefulset/db"
            ]
        );
        assert_eq!((plan.grace, plan.delete.len()), (60, 0));
        assert!(plan.refused.is_empty());
        assert!(plan.scale.keys().all(|of| of.resource().is_some()));
    }

    #[test]
    fn what_an_operator_owns_says_so() {
        let owners = [("ReplicaSet", "x"), ("Deployment", "x"), ("Shop", "main")];
        let plan = plan(&[pod(&owners, 30)], 10);
        let owner = plan.scale.values().next().unwrap().as_ref().unwrap();
        assert_eq!(owner.to_string(), "shop/main");
    }

    #[test]
    fn a_grace_period_that_is_too_short_is_asked_for_in_the_deletion() {
        let owners = [("ReplicaSet", "x"), ("Deployment", "x")];
        let short = plan(&[pod(&owners, 1)], 10);
        assert_eq!(short.delete[0].grace, 10);
        assert_eq!(scaled(&short), ["shop/deployment/x"]);
        let mut ending = pod(&owners, 1);
        ending.deletion_requested = Some(std::time::SystemTime::UNIX_EPOCH);
        assert!(plan(&[ending], 10).delete.is_empty());
        // Its set makes a new one: nothing is to be restored.
        let daemon = plan(&[pod(&[("DaemonSet", "logs")], 30)], 10);
        assert_eq!(daemon.delete[0].grace, 30);
        assert!(daemon.scale.is_empty());
    }

    #[test]
    fn what_could_not_be_undone_is_left_alone() {
        let pods = [
            pod(&[], 30),
            pod(&[("Job", "load")], 30),
            pod(&[("Job", "load")], 30),
            pod(&[("Machine", "m")], 30),
        ];
        let plan = plan(&pods, 10);
        let refused: Vec<_> = plan.refused.iter().map(|r| r.what.as_str()).collect();
        assert_eq!(
            refused,
            ["shop/pod/api-7c9", "shop/job/load", "shop/machine/m"]
        );
        assert!(plan.scale.is_empty() && plan.delete.is_empty());
    }
}
