//! What is around CMD, for the session: the container engines of this machine and the clusters that
//! [`covtap_cluster`] follows.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{self, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use covtap_cluster::facts::{ContainerState, Facts, Node, Pod, PodContainer, Termination};
use covtap_cluster::selection::{Namespaces, Selection};
use covtap_cluster::{Follower, News as Change, Options};
use covtap_live::made;
use covtap_live::stopped::Record;
use covtap_live::store::Folder;
use covtap_live::surroundings::{
    News, Node as LiveNode, NodeId, Ready, ReadyContainer, Stop, Surroundings, Whereabouts,
};
use covtap_model::ledger::Container;
use covtap_model::problem::{Problem, Severity};
use covtap_tap::cgroup::{ContainerId, Place};

use crate::args::{Reaching, Selecting};
use crate::engine_door::EngineDoor;
use crate::failure::Failure;
use crate::pod_door::PodAgents;
use crate::stopping::Stopping;

/// Follows engines and clusters.
pub(crate) struct Around {
    follower: Follower,
    selection: Selection,
    /// The program for nodes that only an agent can look into.
    agent_binary: Option<PathBuf>,
    /// Agents for nodes that are no containers of this machine.
    pod_agents: Option<PodAgents>,
    /// Whether somebody asked for clusters or containers. Else only what begins during the run is
    /// watched, as that is CMD's doing; and what cannot be followed is a note.
    asked: bool,
    /// Whether what ran before counts although nobody asked for it, where it can be watched from here.
    existing: bool,
    /// `--context`.
    context: Option<String>,
    /// When the run began.
    began: SystemTime,
    /// The containers that are watched, nodes aside.
    watched: BTreeSet<ContainerId>,
    /// The nodes that are watched.
    nodes: BTreeSet<NodeId>,
    /// All nodes that were watched during the run.
    watched_nodes: BTreeSet<NodeId>,
    /// The pods that were asked for, by their uids.
    pods: BTreeSet<String>,
    facts: Facts,
    /// The kubeconfig that was named.
    kubeconfig: Option<PathBuf>,
    /// Clusters whose nodes are no containers of this machine.
    out_of_reach: BTreeSet<String>,
    /// Pods that were told to be ready: their uid and how often their containers were started.
    told: BTreeSet<(String, i32)>,
}

impl Around {
    /// Begins to follow; `None` when local processes are all that is wanted.
    /// With `hold`, agents too are to hold programs until they are watched.
    pub(crate) fn start(
        args: &Selecting,
        reaching: &Reaching,
        hold: bool,
    ) -> Result<Option<Self>, Failure> {
        if args.local == Some(true) {
            return Ok(None);
        }
        let options = options(args);
        Ok(Some(Self {
            follower: Follower::start(options.clone()).map_err(Failure::new)?,
            agent_binary: reaching.agent_binary.clone(),
            pod_agents: PodAgents::new(reaching, hold, &options.selection.namespaces),
            asked: options.cluster || options.selection != Selection::default(),
            existing: false,
            selection: options.selection,
            context: options.context,
            began: SystemTime::now(),
            watched: BTreeSet::new(),
            nodes: BTreeSet::new(),
            watched_nodes: BTreeSet::new(),
            pods: BTreeSet::new(),
            facts: Facts::default(),
            // It is recorded, for a covtap in another directory.
            kubeconfig: options
                .kubeconfig
                .map(|path| path::absolute(&path).unwrap_or(path)),
            out_of_reach: BTreeSet::new(),
            told: BTreeSet::new(),
        }))
    }

    /// The same, for who does not begin anything: what runs already is wanted too, also where nobody asked
    /// for anything. No agent is put anywhere for that.
    pub(crate) fn with_what_runs(self) -> Self {
        Self {
            existing: true,
            ..self
        }
    }

    fn news_of(&mut self, change: Change) -> Vec<News> {
        let news = match change {
            Change::NodeStarted(node) => self.node_began(&node),
            Change::NodeEnded(node) => {
                let known = self.nodes.remove(&id(&node));
                known.then(|| News::NodeEnded(id(&node)))
            }
            Change::Container(container) if self.selection.asks_for_plain(&container) => self
                .of_container(
                    &container.id,
                    container.pid,
                    container.started,
                    format!("container {}", container.name),
                ),
            Change::Pod(pod) => {
                let node = self.node_of(&pod);
                let asked = self.asked_for(&pod);
                let news = node.into_iter().chain(asked);
                return news.chain(self.ready(&pod)).collect();
            }
            Change::Trouble(problem) => Some(News::Trouble(self.weigh(problem))),
            Change::Engine(_)
            | Change::Cluster(_)
            | Change::NodeChanged(_)
            | Change::Container(_)
            | Change::PodGone { .. } => None,
        };
        news.into_iter().collect()
    }

