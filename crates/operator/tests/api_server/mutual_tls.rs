//! Mutual TLS with replicas is turned on and off while they run.

use std::sync::{Arc, Mutex};

use kea_core::{
    ServiceId, VersionId,
    port::{RouteFollower, Traffic},
    routing::RoutingSnapshot,
    tally::Tally,
};
use kea_http::replica_tls::ReplicaTls;
use kea_operator::{ClusterGateway, ClusterSettings, Trials};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    mock::objects::{Key, Part},
    scene::{DEPLOYMENTS, NAMESPACE, Scene, service, settings},
};

const TLS: &str = "ml.kea-project.io/tls";

fn mutual() -> ClusterSettings {
    ClusterSettings { replica_mtls: true, ..settings() }
}

/// Whether the pods of a version are to speak TLS.
fn is_mutual(scene: &Scene, deployment: &str) -> bool {
    let found = scene.get(DEPLOYMENTS, deployment).unwrap_or_default();
    found["spec"]["template"]["metadata"]["annotations"][TLS] == "mutual"
}

/// The names that certificates of replicas must have, as the router was told last.
#[derive(Default)]
struct Names(Mutex<Vec<Option<String>>>);

impl RouteFollower for Names {
    fn follow(&self, snapshot: &RoutingSnapshot) {
        let route = snapshot.services.get("iris");
        let replicas = route.into_iter().flat_map(|route| &route.versions).flat_map(|version| &version.replicas);
        *self.0.lock().unwrap() = replicas.map(|replica| replica.tls_name.as_deref().map(str::to_owned)).collect();
    }
}

impl Traffic for Names {
    fn tally(&self, _: &ServiceId, _: &VersionId) -> Tally {
        Tally::default()
    }
}

#[tokio::test]
async fn replicas_speak_mutual_tls_while_it_is_on_and_routers_hear_of_each() {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let plain = scene.operator("plain");
    scene.until_runs("iris", "1").await;
    let (names, tls, stop) = (Arc::new(Names::default()), Arc::new(ReplicaTls::awaiting()), CancellationToken::new());
    let trials = Arc::new(Trials::new(names.clone()));
    let gateway = ClusterGateway::new(scene.client("router"), settings(), names.clone(), trials);
    gateway.with_replica_tls(tls).start(&stop).await;
    let told = |name: Option<&str>| *names.0.lock().unwrap() == vec![name.map(str::to_owned); 2];
    scene.until("the router has its table", || told(None)).await;
    plain.stop().await;

    let on = scene.operator_with("on", mutual());
    scene.until("all are to be reached by TLS", || told(Some("iris.team.svc"))).await;
    let secret = scene.get("secrets", "iris-kea-tls").unwrap();
    assert_eq!(secret["metadata"]["ownerReferences"][0]["name"], "iris");
    let gateway = scene.get("secrets", "kea-replica-client").unwrap();
    assert_ne!(secret["data"]["ca.crt"], gateway["data"]["ca.crt"], "each side believes the other");
    // What a new version offers is asked for within TLS.
    scene.model("iris", "2");
    scene.until_runs("iris", "2").await;
    assert!(is_mutual(&scene, "iris-2"));
    on.stop().await;

    let _off = scene.operator("off");
    scene.until("all are reached without", || told(None)).await;
    scene.until_runs("iris", "2").await;
    stop.cancel();
}

#[tokio::test]
async fn replicas_wait_for_routers_of_an_earlier_kea() {
    let scene = Scene::new().await;
    let router = Key::new("pods", NAMESPACE, "kea-router-1");
    let labels = json!({"app.kubernetes.io/name": "kea", "app.kubernetes.io/component": "router"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": labels}, "spec": {"containers": []}});
    scene.server.objects.create(&router, pod).unwrap();
    scene.deploy("iris");
    let _operator = scene.operator_with("only", mutual());
    scene.until_runs("iris", "1").await;
    assert!(!is_mutual(&scene, "iris-1"));
    let speaks = json!({"metadata": {"annotations": {TLS: "mutual"}}});
    scene.server.objects.merge(&router, Part::Whole, &speaks).unwrap();
    scene.until("its pods speak TLS", || is_mutual(&scene, "iris-1")).await;
}

#[tokio::test]
async fn a_certificate_that_is_lost_is_made_again_also_of_a_service_that_is_paused() {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let _operator = scene.operator_with("only", mutual());
    scene.until_runs("iris", "1").await;
    let key = Key::new("secrets", NAMESPACE, "iris-kea-tls");
    let before = scene.get("secrets", "iris-kea-tls").unwrap();
    let pause = json!({"spec": {"paused": true}});
    scene.server.objects.merge(&service("iris"), Part::Whole, &pause).unwrap();
    scene.until("it is paused", || scene.status("iris")["conditions"].to_string().contains("Paused")).await;
    scene.server.objects.delete(&key).unwrap();
    scene.touch("iris");
    scene.until("there is another one", || scene.get("secrets", "iris-kea-tls").is_some()).await;
    let after = scene.get("secrets", "iris-kea-tls").unwrap();
    let part = |secret: &Value, name: &str| secret["data"][name].clone();
    assert_ne!(part(&before, "tls.crt"), part(&after, "tls.crt"));
    assert_eq!(part(&before, "ca.crt"), part(&after, "ca.crt"));
}
