//! Whose data an agent may send at all, whatever the other end asks for.
//!
//! An agent in a pod is made for somebody who may look into the pods of some namespaces, and knows no API
//! that would tell which pods these are. The kubelet keeps a folder for the logs of each pod, made before the
//! pod's first container, whose name says it (kubelet, `pkg/kubelet/kuberuntime/helpers.go`,
//! `BuildPodLogsDirectory`):
//!
//! ```text
//! /var/log/pods/<namespace>_<name>_<uid>
//! ```
//!
//! The uid is that of the pod's control group, also of a static pod. What has no such folder is nobody's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// The namespaces that an agent is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    namespaces: BTreeSet<String>,
    folder: PathBuf,
    /// The namespaces of pods that were met. A folder goes some time after its pod: what was known stays.
    known: BTreeMap<String, String>,
}

/// Where the kubelet keeps the logs of pods.
pub const PODS: &str = "/var/log/pods";

impl Bounds {
    /// Only what is of pods in these namespaces, as the folder tells.
    #[must_use]
    pub fn new(namespaces: BTreeSet<String>, folder: PathBuf) -> Self {
        Self {
            namespaces,
            folder,
            known: BTreeMap::new(),
        }
    }

    /// Whether what is at this place may be sent (see [`LifeHead::cgroup`](super::message::LifeHead::cgroup)).
    pub(super) fn allow(&mut self, place: Option<&str>) -> bool {
        let mut ids = place.unwrap_or_default().split('/');
        let Some(uid) = ids.find_map(|id| id.strip_prefix("pod")) else {
            return false;
        };
        if !self.known.contains_key(uid) {
            self.look();
        }
        let namespace = self.known.get(uid);
        namespace.is_some_and(|namespace| self.namespaces.contains(namespace))
    }

    fn look(&mut self) {
        // Where nothing can be read nothing is known, and nothing allowed.
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // Neither names of namespaces and pods nor uids have an underscore.
            let mut parts = name.split('_');
            if let (Some(namespace), Some(_), Some(uid), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            {
                self.known.insert(uid.to_owned(), namespace.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Bounds;

    #[test]
    fn only_pods_of_these_namespaces_are_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let pod = |name: &str| fs::create_dir(folder.path().join(name)).unwrap();
        pod("shop_api-7c9_11");
        pod("other_api-7c9_22");
        pod("shop");
        let mut bounds = Bounds::new(["shop".to_owned()].into(), folder.path().to_owned());
        assert!(bounds.allow(Some("/pod11/aa")));
        assert!(bounds.allow(Some("/node/pod11/aa")));
        assert!(!bounds.allow(Some("/pod22/aa")));
        for nobodys in [None, Some(""), Some("/aa"), Some("/pod33/aa")] {
            assert!(!bounds.allow(nobodys), "{nobodys:?}");
        }
        // It is there by the next look, and stays known.
        pod("shop_new_33");
        assert!(bounds.allow(Some("/pod33/aa")));
        fs::remove_dir(folder.path().join("shop_new_33")).unwrap();
        assert!(bounds.allow(Some("/pod33/aa")));
    }

    #[test]
    fn without_the_folder_nothing_is_allowed() {
        let mut bounds = Bounds::new(["shop".to_owned()].into(), "/nowhere".into());
        assert!(!bounds.allow(Some("/pod11/aa")));
    }
}
