//! What is around CMD, for the session: the container engines of this machine and the clusters that
//! [`covtap_cluster`] follows.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime};

use covtap_cluster::facts::{ContainerState, Facts, Node, Pod};
use covtap_cluster::selection::{Namespaces, Selection};
use covtap_cluster::{Follower, News as Change, Options};
use covtap_live::surroundings::{News, Ready, ReadyContainer, Surroundings, Whereabouts};
use covtap_model::ledger::Container;
use covtap_model::problem::{Problem, Severity};
use covtap_tap::cgroup::{ContainerId, Place};

use crate::args::Selecting;
use crate::failure::Failure;

/// How long the end of a run waits for what is not known for sure.
const SETTLING: Duration = Duration::from_secs(2);

/// Follows engines and clusters.
pub(crate) struct Around {
    follower: Follower,
    selection: Selection,
    /// Whether somebody asked for clusters or containers. Else only what begins during the run is
    /// watched, as that is CMD's doing; and what cannot be followed is a note.
    asked: bool,
    /// When the run began.
    began: SystemTime,
    /// The nodes and containers that are watched.
    watched: BTreeSet<ContainerId>,
    facts: Facts,
    /// Clusters whose nodes are no containers of this machine.
    out_of_reach: BTreeSet<String>,
    /// Pods that were told to be ready: their uid and how often their containers were started.
    told: BTreeSet<(String, i32)>,
}

impl Around {
    /// Begins to follow; `None` when local processes are all that is wanted.
    pub(crate) fn start(args: &Selecting) -> Result<Option<Self>, Failure> {
        if args.local == Some(true) {
            return Ok(None);
        }
        let options = options(args);
        Ok(Some(Self {
            follower: Follower::start(options.clone()).map_err(Failure::new)?,
            asked: options.cluster || options.selection != Selection::default(),
            selection: options.selection,
            began: SystemTime::now(),
            watched: BTreeSet::new(),
            facts: Facts::default(),
            out_of_reach: BTreeSet::new(),
            told: BTreeSet::new(),
        }))
    }

    fn news_of(&mut self, change: Change) -> Option<News> {
        match change {
            Change::NodeStarted(node) | Change::NodeEnded(node) => self.of_container(
                node.container.as_deref()?,
                node.pid.filter(|_| node.ended.is_none()),
                node.started,
                format!("node {}", node.name),
            ),
            Change::Container(container) if self.selection.asks_for_plain(&container) => self
                .of_container(
                    &container.id,
                    container.pid,
                    container.started,
                    format!("container {}", container.name),
                ),
            Change::Pod(pod) => self.ready(&pod),
            Change::Trouble(problem) => Some(News::Trouble(self.weigh(problem))),
            Change::Engine(_)
            | Change::Cluster(_)
            | Change::NodeChanged(_)
            | Change::Container(_)
            | Change::PodGone { .. } => None,
        }
    }

    /// A node or a plain container was found, began or ended.
    fn of_container(
        &mut self,
        id: &str,
        pid: Option<u32>,
        started: Option<SystemTime>,
        name: String,
    ) -> Option<News> {
        let id = ContainerId::new(id)?;
        let Some(pid) = pid else {
            return self.watched.remove(&id).then_some(News::Ended { id });
        };
        let wanted = self.asked || started.is_some_and(|started| started >= self.began);
        let new = wanted && self.watched.insert(id.clone());
        new.then_some(News::Began { id, pid, name })
    }

    fn weigh(&self, problem: Problem) -> Problem {
        let severity = if self.asked {
            problem.severity
        } else {
            Severity::Note
        };
        Problem {
            severity,
            ..problem
        }
    }

    /// A pod that is ready, once for each time that its containers were started.
    fn ready(&mut self, pod: &Pod) -> Option<News> {
        if !pod.selected || !pod.ready {
            return None;
        }
        let facts = self.follower.facts();
        let node = facts.nodes.iter().find(|node| {
            node.cluster == pod.cluster && Some(node.name.as_str()) == pod.node.as_deref()
        })?;
        let Some(container) = &node.container else {
            let new = self.out_of_reach.insert(node.cluster.clone());
            return new.then(|| News::Trouble(elsewhere(pod, node)));
        };
        if !self.watched.contains(&ContainerId::new(container)?) {
            return None;
        }
        let starts = pod.containers.iter().map(|c| c.restarts).sum();
        if !self.told.insert((pod.uid.clone(), starts)) {
            return None;
        }
        let running = pod.containers.iter().filter(|container| {
            container.selected && matches!(container.state, ContainerState::Running { .. })
        });
        Some(News::Ready(Ready {
            name: format!("{}/{}", pod.namespace, pod.name),
            containers: running
                .filter_map(|container| {
                    Some(ReadyContainer {
                        name: container.name.clone(),
                        id: ContainerId::new(container.id.as_deref()?)?,
                    })
                })
                .collect(),
        }))
    }
}