    /// A pod that was asked for, once.
    fn asked_for(&mut self, pod: &Pod) -> Option<News> {
        // An agent is put where something was asked for, or began.
        let new = pod.selected
            && (self.asked || !self.existing || self.is_of_new_node(pod))
            && self.pods.insert(pod.uid.clone());
        new.then(|| News::Asked {
            cluster: pod.cluster.clone(),
            pods: [Some(pod.uid.clone()), pod.static_hash.clone()]
                .into_iter()
                .flatten()
                .collect(),
        })
    }

    /// The run is over: nothing of it stays in clusters.
    pub(crate) fn end(&self) {
        if let Some(pod_agents) = &self.pod_agents {
            pod_agents.end();
        }
    }

    /// The node of a pod that was asked for, where whoever asks may not list nodes.
    fn node_of(&mut self, pod: &Pod) -> Option<News> {
        let known =
            |node: &Node| node.cluster == pod.cluster && Some(&node.name) == pod.node.as_ref();
        if !pod.selected
            || self.pod_agents.is_none()
            || self.follower.facts().nodes.iter().any(known)
        {
            return None;
        }
        self.machine_began(NodeId {
            cluster: pod.cluster.clone(),
            name: pod.node.clone()?,
        })
    }

    /// A node was found that is no container of this machine.
    fn machine_began(&mut self, id: NodeId) -> Option<News> {
        let pod_agents = self.pod_agents.as_mut()?;
        if !self.nodes.insert(id.clone()) {
            return None;
        }
        let door = pod_agents.door(&self.follower.reach(), &id.cluster, &id.name);
        Some(News::Node(LiveNode {
            id,
            container: None,
            pid: None,
            asked: true,
            door,
        }))
    }

    /// A node runs.
    fn node_began(&mut self, node: &Node) -> Option<News> {
        if node.container.is_none() && node.ended.is_none() {
            return self.machine_began(id(node));
        }
        let container = ContainerId::new(node.container.as_deref()?)?;
        if node.ended.is_some()
            || !may_be_of(self.context.as_deref(), &node.cluster)
            || !self.is_wanted(node.started)
            || !self.nodes.insert(id(node))
        {
            return None;
        }
        self.watched_nodes.insert(id(node));
        let program = self.agent_binary.clone();
        let door = EngineDoor::new(self.follower.reach(), &node.name, &container, program);
        Some(News::Node(LiveNode {
            id: id(node),
            container: Some(container),
            pid: node.pid,
            asked: self.began_since(node.started) || self.context.as_ref() == Some(&node.cluster),
            door: Arc::new(door),
        }))
    }

    fn is_wanted(&self, started: Option<SystemTime>) -> bool {
        self.asked || self.existing || self.began_since(started)
    }

    fn is_of_new_node(&self, pod: &Pod) -> bool {
        let facts = self.follower.facts();
        let of_pod =
            |node: &&Node| node.cluster == pod.cluster && Some(&node.name) == pod.node.as_ref();
        let node = facts.nodes.iter().find(of_pod);
        node.is_some_and(|node| self.began_since(node.started))
    }

    fn began_since(&self, started: Option<SystemTime>) -> bool {
        started.is_some_and(|started| started >= self.began)
    }

