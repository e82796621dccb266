//! Questions that a cluster's API answers on demand.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{self as core, Pod};
use kube::api::{Api, ListParams, LogParams, PostParams};
use kube::{Client, Error};

use super::pod::time;
use super::trouble::{self, Kind, Request};
use crate::backoff::Backoff;
use crate::engine::act::ActError;
use crate::facts::Event;

/// The largest log that is taken, in bytes.
const LARGEST_LOG: i64 = 1 << 20;
/// Answers of a server that is too busy, or of what stands before one that is not there.
const BUSY: [u16; 3] = [429, 503, 504];

/// Where something is asked, and how long the answer may take.
pub(crate) struct Place<'a> {
    pub(crate) cluster: &'a str,
    /// Empty for what is in none, and for all of them.
    pub(crate) namespace: &'a str,
    pub(crate) timeout: Duration,
    /// What comes of having no answer.
    pub(crate) effect: &'a str,
}

impl Place<'_> {
    /// The answer, or why there is none. A server that is too busy is asked again.
    pub(crate) async fn answer<T, F: Future<Output = Result<T, Error>>>(
        &self,
        verb: &str,
        resource: &str,
        ask: impl Fn() -> F,
    ) -> Result<T, ActError> {
        let answered = async {
            let mut backoff = Backoff::new();
            loop {
                match ask().await {
                    Err(Error::Api(status)) if BUSY.contains(&status.code) => backoff.wait().await,
                    answered => return answered,
                }
            }
        };
        match tokio::time::timeout(self.timeout, answered).await {
            Err(_) => Err(ActError::Slow(format!("cluster {}", self.cluster))),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let request = Request {
                    cluster: self.cluster,
                    verb,
                    resource,
                    namespace: Some(self.namespace).filter(|name| !name.is_empty()),
                    effect: self.effect,
                };
                let (kind, problem) = trouble::of(request, &error);
                Err(match kind {
                    Kind::Unreachable | Kind::Answer(500..) => ActError::Unwell(Box::new(problem)),
                    _ => ActError::Api(Box::new(problem)),
                })
            }
        }
    }

    /// As [`Place::answer`], where what is not there needs nothing.
    pub(crate) async fn optional<T, F: Future<Output = Result<T, Error>>>(
        &self,
        verb: &str,
        resource: &str,
        ask: impl Fn() -> F,
    ) -> Result<(), ActError> {
        self.unless(404, verb, resource, ask).await
    }

    /// As [`Place::answer`], where what is there already needs nothing.
    pub(crate) async fn once<T, F: Future<Output = Result<T, Error>>>(
        &self,
        verb: &str,
        resource: &str,
        ask: impl Fn() -> F,
    ) -> Result<(), ActError> {
        self.unless(409, verb, resource, ask).await
    }

    async fn unless<T, F: Future<Output = Result<T, Error>>>(
        &self,
        done: u16,
        verb: &str,
        resource: &str,
        ask: impl Fn() -> F,
    ) -> Result<(), ActError> {
        let asked = || async {
            match ask().await {
                Err(Error::Api(status)) if status.code == done => Ok(()),
                answered => answered.map(|_| ()),
            }
        };
        self.answer(verb, resource, asked).await
    }
}

/// The events about an object, oldest first.
pub(crate) async fn events(
    client: Client,
    place: Place<'_>,
    uid: &str,
) -> Result<Vec<Event>, ActError> {
    let api: Api<core::Event> = Api::namespaced(client, place.namespace);
    let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let listed = place.answer("list", "events", || api.list(&about)).await?;
    let mut events: Vec<Event> = listed.items.into_iter().map(event).collect();
    events.sort_by_key(|event| event.last);
    Ok(events)
}

fn event(event: core::Event) -> Event {
    let last = time(event.last_timestamp)
        .or_else(|| event.event_time.map(|time| time.0.into()))
        .or_else(|| time(event.metadata.creation_timestamp));
    Event {
        kind: event.type_.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
        count: event.count.unwrap_or(1),
        last,
    }
}

/// Which log of a pod.
#[derive(Clone, Debug)]
pub struct Log {
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// That of the life before this one.
    pub previous: bool,
    /// How many of the last lines.
    pub lines: u32,
}

/// The last lines of a log.
pub(crate) async fn logs(client: Client, place: Place<'_>, log: &Log) -> Result<String, ActError> {
    let api: Api<Pod> = Api::namespaced(client, place.namespace);
    let params = LogParams {
        container: Some(log.container.clone()),
        previous: log.previous,
        tail_lines: Some(log.lines.into()),
        limit_bytes: Some(LARGEST_LOG),
        ..LogParams::default()
    };
    place
        .answer("get", "pods/log", || api.logs(&log.pod, &params))
        .await
}

/// Whether pods of a namespace may be executed in.
pub(crate) async fn can_exec(client: Client, place: Place<'_>) -> Result<bool, ActError> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(place.namespace.to_owned()),
                verb: Some("create".into()),
                resource: Some("pods".into()),
                subresource: Some("exec".into()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let params = PostParams::default();
    let api: Api<SelfSubjectAccessReview> = Api::all(client);
    let answer = place
        .answer(
            "create",
            "selfsubjectaccessreviews.authorization.k8s.io",
            || api.create(&params, &review),
        )
        .await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
