//! Asks a cluster's API who owns an owner.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Client, Error};

use super::book::Wanted;
use super::pod::controller;
use super::trouble::{self, Request};
use crate::backoff::Backoff;
use covtap_model::problem::Problem;

/// How often an owner is asked for before it counts as the top one, when the server is away or too
/// busy: about a minute.
const TRIES: u32 = 32;

/// What was learnt about an owner.
pub(super) struct Answer {
    /// The owner's uid.
    pub(super) uid: String,
    /// What owns it.
    pub(super) owner: Option<OwnerReference>,
    /// Why it could not be learnt.
    pub(super) problem: Option<Problem>,
}

/// Asks who owns an owner. Without an answer it counts as the top one, which is said.
pub(super) async fn ask(client: Client, cluster: String, wanted: Wanted) -> Answer {
    let Wanted { namespace, owner } = wanted;
    let resource = resource(&owner);
    let name = if resource.group.is_empty() {
        resource.plural.clone()
    } else {
        format!("{}.{}", resource.plural, resource.group)
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
    let mut backoff = Backoff::new();
    let mut tries = 0;
    let uid = owner.uid;
    loop {
        tries += 1;
        let error = match api.get_metadata(&owner.name).await {
            // Another object of the same name is no owner.
            Ok(meta) if meta.metadata.uid.as_deref() != Some(&uid) => return top(uid, None),
            Ok(meta) => {
                return Answer {
                    uid,
                    owner: controller(meta.metadata.owner_references.unwrap_or_default()),
                    problem: None,
                };
            }
            // It is gone, or in no namespace, or its plural is an unusual one: no more to be learnt.
            Err(Error::Api(status)) if status.code == 404 => return top(uid, None),
            Err(error) => error,
        };
        let refused = |code| (400..500).contains(&code) && code != 429;
        let refused = matches!(&error, Error::Api(status) if refused(status.code));
        if refused || tries == TRIES {
            let request = Request {
                cluster: &cluster,
                verb: "get",
                resource: &name,
                namespace: Some(&namespace),
                effect: "its pods are listed under it, not under what owns it",
            };
            return top(uid, Some(trouble::of(request, &error).1));
        }
        backoff.wait().await;
    }
}

fn top(uid: String, problem: Option<Problem>) -> Answer {
    Answer {
        uid,
        owner: None,
        problem,
    }
}

/// Where the API has objects of an owner's kind.
fn resource(owner: &OwnerReference) -> ApiResource {
    let (group, version) = owner
        .api_version
        .split_once('/')
        .unwrap_or(("", &owner.api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &owner.kind))
}
