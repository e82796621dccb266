//! The way to agents on nodes that Kubernetes alone reaches: one DaemonSet a cluster, which is there as long
//! as the run is.

use std::collections::BTreeMap;
use std::fmt;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use covtap_cluster::Reach;
use covtap_cluster::daemonset::{Agents, NotThere, Owner, Plan};
use covtap_cluster::selection::Namespaces;
use covtap_live::made::Record;
use covtap_live::surroundings::{Door, Opened, Shut};
use covtap_model::agents::Set;
use covtap_model::problem::{Problem, Severity};

use crate::args::Reaching;
use crate::failure;
use crate::output;

/// The DaemonSets of a run.
pub(crate) struct PodAgents {
    plan: Plan,
    asked: Namespaces,
    sets: BTreeMap<String, Arc<Agents>>,
    record: Shared,
}

/// What is made is recorded first; `None` before the run has a folder.
type Shared = Arc<Mutex<Option<Record>>>;

impl PodAgents {
    /// `None` when nobody named an image.
    pub(crate) fn new(args: &Reaching, hold: bool, asked: &Namespaces) -> Option<Self> {
        let image = args.agent_image.clone()?;
        Some(Self {
            plan: plan(image, args.agent_namespace.clone(), hold),
            asked: asked.clone(),
            sets: BTreeMap::new(),
            record: Shared::default(),
        })
    }

    /// Where what is made is recorded.
    pub(crate) fn record(&mut self, record: Record) {
        *lock(&self.record) = Some(record);
    }

    /// The way to the agent of a node.
    pub(crate) fn door(&mut self, reach: &Reach, cluster: &str, node: &str) -> Arc<dyn Door> {
        let agents = self.sets.entry(cluster.to_owned()).or_insert_with(|| {
            Arc::new(Agents::new(
                reach.clone(),
                cluster,
                self.plan.clone(),
                self.asked.clone(),
            ))
        });
        Arc::new(PodDoor {
            agents: Arc::clone(agents),
            set: set_of(&self.plan, cluster),
            record: Arc::clone(&self.record),
            node: node.to_owned(),
        })
    }

    /// The run is over: removes them, and says what cannot be removed and what was not looked into.
    pub(crate) fn end(&self) {
        for (cluster, agents) in &self.sets {
            let refused = agents.refused();
            if !refused.is_empty() {
                output::warning(&format!(
                    "cluster {cluster}: nothing of namespace {} was collected: who may not execute programs in \
                     its pods (create pods/exec) is told nothing of them",
                    refused.join(", ")
                ));
            }
            let removed = agents.remove().map_err(|error| failure::text(&error));
            let recorded = removed.and_then(|()| match &mut *lock(&self.record) {
                Some(record) => record
                    .remove(cluster)
                    .map_err(|error| failure::text(&error)),
                None => Ok(()),
            });
            if let Err(why) = recorded {
                output::warning(&format!(
                    "cluster {cluster}: the agents of this run may still be in namespace {}: {why}",
                    self.plan.place(),
                ));
                output::hint("covtap clean removes them");
            }
        }
    }
}

fn set_of(plan: &Plan, cluster: &str) -> Set {
    Set {
        cluster: cluster.to_owned(),
        namespace: plan.place(),
        name: plan.name(),
        whole_namespace: plan.namespace.is_none(),
    }
}

fn lock(record: &Shared) -> MutexGuard<'_, Option<Record>> {
    // A record is whole between two changes.
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What this run makes.
pub(crate) fn plan(image: String, namespace: Option<String>, hold: bool) -> Plan {
    // A clock before 1970 gives a name as well.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    // The machine and the process tell runs of the same moment apart.
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let seed = format!("{host} {} {now}", process::id());
    Plan {
        run: covtap_cluster::image::short_digest(seed.as_bytes()),
        image,
        namespace,
        hold,
        owner: Owner {
            host,
            pid: process::id(),
        },
    }
}

/// The way to the agent of a node.
struct PodDoor {
    agents: Arc<Agents>,
    set: Set,
    record: Shared,
    node: String,
}

impl fmt::Debug for PodDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodDoor")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Door for PodDoor {
    /// The agent is there already, with arguments of its own: whoever opens joins it.
    fn open(&self, _: &[String], _: Option<u32>) -> Result<Opened, Shut> {
        if let Some(record) = &mut *lock(&self.record) {
            record.add(self.set.clone()).map_err(|error| Shut {
                problem: Box::new(Problem::new(
                    Severity::Warning,
                    format!("cluster {}", self.set.cluster),
                    "a record of what is to be removed again",
                    failure::text(&error),
                    "no agents are made there",
                )),
                passing: false,
            })?;
        }
        let exec = self.agents.open(&self.node);
        let exec = exec.map_err(|NotThere { problem, passing }| Shut { problem, passing })?;
        Ok(Opened {
            stream: exec.stream,
            stderr: exec.stderr,
            status: exec.status,
        })
    }

    /// What was made is of all nodes, and goes at the end of the run.
    fn tidy(&self) -> Result<(), Box<Problem>> {
        Ok(())
    }
}
