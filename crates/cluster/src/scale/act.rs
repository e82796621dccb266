//! The requests that end services and bring them back.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
};
use kube::core::GroupVersionKind;
use kube::{Client, Error};

use super::{Delete, Replicas, Scalable};
use crate::cluster::ask::Place;
use crate::engine::act::ActError;

/// Where the API has a workload.
fn api(client: Client, of: &Scalable) -> (Api<DynamicObject>, String) {
    let group = match of.resource().and_then(|name| name.split_once('.')) {
        Some((_, group)) => group,
        None => "",
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", &of.kind));
    let name = of.resource().unwrap_or(&resource.plural).to_owned();
    let api = Api::namespaced_with(client, &of.namespace, &resource);
    (api, format!("{name}/scale"))
}

pub(super) async fn replicas(
    client: Client,
    place: Place<'_>,
    of: &Scalable,
) -> Result<Option<Replicas>, ActError> {
    let (api, resource) = api(client, of);
    let scale = place.answer("get", &resource, || async {
        match api.get_scale(&of.name).await {
            Err(Error::Api(status)) if status.code == 404 => Ok(None),
            answered => answered.map(Some),
        }
    });
    Ok(scale.await?.map(|scale| Replicas {
        uid: scale.metadata.uid.unwrap_or_default(),
        wanted: scale
            .spec
            .and_then(|spec| spec.replicas)
            .unwrap_or_default(),
    }))
}

pub(super) async fn scale(
    client: Client,
    place: Place<'_>,
    of: &Scalable,
    replicas: i32,
) -> Result<(), ActError> {
    let (api, resource) = api(client, of);
    let patch = Patch::Merge(serde_json::json!({"spec": {"replicas": replicas}}));
    let params = PatchParams::default();
    place
        .answer("patch", &resource, || {
            api.patch_scale(&of.name, &params, &patch)
        })
        .await?;
    Ok(())
}

pub(super) async fn delete_pod(
    client: Client,
    place: Place<'_>,
    pod: &Delete,
) -> Result<(), ActError> {
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace);
    let params = DeleteParams::default()
        .grace_period(pod.grace)
        .preconditions(Preconditions {
            uid: Some(pod.uid.clone()),
            ..Preconditions::default()
        });
    let deleted = place.answer("delete", "pods", || async {
        match api.delete(&pod.name, &params).await {
            // It is gone, or another one has its name.
            Err(Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            answered => answered.map(|_| ()),
        }
    });
    deleted.await
}

pub(super) async fn scalers(
    client: Client,
    place: Place<'_>,
    of: &Scalable,
) -> Result<Vec<String>, ActError> {
    let all = ListParams::default();
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &of.namespace);
    let listed = place
        .answer("list", "horizontalpodautoscalers.autoscaling", || {
            autoscalers.list(&all)
        })
        .await?;
    let mut found = Vec::new();
    for autoscaler in listed {
        let target = autoscaler.spec.scale_target_ref;
        if target.kind == of.kind && target.name == of.name {
            let name = autoscaler.metadata.name.unwrap_or_default();
            found.push(format!("horizontalpodautoscaler/{name}"));
        }
    }
    let keda = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "keda.sh",
        "v1alpha1",
        "ScaledObject",
    ));
    let objects: Api<DynamicObject> = Api::namespaced_with(client, &of.namespace, &keda);
    let listed = place.answer("list", "scaledobjects.keda.sh", || async {
        match objects.list(&all).await {
            // The cluster has no KEDA.
            Err(Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            answered => answered.map(|list| list.items),
        }
    });
    for object in listed.await? {
        let target = &object.data["spec"]["scaleTargetRef"];
        // KEDA takes a deployment where no kind is said.
        let kind = target["kind"].as_str().unwrap_or("Deployment");
        if kind == of.kind && target["name"].as_str() == Some(&of.name) {
            let name = object.metadata.name.unwrap_or_default();
            found.push(format!("scaledobject/{name}"));
        }
    }
    Ok(found)
}
