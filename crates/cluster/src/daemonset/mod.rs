//! Agents on the nodes of a cluster that no engine of this machine reaches: a DaemonSet, whose pods are
//! reached by Kubernetes' exec stream.
//!
//! ```text
//! first open ─► rights ─► namespace ─► DaemonSet ─► its pods are watched      remove ─► all of it is gone
//!               whose pods   manifest            │ standing: why one does not run
//! every open ─────────────────────────────────► exec `covtap agent --join` in the pod of that node
//! ```
//!
//! The agent itself is the container's first process: it stays when a stream is cut, and the next one joins
//! it. Who started it, and whose pods it may tell of, is settled when it is made.

mod joining;
pub mod manifest;
mod remnant;
mod rights;
mod standing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use covtap_model::problem::{Problem, Severity};
use futures_util::StreamExt;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{WatchStreamExt, watcher::Event as Seen};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::joining::At;
pub use self::manifest::{Owner, Plan, Reachable};
pub use self::remnant::Remnant;
use self::standing::Standing;
use crate::cluster::ask::Place;
use crate::engine::act::{ActError, Exec};
use crate::reach::Reach;
use crate::selection::Namespaces;

/// How long one question to the API may take.
const ANSWER: Duration = Duration::from_secs(20);
/// What comes of a refusal.
const EFFECT: &str = "no agent looks into its nodes";

/// Why there is no agent on a node.
#[derive(Clone, Debug)]
pub struct NotThere {
    /// For a person.
    pub problem: Box<Problem>,
    /// Whether it may be otherwise the next time.
    pub passing: bool,
}

/// The agents of one run in one cluster.
pub struct Agents {
    reach: Reach,
    cluster: String,
    plan: Plan,
    asked: Namespaces,
    state: Mutex<State>,
    /// Whether one of them was joined before: then its user has the right to.
    joined: AtomicBool,
}

/// How it stands with the pods, by node.
type Pods = watch::Receiver<BTreeMap<String, Standing>>;

/// How far it came.
enum State {
    /// Nothing was asked for yet.
    Nothing,
    /// Nobody knows what of it is there: the cluster did not answer, or said that it is not well.
    Unknown,
    /// The cluster refuses. Nothing is there.
    Refused(NotThere),
    Made(Made),
    /// The run is over.
    Over,
}

/// What was made in the cluster.
struct Made {
    place: String,
    name: String,
    /// Namespaces whose pods it does not tell of, though they were asked for.
    refused: Vec<String>,
    pods: Pods,
    watching: AbortHandle,
}

impl Agents {
    /// Agents in a cluster that is followed, for the pods of these namespaces. Nothing is made yet.
    #[must_use]
    pub fn new(reach: Reach, cluster: &str, plan: Plan, asked: Namespaces) -> Self {
        Self {
            reach,
            cluster: cluster.to_owned(),
            plan,
            asked,
            state: Mutex::new(State::Nothing),
            joined: AtomicBool::new(false),
        }
    }

    /// Joins the agent of a node: makes all of them where there are none yet, and waits for the one there.
    ///
    /// # Errors
    /// [`NotThere`]: what the cluster refuses, or why the pod does not run.
    pub fn open(&self, node: &str) -> Result<Exec, NotThere> {
        let (place, name, pods) = self.make()?;
        let client = self.client()?;
        let cluster = self.cluster.clone();
        let node = node.to_owned();
        let opened = self.reach.run(async move {
            let at = At {
                cluster: &cluster,
                place: &place,
                name: &name,
                node: &node,
            };
            Ok(match at.running(&client, pods).await {
                Ok(pod) => at.join(client, &pod).await?,
                Err(not) => Err(not),
            })
        });
        match opened.unwrap_or_else(|error| Err(self.ended(&error))) {
            Ok(exec) => {
                self.joined.store(true, Ordering::Relaxed);
                Ok(exec)
            }
            // A server that has just begun does not know its rules yet, and refuses everything.
            Err(not) => Err(NotThere {
                passing: not.passing || self.joined.load(Ordering::Relaxed),
                ..not
            }),
        }
    }

