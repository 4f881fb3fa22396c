//! What the operator does for the routers.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use serde_json::json;

use crate::names;

/// The routers' Deployment.
const ROUTERS: &str = "kea-router";

/// Lets nodes be emptied one router at a time. It is made here and not by the manifests, since its API is another one
/// before Kubernetes 1.21; it goes with the routers.
pub(crate) async fn keep_most(client: &Client, namespace: &str, budgets: &ApiResource) -> Result<(), kube::Error> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let Some(routers) = deployments.get_opt(ROUTERS).await? else { return Ok(()) };
    let labels = json!({"app.kubernetes.io/name": "kea", "app.kubernetes.io/component": "router"});
    let budget = json!({
        "apiVersion": budgets.api_version,
        "kind": budgets.kind,
        "metadata": {
            "name": ROUTERS,
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": ROUTERS,
                "uid": routers.uid().unwrap_or_default(),
            }],
        },
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
    });
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, budgets);
    api.patch(ROUTERS, &PatchParams::apply(names::FIELD_MANAGER).force(), &Patch::Apply(&budget)).await.map(drop)
}
