//! What Kubernetes' own controllers and nodes do in these tests: a Deployment has as many pods as it asks for, each
//! ready at once.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    http::ApiServer,
    objects::{Key, Part},
};
use crate::peers::Replicas;

const DEPLOYMENTS: &str = "apps/deployments";

/// Where there is one in a namespace, no pods are made; its `message` says why.
pub(crate) const QUOTAS: &str = "resourcequotas";

/// Keeps pods as Deployments ask for them, for as long as the runtime lives.
pub(crate) fn run(server: Arc<ApiServer>, replicas: Arc<Replicas>) {
    let mut versions = server.objects.versions();
    tokio::spawn(async move {
        loop {
            for (key, deployment) in server.objects.list(DEPLOYMENTS).0 {
                follow(&server, &replicas, &key, &deployment).await;
            }
            if versions.changed().await.is_err() {
                return;
            }
        }
    });
}

async fn follow(server: &ApiServer, replicas: &Replicas, key: &Key, deployment: &Value) {
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let quota = server.objects.list(QUOTAS).0.into_iter().find(|(quota, _)| quota.namespace == key.namespace);
    let possible = if quota.is_some() { 0 } else { wanted };
    let pod_key = |ordinal: u64| Key::new("pods", &key.namespace, &format!("{}-{ordinal}", key.name));
    for ordinal in 0..possible {
        let there = server.objects.get(&pod_key(ordinal));
        let is_of_template = |pod: &Value| pod["metadata"]["annotations"]["template"] == template(deployment);
        if there.as_ref().is_none_or(|pod| !is_of_template(pod)) {
            let _ = server.objects.delete(&pod_key(ordinal));
            // Its Deployment may be gone by now, and then it is, too.
            let _ = server.objects.create(&pod_key(ordinal), pod(server, &key.namespace, deployment, replicas).await);
        }
    }
    let of_it = server.objects.list("pods").0.into_iter().filter(|(pod, _)| {
        let ordinal = pod.name.strip_prefix(&format!("{}-", key.name)).and_then(|ordinal| ordinal.parse::<u64>().ok());
        pod.namespace == key.namespace && ordinal.is_some_and(|ordinal| ordinal >= possible)
    });
    for (excess, _) in of_it {
        let _ = server.objects.delete(&excess);
    }
    let failure = |quota: Value| json!([{"type": "ReplicaFailure", "status": "True", "message": quota["message"]}]);
    let status = json!({"status": {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": possible,
        "updatedReplicas": possible,
        "readyReplicas": possible,
        "conditions": quota.map(|(_, quota)| failure(quota)),
    }});
    let _ = server.objects.merge(key, Part::Status, &status);
}

fn template(deployment: &Value) -> Value {
    deployment["spec"]["template"].to_string().into()
}

/// A pod that is ready, at an address where a replica of its version tells what it offers.
async fn pod(server: &ApiServer, namespace: &str, deployment: &Value, replicas: &Replicas) -> Value {
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let word = |name: &str| labels[format!("ml.kea-project.io/{name}")].as_str().unwrap_or_default().to_owned();
    let tls = &deployment["spec"]["template"]["metadata"]["annotations"]["ml.kea-project.io/tls"];
    let secret = Key::new("secrets", namespace, &format!("{}-kea-tls", word("service")));
    let secret = tls.is_string().then(|| server.objects.get(&secret).expect("it is there before its pods"));
    let port = replicas.port(&word("service"), &word("version"), secret.as_ref()).await;
    let mut annotations = json!({"template": template(deployment)});
    if secret.is_some() {
        annotations["ml.kea-project.io/tls"] = tls.clone();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": deployment["metadata"]["name"],
                "uid": deployment["metadata"]["uid"],
                "controller": true,
            }],
        },
        "spec": {"containers": [{"name": "model", "ports": [{"name": "kea", "containerPort": port}]}]},
        "status": {
            "phase": "Running",
            "podIP": "127.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}