    /// Namespaces that were asked for and whose pods the agents do not tell of, because whoever made them may
    /// execute nothing there. Known after the first [`Agents::open`].
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        match &*self.lock() {
            State::Made(made) => made.refused.clone(),
            _ => Vec::new(),
        }
    }

    /// Removes what was made; nothing is made any more. Nothing to remove is no error. The cluster goes on with
    /// that by itself.
    ///
    /// # Errors
    /// When the cluster refuses or does not answer: `covtap clean` tries again.
    pub fn remove(&self) -> Result<(), ActError> {
        match std::mem::replace(&mut *self.lock(), State::Over) {
            State::Nothing | State::Refused(_) | State::Over => return Ok(()),
            State::Made(made) => made.watching.abort(),
            State::Unknown => {}
        }
        self.reach.remove_remnant(&self.plan.remnant(&self.cluster))
    }

    /// Makes all of them, once.
    fn make(&self) -> Result<(String, String, Pods), NotThere> {
        let mut state = self.lock();
        if matches!(*state, State::Nothing | State::Unknown) {
            match self.make_now() {
                Ok(made) => *state = State::Made(made),
                Err(not) if not.passing => {
                    *state = State::Unknown;
                    return Err(not);
                }
                Err(not) => *state = State::Refused(not),
            }
        }
        match &*state {
            State::Made(made) => Ok((made.place.clone(), made.name.clone(), made.pods.clone())),
            State::Refused(not) => Err(not.clone()),
            State::Nothing | State::Unknown | State::Over => Err(self.ended(&ActError::Ended)),
        }
    }

    fn make_now(&self) -> Result<Made, NotThere> {
        let client = self.client()?;
        let (cluster, plan, asked) = (self.cluster.clone(), self.plan.clone(), self.asked.clone());
        let made = self.reach.run(async move {
            let bound = rights::bound(&client, &cluster, &asked).await?;
            let refused = bound.refused.clone();
            let (place, name) = create(&client, &cluster, &plan, bound.reachable).await?;
            let (tell, pods) = watch::channel(BTreeMap::new());
            let watching = tokio::spawn(follow(client, place.clone(), name.clone(), tell));
            Ok(Made {
                place,
                name,
                refused,
                pods,
                watching: watching.abort_handle(),
            })
        });
        made.map_err(|error| match error {
            ActError::Api(problem) => NotThere {
                problem: Box::new(admission(*problem)),
                passing: false,
            },
            ActError::Unwell(problem) => NotThere {
                problem,
                passing: true,
            },
            error => self.ended(&error),
        })
    }

    fn client(&self) -> Result<Client, NotThere> {
        self.reach
            .client_of(&self.cluster)
            .map_err(|error| self.ended(&error))
    }

    fn ended(&self, error: &ActError) -> NotThere {
        NotThere {
            problem: Box::new(Problem::new(
                Severity::Warning,
                format!("cluster {}", self.cluster),
                "an answer of its API",
                error.to_string(),
                EFFECT,
            )),
            passing: true,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // It is replaced whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A refusal of what checks objects is not one of rights: granting something does not help.
fn admission(problem: Problem) -> Problem {
    if ["PodSecurity", "admission", "exceeded quota"]
        .iter()
        .any(|word| problem.found.contains(word))
    {
        return problem.hint(
            "no agent is allowed there: an administrator may make its namespace (covtap agent manifest; then \
             --agent-namespace), or collect files: --route files",
        );
    }
    problem
}

/// Makes the namespace, where it is one of our own, and the DaemonSet. Returns their names. What is there
/// already an earlier try has made, as their names are those of no other run.
async fn create(
    client: &Client,
    cluster: &str,
    plan: &Plan,
    reachable: Reachable,
) -> Result<(String, String), ActError> {
    let place = plan.place();
    let params = PostParams::default();
    let ask = |namespace| Place {
        cluster,
        namespace,
        timeout: ANSWER,
        effect: EFFECT,
    };
    let spaces: Api<Namespace> = Api::all(client.clone());
    if plan.namespace.is_none() {
        let namespace = manifest::namespace(plan);
        ask("")
            .once("create", "namespaces", || {
                spaces.create(&params, &namespace)
            })
            .await?;
    }
    let api: Api<DaemonSet> = Api::namespaced(client.clone(), &place);
    let set = manifest::daemonset(plan, &reachable);
    let created = ask(&place)
        .once("create", "daemonsets.apps", || api.create(&params, &set))
        .await;
    if let Err(error) = created {
        if plan.namespace.is_none() && matches!(error, ActError::Api(_)) {
            let params = DeleteParams::default();
            // What went wrong first is what a person should know.
            let _ = ask("")
                .answer("delete", "namespaces", || spaces.delete(&place, &params))
                .await;
        }
        return Err(error);
    }
    Ok((place, set.name_any()))
}

/// Follows the pods of a DaemonSet, until it is aborted or nobody wants to know.
async fn follow(
    client: Client,
    place: String,
    name: String,
    tell: watch::Sender<BTreeMap<String, Standing>>,
) {
    let api: Api<Pod> = Api::namespaced(client, &place);
    let config = watcher::Config::default().labels(&manifest::selector(&name));
    let stream = watcher(api, config).default_backoff();
    let mut events = std::pin::pin!(stream);
    let mut listed = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Seen::Init) => listed = BTreeMap::new(),
            Ok(Seen::InitApply(pod)) => listed.extend(standing::of(&pod)),
            Ok(Seen::InitDone) => tell.send_modify(|pods| *pods = std::mem::take(&mut listed)),
            Ok(Seen::Apply(pod)) => tell.send_modify(|pods| pods.extend(standing::of(&pod))),
            Ok(Seen::Delete(pod)) => tell.send_modify(|pods| {
                let name = pod.name_any();
                pods.retain(|_, standing| standing.pod != name);
            }),
            // It is tried again; who waits is told at the end of its patience.
            Err(_) => {}
        }
    }
}
