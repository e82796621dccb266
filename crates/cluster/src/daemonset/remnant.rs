//! What runs that were killed have left in a cluster.

use std::time::{Duration, SystemTime};

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, ListParams};

use super::manifest::{self, Owner};
use crate::cluster::ask::Place;
use crate::cluster::pod::time;
use crate::engine::act::ActError;
use crate::reach::Reach;

/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Agents in a cluster: of a run that goes on, or of one that was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remnant {
    /// The cluster.
    pub cluster: String,
    /// The namespace that they are in.
    pub namespace: String,
    /// Their DaemonSet; `None` when there is the namespace alone.
    pub daemonset: Option<String>,
    /// Whether the namespace was made for them, and is removed with them.
    pub whole_namespace: bool,
    /// Who made them, if that is said.
    pub owner: Option<Owner>,
    /// When.
    pub created: Option<SystemTime>,
}

impl Reach {
    /// All agents in a cluster that covtap has made, whoever's they are.
    ///
    /// # Errors
    /// When the cluster is not followed, or refuses, or does not answer.
    pub fn remnants(&self, cluster: &str) -> Result<Vec<Remnant>, ActError> {
        let client = self.client_of(cluster)?;
        let cluster = cluster.to_owned();
        self.run(async move {
            let place = Place {
                cluster: &cluster,
                namespace: "",
                timeout: ANSWER,
                effect: "what runs have left there is not known",
            };
            let ours = ListParams::default().labels(&manifest::managed());
            let sets: Api<DaemonSet> = Api::all(client.clone());
            let sets = place
                .answer("list", "daemonsets.apps", || sets.list(&ours))
                .await?;
            let spaces: Api<Namespace> = Api::all(client);
            let spaces = place
                .answer("list", "namespaces", || spaces.list(&ours))
                .await?;
            let sets = sets.items.into_iter().map(|set| set.metadata).collect();
            let spaces = spaces.items.into_iter().map(|s| s.metadata).collect();
            Ok(found(&cluster, sets, spaces))
        })
    }

    /// Removes them. What is gone already is no error; the cluster goes on with the rest by itself.
    ///
    /// # Errors
    /// When the cluster is not followed, or refuses, or does not answer.
    pub fn remove_remnant(&self, remnant: &Remnant) -> Result<(), ActError> {
        let client = self.client_of(&remnant.cluster)?;
        let remnant = remnant.clone();
        self.run(async move {
            let params = DeleteParams::default();
            let place = |namespace| Place {
                cluster: &remnant.cluster,
                namespace,
                timeout: ANSWER,
                effect: "its agents stay there",
            };
            if remnant.whole_namespace {
                let api: Api<Namespace> = Api::all(client);
                let name = &remnant.namespace;
                return place("")
                    .optional("delete", "namespaces", || api.delete(name, &params))
                    .await;
            }
            let Some(set) = &remnant.daemonset else {
                return Ok(());
            };
            let api: Api<DaemonSet> = Api::namespaced(client, &remnant.namespace);
            place(&remnant.namespace)
                .optional("delete", "daemonsets.apps", || api.delete(set, &params))
                .await
        })
    }
}

/// DaemonSets, and namespaces, of which some have none (any more).
fn found(cluster: &str, sets: Vec<ObjectMeta>, spaces: Vec<ObjectMeta>) -> Vec<Remnant> {
    let name = |meta: &ObjectMeta| meta.name.clone().unwrap_or_default();
    let mut found: Vec<Remnant> = spaces
        .iter()
        // What goes already needs nobody.
        .filter(|meta| meta.deletion_timestamp.is_none())
        .map(|meta| Remnant {
            cluster: cluster.to_owned(),
            namespace: name(meta),
            daemonset: None,
            whole_namespace: true,
            owner: Owner::of(meta),
            created: time(meta.creation_timestamp.clone()),
        })
        .collect();
    let going = |namespace: &str| {
        spaces
            .iter()
            .any(|meta| meta.deletion_timestamp.is_some() && name(meta) == namespace)
    };
    for meta in &sets {
        let namespace = meta.namespace.clone().unwrap_or_default();
        if meta.deletion_timestamp.is_some() || going(&namespace) {
            continue;
        }
        if let Some(whole) = found
            .iter_mut()
            .find(|remnant| remnant.whole_namespace && remnant.namespace == namespace)
        {
            whole.daemonset = Some(name(meta));
            continue;
        }
        found.push(Remnant {
            cluster: cluster.to_owned(),
            namespace,
            daemonset: Some(name(meta)),
            whole_namespace: false,
            owner: Owner::of(meta),
            created: time(meta.creation_timestamp.clone()),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use serde_json::json;

    use super::found;

    fn meta(name: &str, namespace: Option<&str>, going: bool) -> ObjectMeta {
        let mut meta = json!({ "name": name, "namespace": namespace,
            "annotations": { "covtap/host": "ci-7", "covtap/process": "812" } });
        if going {
            meta["deletionTimestamp"] = json!("2026-11-23T20:00:00Z");
        }
        serde_json::from_value(meta).unwrap()
    }

    #[test]
    fn agents_are_found_in_namespaces_of_their_own_and_of_others() {
        let sets = vec![
            meta("covtap-agent-1", Some("covtap-1"), false),
            meta("covtap-agent-2", Some("tools"), false),
            meta("covtap-agent-3", Some("covtap-3"), false),
        ];
        let spaces = vec![
            meta("covtap-1", None, false),
            meta("covtap-3", None, true),
            meta("covtap-4", None, false),
        ];
        let found = found("c", sets, spaces);
        let said: Vec<_> = found
            .iter()
            .map(|r| {
                (
                    r.namespace.as_str(),
                    r.daemonset.as_deref(),
                    r.whole_namespace,
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                ("covtap-1", Some("covtap-agent-1"), true),
                ("covtap-4", None, true),
                ("tools", Some("covtap-agent-2"), false),
            ]
        );
        let owner = found[0].owner.as_ref().unwrap();
        assert_eq!((owner.host.as_str(), owner.pid), ("ci-7", 812));
    }
}
