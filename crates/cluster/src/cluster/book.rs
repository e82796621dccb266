//! The pods of a cluster with their owners: who owns whom, which pods are asked for, what a list
//! that was made anew leaves out. Pure: it is told, and says what changed and what to ask.

use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::pod::Read;
use crate::facts::{Pod, Workload};
use crate::selection::{Asked, Home, Selection};

/// More owners above each other than any cluster has; a circle ends here.
const HIGHEST: usize = 8;

/// The book of one cluster.
pub(crate) struct Book {
    selection: Selection,
    home: Home,
    pods: HashMap<String, Entry>,
    owners: HashMap<String, Owner>,
}

/// A pod in the book.
struct Entry {
    read: Read,
    /// Which of the watches it came from.
    watch: usize,
    /// Not seen yet in the list that is being made.
    stale: bool,
}

/// An owner, by its uid.
enum Owner {
    /// It was asked for.
    Asked,
    /// What owns it, if anything.
    Known(Option<OwnerReference>),
}

/// An owner that has to be asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// Of pods in this namespace.
    pub(crate) namespace: String,
    /// The owner.
    pub(crate) owner: OwnerReference,
}

/// What follows from something that was told.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// Pods that are new or different.
    pub(crate) pods: Vec<Pod>,
    /// Uids of pods that are gone.
    pub(crate) gone: Vec<String>,
    /// Owners to ask for. Each is wanted once.
    pub(crate) wanted: Vec<Wanted>,
}

impl Book {
    pub(crate) fn new(selection: Selection, home: Home) -> Self {
        Self {
            selection,
            home,
            pods: HashMap::new(),
            owners: HashMap::new(),
        }
    }

    /// A watch lists its pods anew: those that it had may be gone.
    pub(crate) fn list_begins(&mut self, watch: usize) {
        for entry in self.pods.values_mut().filter(|e| e.watch == watch) {
            entry.stale = true;
        }
    }

    /// The list of a watch is complete: what is not in it is gone.
    pub(crate) fn list_ends(&mut self, watch: usize) -> Change {
        let gone = |entry: &Entry| entry.watch == watch && entry.stale;
        let mut uids: Vec<String> = self
            .pods
            .iter()
            .filter(|(_, entry)| gone(entry))
            .map(|(uid, _)| uid.clone())
            .collect();
        uids.sort();
        self.pods.retain(|_, entry| !gone(entry));
        Change {
            gone: uids,
            ..Change::default()
        }
    }

    /// A pod was created, changed or listed.
    pub(crate) fn seen(&mut self, watch: usize, read: Read) -> Change {
        let uid = read.pod.uid.clone();
        let entry = Entry {
            read,
            watch,
            stale: false,
        };
        let wanted = self.wanted(&entry.read).into_iter().collect();
        let pod = self.filled(&entry.read);
        self.pods.insert(uid, entry);
        Change {
            pods: vec![pod],
            wanted,
            ..Change::default()
        }
    }

    /// A pod was deleted.
    pub(crate) fn deleted(&mut self, uid: &str) -> Change {
        Change {
            gone: self
                .pods
                .remove(uid)
                .map(|_| uid.to_owned())
                .into_iter()
                .collect(),
            ..Change::default()
        }
    }

    /// What owns an owner that was asked for; nothing when nothing does, or when that is not to be
    /// learnt.
    pub(crate) fn owned_by(&mut self, uid: &str, owner: Option<OwnerReference>) -> Change {
        self.owners.insert(uid.to_owned(), Owner::Known(owner));
        let below: Vec<String> = self
            .pods
            .iter()
            .filter(|(_, entry)| self.chain(&entry.read).iter().any(|owner| owner.uid == uid))
            .map(|(uid, _)| uid.clone())
            .collect();
        let mut change = Change::default();
        for uid in below {
            let Some(entry) = self.pods.get(&uid) else {
                continue;
            };
            change.pods.push(self.filled(&entry.read));
            let read = entry.read.clone();
            change.wanted.extend(self.wanted(&read));
        }
        change.pods.sort_by(|a, b| a.uid.cmp(&b.uid));
        change
    }

