//! What the operator does for the routers.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use serde_json::json;

use crate::{error::said, names, pods, settings::ClusterSettings};

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

/// Whether all routers can speak mutual TLS. Those of an earlier KEA, that an upgrade has not replaced yet, cannot, and
/// would reach no replica that wants it.
pub(crate) fn speak_tls(routers: &[Arc<Pod>]) -> bool {
    let has_ended = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Failed" | "Succeeded"))
    };
    routers.iter().all(|pod| pods::speaks_tls(pod) || has_ended(pod) || !pods::stays(pod))
}

/// Labels by which a NetworkPolicy knows KEA's own namespace, the best first. Kubernetes sets the first one itself, since
/// 1.21; the second one is on a Namespace that the manifests made.
const NAMESPACE_LABELS: [&str; 2] = ["kubernetes.io/metadata.name", "app.kubernetes.io/name"];

/// Where routers and operators are, as a NetworkPolicy can say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the namespace of the services.
    Same,
    /// In namespaces with this label: its name and value.
    Labelled(&'static str, String),
    /// In any namespace: nothing tells KEA's own from others.
    Anywhere,
}

/// Looks at KEA's own namespace. Where its labels cannot be seen, models stay reachable from pods of all namespaces that
/// have the routers' labels, since routers that are cut off would be worse.
pub(crate) async fn home(client: &Client, settings: &ClusterSettings) -> Home {
    if !settings.all_namespaces {
        return Home::Same;
    }
    let namespace = &settings.namespace;
    let found = match Api::<Namespace>::all(client.clone()).get(namespace).await {
        Ok(found) => home_by(namespace, found.labels()),
        Err(error) => {
            tracing::warn!(namespace, "the labels of KEA's namespace cannot be read: {}", said(&error));
            Home::Anywhere
        }
    };
    if found == Home::Anywhere {
        tracing::warn!(
            namespace,
            "NetworkPolicies admit pods of all namespaces that have the routers' labels: apply the manifests of this KEA, \
             `kubectl label namespace {namespace} app.kubernetes.io/name=kea`, and start the operators again"
        );
    }
    found
}

fn home_by(namespace: &str, labels: &BTreeMap<String, String>) -> Home {
    let expected = [namespace, "kea"];
    let labelled = NAMESPACE_LABELS.into_iter().zip(expected);
    let mut found = labelled.filter(|(label, value)| labels.get(*label).is_some_and(|found| found == value));
    found.next().map_or(Home::Anywhere, |(label, value)| Home::Labelled(label, value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[(&str, &str)]) -> Home {
        let labels = labels.iter().map(|(label, value)| ((*label).to_string(), (*value).to_string())).collect();
        home_by("models", &labels)
    }

    #[test]
    fn the_namespace_is_known_by_kubernetes_own_label_or_by_that_of_the_manifests() {
        let own = ("kubernetes.io/metadata.name", "models");
        let of_manifests = ("app.kubernetes.io/name", "kea");
        assert_eq!(of(&[own, of_manifests]), Home::Labelled(own.0, "models".into()));
        assert_eq!(of(&[of_manifests]), Home::Labelled(of_manifests.0, "kea".into()));
    }

    #[test]
    fn routers_of_an_earlier_kea_speak_no_tls_until_they_are_gone() {
        let pod = |value| Arc::new(serde_json::from_value::<Pod>(value).unwrap());
        let new = || pod(json!({"metadata": {"annotations": {"ml.kea-project.io/tls": "mutual"}}}));
        let earlier = || pod(json!({"metadata": {}, "status": {"phase": "Running"}}));
        assert!(speak_tls(&[]) && speak_tls(&[new(), new()]));
        assert!(!speak_tls(&[new(), earlier()]));
        let leaving = pod(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        assert!(speak_tls(&[new(), leaving, pod(json!({"metadata": {}, "status": {"phase": "Failed"}}))]));
    }

    #[test]
    fn a_namespace_without_such_labels_cuts_no_router_off() {
        assert_eq!(of(&[]), Home::Anywhere);
        assert_eq!(of(&[("app.kubernetes.io/name", "other"), ("kubernetes.io/metadata.name", "")]), Home::Anywhere);
    }
}
