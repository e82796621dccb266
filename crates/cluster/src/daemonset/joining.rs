//! Waits for the agent of one node, and says why there is none.

use std::time::Duration;

use covtap_model::problem::{Problem, Severity};
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, ListParams};

use super::manifest::CONTAINER;
use super::standing::Standing;
use super::{ANSWER, EFFECT, NotThere, Pods, admission};
use crate::cluster::{exec, trouble};
use crate::engine::act::{ActError, Exec};

/// How long a pod may take to run before it is said why it does not, or that nobody knows.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long no pod may be there before it is asked why.
const ABSENT: Duration = Duration::from_secs(3);

/// The agent of one node.
pub(super) struct At<'a> {
    pub(super) cluster: &'a str,
    pub(super) place: &'a str,
    pub(super) name: &'a str,
    pub(super) node: &'a str,
}

impl At<'_> {
    /// The name of its pod, once it runs.
    pub(super) async fn running(
        &self,
        client: &Client,
        mut pods: Pods,
    ) -> Result<String, NotThere> {
        let absent = tokio::time::sleep(ABSENT);
        let late = tokio::time::sleep(PATIENCE);
        let mut asked = false;
        tokio::pin!(absent, late);
        loop {
            let standing = pods.borrow_and_update().get(self.node).cloned();
            match &standing {
                Some(Standing {
                    pod,
                    trouble: None,
                    runs: true,
                    ..
                }) => return Ok(pod.clone()),
                Some(Standing {
                    trouble: Some(trouble),
                    ..
                }) => return Err(self.not_there(trouble.clone(), false)),
                _ => {}
            }
            tokio::select! {
                changed = pods.changed() => if changed.is_err() {
                    return Err(self.not_there("it was removed".into(), false));
                },
                () = &mut absent, if !asked => {
                    asked = true;
                    if standing.is_none() && let Some(why) = self.refusal(client).await {
                        return Err(self.not_there(why, false));
                    }
                }
                () = &mut late => {
                    let why = standing.map_or_else(
                        || "no pod of the DaemonSet on it: does it take pods?".to_owned(),
                        |standing| format!("pod {} is {}", standing.pod, standing.phase),
                    );
                    return Err(self.not_there(why, true));
                }
            }
        }
    }

    /// Why the cluster makes no pods of the DaemonSet, as its events say.
    async fn refusal(&self, client: &Client) -> Option<String> {
        let api: Api<Event> = Api::namespaced(client.clone(), self.place);
        let about = format!(
            "involvedObject.name={},involvedObject.kind=DaemonSet,reason=FailedCreate",
            self.name
        );
        // Who may not read events waits for the end of patience.
        let events = api.list(&ListParams::default().fields(&about)).await.ok()?;
        let mut said = events.items.into_iter().filter_map(|event| event.message);
        // A new namespace has no service account for a moment, without which there is no pod.
        said.rfind(|message| !message.contains("error looking up service account"))
    }

    /// Joins the agent in a pod.
    pub(super) async fn join(
        &self,
        client: Client,
        pod: &str,
    ) -> Result<Result<Exec, NotThere>, ActError> {
        let argv = ["covtap", "agent", "--join"];
        let exec = exec::exec(client, self.place, pod, CONTAINER, &argv);
        // A server that is just beginning takes a request and says nothing.
        match tokio::time::timeout(ANSWER, exec).await {
            Ok(joined) => Ok(joined.map_err(|error| self.refused("get", "pods/exec", &error))),
            Err(_) => Err(ActError::Slow(format!("cluster {}", self.cluster))),
        }
    }

    fn refused(&self, verb: &str, resource: &str, error: &kube::Error) -> NotThere {
        let request = trouble::Request {
            cluster: self.cluster,
            verb,
            resource,
            namespace: Some(self.place),
            effect: EFFECT,
        };
        let (kind, problem) = trouble::of(request, error);
        NotThere {
            problem: Box::new(problem),
            passing: kind != trouble::Kind::Forbidden,
        }
    }

    fn not_there(&self, found: String, passing: bool) -> NotThere {
        let problem = Problem::new(
            Severity::Warning,
            format!("node {}", self.node),
            format!("an agent: a pod of DaemonSet {}/{}", self.place, self.name),
            found,
            "nothing that runs there is collected",
        );
        NotThere {
            problem: Box::new(admission(problem)),
            passing,
        }
    }
}