    /// Whether a pod is there.
    pub(crate) fn has(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// The owners of a pod that are known, nearest first.
    fn chain<'a>(&'a self, read: &'a Read) -> Vec<&'a OwnerReference> {
        let mut chain: Vec<&OwnerReference> = Vec::new();
        let mut next = read.owner.as_ref();
        while let Some(owner) = next {
            if chain.len() == HIGHEST || chain.iter().any(|known| known.uid == owner.uid) {
                break;
            }
            chain.push(owner);
            next = match self.owners.get(&owner.uid) {
                Some(Owner::Known(above)) => above.as_ref(),
                Some(Owner::Asked) | None => None,
            };
        }
        chain
    }

    /// The owner that has to be asked for to know more about a pod's.
    fn wanted(&mut self, read: &Read) -> Option<Wanted> {
        let owner = (*self.chain(read).last()?).clone();
        if self.owners.contains_key(&owner.uid) {
            return None;
        }
        self.owners.insert(owner.uid.clone(), Owner::Asked);
        Some(Wanted {
            namespace: read.pod.namespace.clone(),
            owner,
        })
    }

    /// A pod with its workload and selection.
    fn filled(&self, read: &Read) -> Pod {
        let mut pod = read.pod.clone();
        let chain = self.chain(read);
        let itself = Workload {
            kind: "Pod".into(),
            name: pod.name.clone(),
        };
        let mut owners = vec![itself];
        owners.extend(chain.iter().map(|owner| Workload {
            kind: owner.kind.clone(),
            name: owner.name.clone(),
        }));
        let complete = chain
            .last()
            .is_none_or(|top| matches!(self.owners.get(&top.uid), Some(Owner::Known(_))));
        pod.workload = owners.last().filter(|_| complete).cloned();
        pod.selected = self.selection.asks_for(
            Asked {
                namespace: &pod.namespace,
                labels: &read.labels,
                owners: &owners,
            },
            &self.home,
        );
        pod.owners = owners.split_off(1);
        for container in &mut pod.containers {
            container.selected = pod.selected && self.selection.asks_for_container(&container.name);
        }
        pod
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use serde_json::json;

    use super::{Book, Change};
    use crate::cluster::pod::{Read, read};
    use crate::facts::Pod;
    use crate::selection::{Home, Selection};

    fn owner(kind: &str, name: &str, uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: "x/v1".into(),
            kind: kind.into(),
            name: name.into(),
            uid: uid.into(),
            controller: Some(true),
            ..OwnerReference::default()
        }
    }

    fn pod(uid: &str, owned: Option<&OwnerReference>) -> Read {
        let json = json!({ "metadata": { "name": uid, "namespace": "shop", "uid": uid,
                "ownerReferences": owned.into_iter().collect::<Vec<_>>() },
            "spec": { "containers": [{ "name": "a" }] } });
        read("c", serde_json::from_value(json).unwrap()).unwrap()
    }

    fn book(workload: &str) -> Book {
        let selection = Selection {
            workloads: vec![workload.parse().unwrap()],
            ..Selection::default()
        };
        Book::new(selection, Home::Everywhere)
    }

    fn about(pods: &[Pod]) -> Vec<(String, Option<String>, bool)> {
        pods.iter()
            .map(|p| {
                (
                    p.uid.clone(),
                    p.workload.as_ref().map(ToString::to_string),
                    p.selected,
                )
            })
            .collect()
    }

    #[test]
    fn the_top_owner_is_the_workload_and_each_is_asked_for_once() {
        let mut book = book("deploy/api");
        let (set, deployment) = (
            owner("ReplicaSet", "api-1", "rs"),
            owner("Deployment", "api", "d"),
        );
        let change = book.seen(0, pod("p1", Some(&set)));
        assert_eq!(about(&change.pods), [("p1".into(), None, false)]);
        assert_eq!(change.wanted.len(), 1);
        assert_eq!(book.seen(0, pod("p2", Some(&set))).wanted, []);
        let change = book.owned_by("rs", Some(deployment));
        assert_eq!(
            about(&change.pods),
            [("p1".into(), None, true), ("p2".into(), None, true)]
        );
        assert_eq!(change.wanted.len(), 1);
        assert_eq!(change.wanted[0].owner.kind, "Deployment");
        let name = || Some("deployment/api".to_owned());
        let change = book.owned_by("d", None);
        assert_eq!(
            about(&change.pods),
            [("p1".into(), name(), true), ("p2".into(), name(), true)]
        );
        assert_eq!(
            about(&book.seen(0, pod("p3", Some(&set))).pods),
            [("p3".into(), name(), true)]
        );
    }

    #[test]
    fn a_pod_without_an_owner_is_its_own_workload() {
        let change = book("pod/p1").seen(0, pod("p1", None));
        assert_eq!(
            about(&change.pods),
            [("p1".into(), Some("pod/p1".into()), true)]
        );
    }

    #[test]
    fn owners_in_a_circle_end() {
        let mut book = book("x");
        let (a, b) = (owner("A", "a", "a"), owner("B", "b", "b"));
        book.seen(0, pod("p", Some(&a)));
        book.owned_by("a", Some(b));
        let change = book.owned_by("b", Some(a));
        assert_eq!(
            about(&change.pods),
            [("p".into(), Some("b/b".into()), false)]
        );
        assert_eq!(change.wanted, []);
    }

    #[test]
    fn what_a_new_list_leaves_out_is_gone_but_only_of_its_watch() {
        let mut book = book("x");
        for (watch, uid) in [(0, "p1"), (0, "p2"), (1, "p3")] {
            book.seen(watch, pod(uid, None));
        }
        book.list_begins(0);
        book.seen(0, pod("p2", None));
        assert_eq!(book.list_ends(0).gone, ["p1"]);
        assert_eq!(book.list_ends(0), Change::default());
        assert_eq!(book.deleted("p3").gone, ["p3"]);
        assert_eq!(book.deleted("p3"), Change::default());
    }
}