impl Surroundings for Around {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.follower.descriptor()
    }

    fn news(&mut self) -> Vec<News> {
        let changes = self.follower.news();
        changes
            .into_iter()
            .filter_map(|change| self.news_of(change))
            .collect()
    }

    fn settle(&mut self) {
        // What is still not in by then stays as it is known.
        let _ = self.follower.settle(SETTLING);
        self.facts = self.follower.facts();
    }

    fn whereabouts(&self, place: &Place) -> Option<Whereabouts> {
        whereabouts(&self.facts, &self.selection, place)
    }
}

/// What to say of a pod on a machine that covtap cannot look into.
fn elsewhere(pod: &Pod, node: &Node) -> Problem {
    Problem::new(
        Severity::Warning,
        format!("cluster {}", node.cluster),
        "nodes that are containers of this machine",
        format!("pod {}/{} on node {}", pod.namespace, pod.name, node.name),
        "nothing that runs there is collected",
    )
    .hint("run covtap where the nodes are, as with Kind in a CI job; other machines are not reached yet")
}

/// What is to be followed: the cluster of the kubeconfig only when somebody asks for something of it.
pub(crate) fn options(args: &Selecting) -> Options {
    let selection = selection(args);
    let named = args.context.is_some() || args.kubeconfig.is_some();
    Options {
        cluster: named || selection.asks_for_pods(),
        selection,
        kubeconfig: args.kubeconfig.clone(),
        context: args.context.clone(),
        engines: true,
    }
}

/// Which services are meant.
fn selection(args: &Selecting) -> Selection {
    Selection {
        namespaces: match &args.namespace {
            _ if args.all_namespaces == Some(true) => Namespaces::All,
            Some(these) => Namespaces::These(these.clone()),
            None => Namespaces::Unsaid,
        },
        labels: args.selector.clone().unwrap_or_default(),
        workloads: args.workload.clone().unwrap_or_default(),
        containers: args.container.clone().unwrap_or_default(),
    }
}

/// What lies at a place, and whether it was asked for.
fn whereabouts(facts: &Facts, selection: &Selection, place: &Place) -> Option<Whereabouts> {
    let id = place.container.as_ref().map(ContainerId::as_str);
    let node = place.outer.iter().find_map(|id| facts.node(id.as_str()));
    if let Some(uid) = &place.pod {
        let Some(pod) = facts.pod(uid.as_str()) else {
            return node.map(|node| unknown_pod(node, uid.as_str(), id));
        };
        return Some(of_pod(pod, id));
    }
    if let Some(node) = facts.node(id?) {
        // The node's own programs.
        return Some(Whereabouts {
            workload: format!("node/{}", node.name),
            container: Container {
                cluster: Some(node.cluster.clone()),
                node: Some(node.name.clone()),
                ..Container::default()
            },
            selected: false,
        });
    }
    let container = facts.container(id?)?;
    let workload = match &container.compose {
        Some(compose) => format!("service/{}", compose.service),
        None => format!("container/{}", container.name),
    };
    Some(Whereabouts {
        workload,
        container: Container {
            name: Some(container.name.clone()),
            id: Some(container.id.clone()),
            image: Some(container.image.clone()),
            image_id: Some(container.image_id.clone()),
            ..Container::default()
        },
        selected: selection.asks_for_plain(container),
    })
}

fn of_pod(pod: &Pod, id: Option<&str>) -> Whereabouts {
    let container = id.and_then(|id| pod.container(id));
    let workload = match &pod.workload {
        Some(workload) => workload.to_string(),
        None => format!("pod/{}", pod.name),
    };
    Whereabouts {
        workload,
        container: Container {
            cluster: Some(pod.cluster.clone()),
            node: pod.node.clone(),
            namespace: Some(pod.namespace.clone()),
            pod: Some(pod.name.clone()),
            pod_uid: Some(pod.uid.clone()),
            name: container.map(|c| c.name.clone()),
            id: id.map(str::to_owned),
            image: container.map(|c| c.image.clone()),
            image_id: container.and_then(|c| c.image_id.clone()),
        },
        selected: pod.selected && container.is_none_or(|container| container.selected),
    }
}

/// A pod that its cluster never told of: it came and went while the API could not be asked.
fn unknown_pod(node: &Node, uid: &str, id: Option<&str>) -> Whereabouts {
    Whereabouts {
        workload: format!("pod/{uid}"),
        container: Container {
            cluster: Some(node.cluster.clone()),
            node: Some(node.name.clone()),
            pod_uid: Some(uid.to_owned()),
            id: id.map(str::to_owned),
            ..Container::default()
        },
        selected: true,
    }
}