    /// A plain container was found, began or ended.
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
        let new = self.is_wanted(started) && self.watched.insert(id.clone());
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
        // Its owners are being asked for, and then it is told again.
        let workload = pod.workload.as_ref()?;
        if !pod.selected || !pod.ready {
            return None;
        }
        let node = NodeId {
            cluster: pod.cluster.clone(),
            name: pod.node.clone()?,
        };
        if !self.nodes.contains(&node) {
            let facts = self.follower.facts();
            let node = facts.nodes.iter().find(|known| id(known) == node)?;
            let new = node.container.is_none() && self.out_of_reach.insert(node.cluster.clone());
            return new.then(|| News::Trouble(elsewhere(pod, node)));
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
            workload: Some(workload.to_string()),
            node,
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
    fn begin(&mut self, folder: &Folder) {
        if let Some(pod_agents) = &mut self.pod_agents {
            pod_agents.record(made::Record::new(folder, self.kubeconfig.clone()));
        }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.follower.descriptor()
    }

    fn news(&mut self) -> Vec<News> {
        let changes = self.follower.news();
        changes
            .into_iter()
            .flat_map(|change| self.news_of(change))
            .collect()
    }

    fn asked(&self) -> bool {
        self.asked
    }

    fn settle(&mut self, patience: Duration) {
        // What is still not in by then stays as it is known.
        let _ = self.follower.settle(patience);
        self.facts = self.follower.facts();
    }

    fn stop(
        &self,
        pods: &[String],
        grace: Duration,
        mut record: Record,
    ) -> io::Result<Option<Box<dyn Stop>>> {
        let facts = self.follower.facts();
        // What nobody asked for is never touched, nor a part of something whose owner is not known yet.
        let pods: Vec<_> = pods
            .iter()
            .filter_map(|uid| facts.pod(uid))
            .filter(|pod| pod.selected && pod.workload.is_some())
            .collect();
        if pods.is_empty() {
            return Ok(None);
        }
        record.set_kubeconfig(self.kubeconfig.clone());
        let grace = u32::try_from(grace.as_secs()).unwrap_or(u32::MAX);
        let plan = covtap_cluster::scale::plan(pods, grace);
        let stopping = Stopping::begin(self.follower.reach(), plan, record)?;
        Ok(Some(Box::new(stopping)))
    }

    fn whereabouts(&self, place: &Place) -> Option<Whereabouts> {
        whereabouts(&self.facts, &self.selection, place)
    }

    fn ran(&self) -> Vec<Whereabouts> {
        // Kubernetes' times are whole seconds, rounded down.
        let began = self.began - Duration::from_secs(1);
        let since = |time: Option<SystemTime>| time.is_some_and(|time| time >= began);
        // Other clusters of this machine are none of the run's business, unless somebody asked.
        let ours = |pod: &Pod| {
            let node = pod.node.as_ref().map(|name| NodeId {
                cluster: pod.cluster.clone(),
                name: name.clone(),
            });
            self.asked || node.is_some_and(|node| self.watched_nodes.contains(&node))
        };
        let asked = self.facts.pods.iter();
        let asked = asked.filter(move |pod| pod.selected && ours(pod));
        asked
            .flat_map(|pod| {
                let containers = pod.containers.iter().filter(|c| c.selected);
                containers.flat_map(move |container| {
                    let lives = lives_since(container, since(pod.created), since);
                    lives.map(|id| of_pod(pod, Some(id)))
                })
            })
            .collect()
    }
}

/// The lives of a container that ran later than some time, if `since` says so of the times of its state.
/// Of those before the last one that is known only where all of its pod is `new`.
fn lives_since(
    container: &PodContainer,
    new: bool,
    since: impl Fn(Option<SystemTime>) -> bool,
) -> impl Iterator<Item = &String> {
    let current = container.id.as_ref();
    let ran = match &container.state {
        ContainerState::Running { .. } => true,
        ContainerState::Terminated(end) => !never_ran(end) && (new || since(end.finished)),
        ContainerState::Waiting { .. } => {
            let last = container.last_termination.as_ref();
            last.is_some_and(|end| !never_ran(end) && (new || since(end.finished)))
        }
    };
    let others = container
        .ids
        .iter()
        .filter(move |id| new && Some(*id) != current);
    current.filter(|_| ran).into_iter().chain(others)
}

/// Whether a container never came to its first program, by the reason that the kubelet gives.
fn never_ran(end: &Termination) -> bool {
    let reason = end.reason.as_deref();
    matches!(reason, Some("StartError" | "ContainerCannotRun"))
}

fn id(node: &Node) -> NodeId {
    NodeId {
        cluster: node.cluster.clone(),
        name: node.name.clone(),
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
    .hint("--agent-image names an image of covtap agent image, for agents there; or run covtap where the nodes are, as with Kind in a CI job")
}

/// Whether the cluster of a node may be that of a context. `kind` calls contexts as it calls clusters,
/// so that of another Kind cluster is another one: its nodes are left to whoever tests there.
fn may_be_of(context: Option<&str>, cluster: &str) -> bool {
    context.is_none_or(|context| context == cluster || !context.starts_with("kind-"))
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

#[cfg(test)]
mod tests {
    use super::may_be_of;

    #[test]
    fn the_context_of_a_kind_cluster_leaves_the_others_alone() {
        assert!(may_be_of(None, "kind-a"));
        assert!(may_be_of(Some("kind-a"), "kind-a"));
        assert!(!may_be_of(Some("kind-a"), "kind-b"));
        // A context may have been given another name.
        assert!(may_be_of(Some("dev"), "kind-a"));
    }
}
