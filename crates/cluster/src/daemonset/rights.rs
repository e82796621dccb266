//! Whose pods the agents may tell of: those that whoever makes them may execute programs in, which is the
//! right to see what is in a pod.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use super::manifest::Reachable;
use super::{ANSWER, EFFECT};
use crate::cluster::ask::{self, Place};
use crate::cluster::trouble;
use crate::engine::act::ActError;
use crate::selection::Namespaces;

/// What agents are bound to.
pub(super) struct Bound {
    /// Whose pods they may tell of.
    pub(super) reachable: Reachable,
    /// What was asked for beyond that.
    pub(super) refused: Vec<String>,
}

/// Asks the API what its user may do in the namespaces that are asked for.
pub(super) async fn bound(
    client: &Client,
    cluster: &str,
    asked: &Namespaces,
) -> Result<Bound, ActError> {
    let asked = match asked {
        Namespaces::These(these) => these.clone(),
        Namespaces::Unsaid => vec![client.default_namespace().to_owned()],
        Namespaces::All => {
            // Of no namespace means of all.
            if ask::can_exec(client.clone(), place(cluster, "")).await? {
                return Ok(Bound {
                    reachable: Reachable::Everything,
                    refused: Vec::new(),
                });
            }
            let api: Api<Namespace> = Api::all(client.clone());
            let all = ListParams::default();
            let listed = place(cluster, "")
                .answer("list", "namespaces", || api.list(&all))
                .await?;
            listed.iter().map(ResourceExt::name_any).collect()
        }
    };
    let (mut allowed, mut refused) = (Vec::new(), Vec::new());
    for namespace in asked {
        if ask::can_exec(client.clone(), place(cluster, &namespace)).await? {
            allowed.push(namespace);
        } else {
            refused.push(namespace);
        }
    }
    if allowed.is_empty() {
        let namespace = refused.first().map(String::as_str);
        return Err(ActError::Api(Box::new(trouble::not_allowed(
            trouble::Request {
                cluster,
                verb: "create",
                resource: "pods/exec",
                namespace,
                effect: EFFECT,
            },
        ))));
    }
    Ok(Bound {
        reachable: Reachable::These(allowed),
        refused,
    })
}

fn place<'a>(cluster: &'a str, namespace: &'a str) -> Place<'a> {
    Place {
        cluster,
        namespace,
        timeout: ANSWER,
        effect: EFFECT,
    }
}
