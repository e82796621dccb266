//! Which pod and which container a process belongs to, as its control groups tell.
//!
//! `/proc/PID/cgroup` has a line for each hierarchy (cgroups(7)): one with version 2, a dozen with
//! version 1. Whoever makes containers writes their ids into the path, each in its own way:
//!
//! ```text
//! 0::/docker/ID                                                        Docker, cgroupfs
//! 0::/system.slice/docker-ID.scope                                     Docker, systemd
//! 0::/machine.slice/libpod-ID.scope/container                          Podman
//! 4:memory:/kubepods/burstable/podUID/ID                               Kubernetes, cgroupfs
//! 0::/kubepods.slice/kubepods-podU_I_D.slice/cri-containerd-ID.scope   Kubernetes, systemd
//! 0::/kubepods.slice/kubepods-podU_I_D.slice/crio-ID.scope             with CRI-O
//! 1:cpu:/system.slice/containerd.service/kubepods-podU_I_D.slice:cri-containerd:ID
//! 1:cpu:/docker/ID/kubelet.slice/kubelet-kubepods-podU_I_D.slice/cri-containerd-ID.scope    Kind
//! ```
//!
//! So the ids are looked for wherever they stand, whatever is around them. A path is relative to the
//! reader's own control group namespace: a reader in a node does not see what is above the node, and one
//! in a pod sees `/../../kubepods-…` for other pods and `/` for itself.

use std::fmt;
use std::fs;
use std::io;

/// Letters of a container id: 256 bits in hexadecimal.
const CONTAINER_ID: usize = 64;
/// Letters of the hash that a static pod has for a uid.
const STATIC_POD: usize = 32;
/// Letters of the parts of a uid.
const UID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];

/// The id of a container, in full: 64 hexadecimal digits. Docker, Podman, containerd's and CRI-O's
/// containers of Kubernetes have such.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// From its digits; `None` when it is none. What engines and Kubernetes write before it
    /// (`containerd://`) is to be taken off.
    #[must_use]
    pub fn new(digits: &str) -> Option<Self> {
        let all = digits.len() == CONTAINER_ID && digits.bytes().all(is_digit);
        all.then(|| Self(digits.to_owned()))
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The uid of a pod as its `metadata.uid` says it. That of a static pod is a hash of 32 digits, which the API
/// has in the annotation `kubernetes.io/config.hash`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(String);

impl PodUid {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a process belongs. Empty for one that is in no container.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The containers around the pod, from outside: seen from the host, a Kind node is the container
    /// around its pods. Without a pod: those around the container.
    pub outer: Vec<ContainerId>,
    /// The pod.
    pub pod: Option<PodUid>,
    /// The container: in a pod that of the pod, whatever it runs inside of itself; otherwise the innermost.
    pub container: Option<ContainerId>,
}

impl Place {
    /// What the text of `/proc/PID/cgroup` says.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut best = Self::default();
        for line in text.lines() {
            // Hierarchies that the container's maker has left alone say less.
            let place = Self::of_path(line.splitn(3, ':').nth(2).unwrap_or_default());
            if place.depth() > best.depth() {
                best = place;
            }
        }
        best
    }

    /// The place of a process.
    ///
    /// # Errors
    /// When there is no such process, or no `/proc`.
    pub fn of(pid: u32) -> io::Result<Self> {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).map(|text| Self::parse(&text))
    }

    /// Whether this is in no container and no pod.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.depth() == 0
    }

    /// The containers, from outside: each is in the one before.
    pub fn containers(&self) -> impl Iterator<Item = &ContainerId> {
        self.outer.iter().chain(&self.container)
    }

    fn depth(&self) -> usize {
        self.containers().count() + usize::from(self.pod.is_some())
    }

    fn of_path(path: &str) -> Self {
        let mut place = Self::default();
        for id in ids(path) {
            match id {
                Id::Pod(uid) => {
                    place.outer.extend(place.container.take());
                    place.pod = Some(uid);
                }
                Id::Container(id) if place.pod.is_none() => {
                    place.outer.extend(place.container.replace(id));
                }
                Id::Container(id) => {
                    place.container.get_or_insert(id);
                }
            }
        }
        place
    }
}

/// An id in a path.
enum Id {
    Pod(PodUid),
    Container(ContainerId),
}

