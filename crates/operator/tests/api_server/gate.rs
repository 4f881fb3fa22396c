//! Versions that would break callers of the live one: they get no requests, their pods go, and the conditions say why.

use std::sync::{Arc, Mutex};

use kea_core::{
    ServiceId, VersionId,
    port::{RouteFollower, Traffic},
    routing::RoutingSnapshot,
    tally::Tally,
};
use kea_operator::{ClusterGateway, Trials};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    mock::{faults::EVENTS, objects::Part},
    scene::{DEPLOYMENTS, Running, Scene, service, settings},
};

const NAME: &str = "iris";

/// The versions of every table that a router was given.
#[derive(Default)]
struct Tables(Mutex<Vec<Vec<String>>>);

impl RouteFollower for Tables {
    fn follow(&self, snapshot: &RoutingSnapshot) {
        let Some(route) = snapshot.services.get(NAME) else { return };
        let versions = route.versions.iter().map(|version| version.version.to_string()).collect();
        self.0.lock().unwrap().push(versions);
    }
}

impl Traffic for Tables {
    fn tally(&self, _: &ServiceId, _: &VersionId) -> Tally {
        Tally::default()
    }
}

/// A service whose version 1 is live, a router, and images of a version 2 that has another function.
async fn scene() -> (Scene, Running, Arc<Tables>) {
    let scene = Scene::new().await;
    scene.replicas_have("2", "classify");
    scene.deploy(NAME);
    let operator = scene.operator("only");
    scene.until_runs(NAME, "1").await;
    let tables = Arc::new(Tables::default());
    let trials = Arc::new(Trials::new(tables.clone()));
    let gateway = ClusterGateway::new(scene.client("router"), settings(), tables.clone(), trials);
    gateway.start(&CancellationToken::new()).await;
    (scene, operator, tables)
}

/// What the condition `Degraded` says: its reason and its message.
fn degraded(scene: &Scene) -> (String, String) {
    let status = scene.status(NAME);
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let condition = conditions.into_iter().find(|condition| condition["type"] == "Degraded").unwrap_or_default();
    let word = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (word("reason"), word("message"))
}

fn replicas(scene: &Scene, version: &str) -> Value {
    scene.get(DEPLOYMENTS, &format!("{NAME}-{version}")).map_or(Value::Null, |it| it["spec"]["replicas"].clone())
}

async fn until_held_back(scene: &Scene, tables: &Tables) {
    let is_held_back = || degraded(scene).0 == "BreakingChange" && replicas(scene, "2") == 0;
    scene.until("it is held back", is_held_back).await;
    let message = degraded(scene).1;
    assert!(message.contains("it would break callers of version 1 (predict: was a function, is gone: "), "{message}");
    let status = scene.status(NAME);
    assert_eq!((&status["state"], &status["liveVersion"]), (&json!("failed"), &json!("1")));
    assert_eq!(replicas(scene, "1"), 2);
    assert!(tables.0.lock().unwrap().iter().all(|versions| versions == &["1"]), "it was routed");
    let told = |event: &Value| event["note"].as_str().is_some_and(|note| note.contains("would break callers"));
    let is_told = || scene.server.objects.list(EVENTS).0.iter().any(|(_, event)| told(event));
    scene.until("an event tells it", is_told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_would_break_callers_is_held_back_until_somebody_allows_it() {
    let (scene, _operator, tables) = scene().await;
    scene.model(NAME, "2");
    until_held_back(&scene, &tables).await;
    let allowed = json!({"metadata": {"annotations": {"ml.kea-project.io/allow-breaking": "2"}}});
    scene.server.objects.merge(&service(NAME), Part::Whole, &allowed).unwrap();
    scene.until_runs(NAME, "2").await;
    assert_eq!(degraded(&scene).0, "AsAsked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_would_break_callers_gets_none_of_their_requests() {
    let (scene, _operator, tables) = scene().await;
    let canary = json!({"spec": {"canary": {"version": "2", "weight": 50}}});
    scene.server.objects.merge(&service(NAME), Part::Whole, &canary).unwrap();
    scene.model(NAME, "2");
    until_held_back(&scene, &tables).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_would_break_callers_goes_back_before_its_first_share() {
    let (scene, _operator, tables) = scene().await;
    let steps = json!({"spec": {"rollout": {"steps": [{"weight": 10, "pause": "100ms"}], "minRequests": 1}}});
    scene.server.objects.merge(&service(NAME), Part::Whole, &steps).unwrap();
    scene.model(NAME, "2");
    let is_back = || scene.status(NAME)["rollout"]["phase"] == "returned" && replicas(&scene, "2") == 0;
    scene.until("it goes back", is_back).await;
    let (reason, message) = degraded(&scene);
    assert_eq!(reason, "RolloutReturned");
    assert!(message.contains("at step 1 of 1: it does not run: it would break callers of version 1"), "{message}");
    let shares = scene.status(NAME)["rollout"]["weight"].clone();
    assert_eq!((shares, replicas(&scene, "1")), (json!(0), json!(2)));
    assert!(!tables.0.lock().unwrap().is_empty());
}