/// The ids of a path, from its beginning.
fn ids(path: &str) -> impl Iterator<Item = Id> {
    let mut before = "";
    path.split('/')
        // Only a slice of systemd and the containers that are in it share a part: `slice:runtime:ID`.
        .flat_map(|part| part.split(':'))
        .filter_map(move |part| {
            let parent = std::mem::replace(&mut before, part);
            pod(part).or_else(|| container(part, parent))
        })
}

/// `podUID`, `kubepods-burstable-podUID.slice`.
fn pod(part: &str) -> Option<Id> {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    let uid = match name.strip_prefix("pod") {
        Some(uid) => uid,
        None => name.rsplit_once("-pod")?.1,
    };
    let parts: Vec<&str> = uid.split(['-', '_']).collect();
    let is_uid = parts.len() == UID_PARTS.len()
        && parts.iter().zip(UID_PARTS).all(|(p, n)| p.len() == n)
        || parts.len() == 1 && uid.len() == STATIC_POD;
    let digits = parts.iter().all(|p| p.bytes().all(is_digit));
    (is_uid && digits).then(|| Id::Pod(PodUid(uid.replace('_', "-"))))
}

/// `ID`, `cri-containerd-ID.scope`; `parent` is the part before.
fn container(part: &str, parent: &str) -> Option<Id> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let (maker, digits) = name.rsplit_once('-').unwrap_or(("", name));
    // The process that watches over a container is not in it.
    if maker == "conmon" || maker.ends_with("-conmon") {
        return None;
    }
    // A pod of Podman has an id like a container, and with systemd a slice, which is no `.scope`.
    if parent == "libpod_parent" && maker.is_empty() {
        return None;
    }
    ContainerId::new(digits).map(Id::Container)
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "8f2b1c6e-0d4a-4c53-9a57-1e2f3a4b5c6d";

    /// A container id of one digit.
    fn id(digit: char) -> String {
        digit.to_string().repeat(CONTAINER_ID)
    }

    /// A place as `outer outer pod container`, in short: the containers by their digit.
    fn said(place: &Place) -> String {
        let short = |id: &ContainerId| id.as_str()[..1].to_owned();
        let outer: String = place.outer.iter().map(short).collect();
        let pod = place.pod.as_ref().map_or("-", PodUid::as_str);
        let container = place.container.as_ref().map_or("-".into(), short);
        format!("[{outer}] {pod} {container}")
    }

    /// What is said of a path, with `A`, `B` for container ids and `UID`, `U_D` for the pod's.
    fn of(path: &str) -> String {
        let path = path
            .replace("U_D", &UID.replace('-', "_"))
            .replace("UID", UID)
            .replace('A', &id('a'))
            .replace('B', &id('b'))
            .replace('C', &id('c'));
        said(&Place::parse(&format!("0::{path}\n")))
    }

    #[test]
    fn what_is_in_no_container() {
        for path in [
            "/",
            "",
            "/init.scope",
            "/user.slice/user-1000.slice/session-2.scope",
            "/system.slice/docker.service",
            "/system.slice/containerd.service",
            "/kubepods.slice/kubepods-burstable.slice",
            "/kubelet.slice/kubelet.service",
            "/lxc.payload.name",
        ] {
            assert_eq!(of(path), "[] - -", "{path}");
        }
    }

    #[test]
    fn containers_of_engines() {
        for path in [
            "/docker/A",
            "/system.slice/docker-A.scope",
            "/docker/A/init.scope",
            "/docker/A/own/deeper",
            "/actions_job/A",
            "/machine.slice/libpod-A.scope",
            "/machine.slice/libpod-A.scope/container",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-A.scope/container",
            "/libpod_parent/libpod-A",
            "/libpod_parent/B/libpod-A",
            "/machine.slice/machine-libpod_pod_B.slice/libpod-A.scope/container",
            "/../../docker-A.scope",
        ] {
            assert_eq!(of(path), "[] - a", "{path}");
        }
        assert_eq!(of("/machine.slice/libpod-conmon-A.scope"), "[] - -");
    }

    #[test]
    fn containers_of_pods() {
        for path in [
            "/kubepods/podUID/A",
            "/kubepods/besteffort/podUID/A",
            "/kubepods.slice/kubepods-podU_D.slice/cri-containerd-A.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_D.slice/crio-A.scope",
            "/kubepods.slice/kubepods-podU_D.slice/crio-A.scope/container",
            "/kubepods.slice/kubepods-podU_D.slice/docker-A.scope",
            "/kubepods.slice/kubepods-podU_D.slice/cri-containerd-A.scope/own/deeper",
            "/system.slice/containerd.service/kubepods-burstable-podU_D.slice:cri-containerd:A",
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_D.slice/cri-containerd-A.scope",
            "/../../kubepods-burstable.slice/kubepods-burstable-podU_D.slice/cri-containerd-A.scope",
            // A container that runs containers.
            "/kubepods/podUID/A/docker/B",
        ] {
            assert_eq!(of(path), format!("[] {UID} a"), "{path}");
        }
        // The pod's own group, and the process that watches over a container.
        for path in [
            "/kubepods/podUID",
            "/kubepods.slice/kubepods-podU_D.slice",
            "/kubepods.slice/kubepods-podU_D.slice/crio-conmon-A.scope",
        ] {
            assert_eq!(of(path), format!("[] {UID} -"), "{path}");
        }
        let hash = "0123456789abcdef0123456789abcdef";
        let path =
            format!("/kubepods.slice/kubepods-burstable-pod{hash}.slice/cri-containerd-A.scope");
        assert_eq!(of(&path), format!("[] {hash} a"));
    }

    #[test]
    fn containers_in_containers() {
        for (path, expected) in [
            ("/docker/A/docker/B", "[a] - b"),
            ("/docker/A/docker/B/docker/C", "[ab] - c"),
            // Kind, the node's own processes and those of its pods.
            ("/docker/A/system.slice/kubelet.service", "[] - a"),
            (
                "/docker/A/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_D.slice/\
                 cri-containerd-B.scope",
                "[a] UID b",
            ),
            (
                "/system.slice/docker-A.scope/kubelet.slice/kubelet-kubepods-podU_D.slice/\
                 cri-containerd-B.scope",
                "[a] UID b",
            ),
            (
                "/machine.slice/libpod-A.scope/container/kubelet.slice/\
                 kubelet-kubepods-podU_D.slice/cri-containerd-B.scope",
                "[a] UID b",
            ),
            // A Kind cluster in a pod.
            (
                "/kubepods/pod00000000000000000000000000000000/A/docker/B/kubelet/kubepods/podUID/C",
                "[a] UID c",
            ),
        ] {
            assert_eq!(of(path), expected.replace("UID", UID), "{path}");
        }
    }

    #[test]
    fn the_hierarchy_that_says_most_counts() {
        let pod = format!("/docker/A/kubepods/pod{UID}/B").replace(['A', 'B'], &id('a'));
        let text = format!(
            "13:misc:/\n12:rdma:/docker/{}\n9:name=systemd:{pod}\n4:memory:{pod}\n0::/\n",
            id('a')
        );
        assert_eq!(said(&Place::parse(&text)), format!("[a] {UID} a"));
    }

    #[test]
    fn what_only_looks_like_an_id_is_none() {
        let a = id('a');
        for path in [
            format!("/docker/{}", &a[1..]),
            format!("/docker/{a}a"),
            format!("/docker/{a}.service"),
            format!("/kubepods/pod{}/x", &UID[1..]),
            format!("/kubepods/pod{}/x", UID.replace('-', ".")),
            format!("/kubepods/xpod{UID}/x"),
        ] {
            assert_eq!(of(&path), "[] - -", "{path}");
        }
        assert_eq!(ContainerId::new(&a.to_uppercase()), None);
        assert_eq!(ContainerId::new(&a[1..]), None);
        assert_eq!(ContainerId::new(&a).unwrap().to_string(), a);
    }

    #[test]
    fn this_process_has_a_place() {
        // Which, depends on where the tests run.
        Place::of(std::process::id()).unwrap();
        assert!(Place::of(u32::MAX).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(?s).{0,300}") {
            let place = Place::parse(&text);
            prop_assert_eq!(place.is_empty(), place == Place::default());
        }

        /// Whatever stands before and behind in parts of their own, a pod's container is found.
        #[test]
        fn surroundings_do_not_matter(
            before in "(/[a-z.0-9]{1,12}){0,4}",
            behind in "(/[a-z.0-9]{1,12}){0,4}",
        ) {
            let path = format!("{before}/kubepods-podU_D.slice/cri-containerd-A.scope{behind}");
            prop_assert_eq!(of(&path), format!("[] {UID} a"));
        }
    }
}
