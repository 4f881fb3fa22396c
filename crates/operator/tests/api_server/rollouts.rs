//! Versions that take over step by step, judged by what all routers tell.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::body::Body;
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
    mock::{
        faults::EVENTS,
        objects::{Key, Part},
    },
    peers,
    scene::{DEPLOYMENTS, NAMESPACE, Scene, service, settings},
};

const NAME: &str = "iris";

/// A router of which the requests are made up: whenever it is asked, some more have come.
#[derive(Default)]
struct Router {
    tables: Mutex<Vec<RoutingSnapshot>>,
    requests: Mutex<HashMap<String, u64>>,
    /// The version of which all requests fail.
    fails: Mutex<Option<&'static str>>,
    is_silent: AtomicBool,
}

impl RouteFollower for Router {
    fn follow(&self, snapshot: &RoutingSnapshot) {
        self.tables.lock().unwrap().push(snapshot.clone());
    }
}

impl Traffic for Router {
    fn tally(&self, _: &ServiceId, version: &VersionId) -> Tally {
        let mut requests = self.requests.lock().unwrap();
        let count = requests.entry(version.to_string()).or_default();
        *count += 30;
        let fails = *self.fails.lock().unwrap() == Some(version.as_str());
        let mut tally = Tally { requests: *count, errors: if fails { *count } else { 0 }, ..Tally::default() };
        tally.shadow.counts.same = *count;
        tally
    }
}

impl Router {
    /// A router whose pod is ready, and that follows the cluster.
    async fn start(scene: &Arc<Scene>, name: &'static str) -> Arc<Self> {
        let router = Arc::new(Self::default());
        let trials = Arc::new(Trials::new(router.clone()));
        let gateway = ClusterGateway::new(scene.client(name), settings(), router.clone(), trials.clone());
        gateway.start(&CancellationToken::new()).await;
        let listener = peers::listen().await;
        scene.server.objects.create(&pod(name), pod_at(listener.local_addr().unwrap().port())).unwrap();
        let (asked, of) = (router.clone(), scene.clone());
        peers::serve(listener, move |request| {
            let answer = match asked.is_silent.load(Ordering::SeqCst) {
                true => Err(std::io::Error::other("it hangs up")),
                false => Ok(trials.answer(&token(&of), &request.map(Body::new))),
            };
            std::future::ready(answer)
        });
        router
    }

    fn fails(&self, version: &'static str) {
        *self.fails.lock().unwrap() = Some(version);
    }

    /// The shares that the new version has had, each once. Before its first one it may have been seen to have none.
    fn shares(&self) -> Vec<Option<u8>> {
        let tables = self.tables.lock().unwrap();
        let routes = tables.iter().filter_map(|table| table.services.get(NAME));
        let share = |weight: u8| Some(weight).filter(|weight| *weight > 0);
        let mut shares: Vec<_> = routes.map(|route| share(route.canary.as_ref()?.weight)).collect();
        shares.dedup();
        shares
    }
}

fn pod(name: &str) -> Key {
    Key::new("pods", NAMESPACE, name)
}

fn pod_at(port: u16) -> Value {
    let labels = json!({"app.kubernetes.io/name": "kea", "app.kubernetes.io/component": "router"});
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "router", "ports": [{"name": "peers", "containerPort": port}]}]},
        "status": {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// The token that the operator has made.
fn token(scene: &Scene) -> String {
    let secret = scene.get("secrets", "kea-peers").expect("the operator has made it");
    let data: k8s_openapi::ByteString = serde_json::from_value(secret["data"]["token"].clone()).unwrap();
    String::from_utf8(data.0).unwrap()
}

/// A service whose version 1 is live, and whose next ones take over by steps; and the routers.
async fn scene() -> (Arc<Scene>, crate::scene::Running, [Arc<Router>; 2]) {
    let scene = Arc::new(Scene::new().await);
    scene.deploy(NAME);
    let operator = scene.operator("first");
    scene.until_runs(NAME, "1").await;
    let steps = json!([{"weight": 10, "pause": "100ms"}, {"weight": 60, "pause": "100ms"}]);
    let rules = json!({"spec": {"rollout": {"steps": steps, "minRequests": 20, "maxErrorRate": 0.05}}});
    scene.server.objects.merge(&service(NAME), Part::Whole, &rules).unwrap();
    let routers = [Router::start(&scene, "kea-router-a").await, Router::start(&scene, "kea-router-b").await];
    (scene, operator, routers)
}

fn rollout(scene: &Scene) -> Value {
    scene.status(NAME)["rollout"].clone()
}

/// Every event of a rollout: its reason and what is told.
fn events(scene: &Scene) -> Vec<(String, String)> {
    let events = scene.server.objects.list(EVENTS).0.into_iter();
    let word = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let mut told: Vec<_> = events.map(|(_, event)| (word(&event, "reason"), word(&event, "note"))).collect();
    told.retain(|(reason, _)| reason.starts_with("Rollout"));
    told
}

/// How many replicas the Deployments of a version have asked for, each number once.
fn strengths(scene: &Scene, version: &str) -> Vec<u64> {
    let name = format!("{NAME}-{version}");
    let changes = scene.server.objects.since(0).expect("nothing was forgotten").into_iter();
    let of_it = changes.filter(|change| change.key.resource == DEPLOYMENTS && change.key.name == name);
    let mut strengths: Vec<_> = of_it.filter_map(|change| change.after?["spec"]["replicas"].as_u64()).collect();
    strengths.dedup();
    strengths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_takes_over_by_the_numbers_of_all_routers() {
    let (scene, _operator, routers) = scene().await;
    scene.model(NAME, "2");
    scene.until_runs(NAME, "2").await;
    scene.until("it is told", || rollout(&scene)["weight"] == 100).await;
    let told = rollout(&scene);
    assert_eq!(
        (&told["phase"], &told["from"], &told["step"]),
        (&json!("promoted"), &json!("1"), &json!(2)),
        "{told:#}"
    );
    assert!(told["reason"].as_str().unwrap().contains(" 0 % failed"), "{told:#}");
    for router in &routers {
        scene.until("the router has followed", || router.shares().last() == Some(&None)).await;
        assert_eq!(router.shares(), [None, Some(10), Some(60), None]);
    }
    assert_eq!(strengths(&scene, "1"), [2, 0], "it serves until the other one is live");
    let reasons: Vec<_> = events(&scene).into_iter().map(|(reason, _)| reason).collect();
    assert!(
        reasons.contains(&"RolloutPromoted".into()) && reasons.contains(&"RolloutProgressing".into()),
        "{reasons:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_gets_copies_before_it_gets_a_share() {
    let (scene, _operator, routers) = scene().await;
    let steps = json!([{"shadow": true, "pause": "100ms"}, {"weight": 60, "pause": "100ms"}]);
    scene.server.objects.merge(&service(NAME), Part::Whole, &json!({"spec": {"rollout": {"steps": steps}}})).unwrap();
    scene.model(NAME, "2");
    scene.until_runs(NAME, "2").await;
    for router in &routers {
        scene.until("the router has followed", || router.shares().last() == Some(&None)).await;
        assert_eq!(router.shares(), [None, Some(60), None]);
        let tables = router.tables.lock().unwrap();
        let routes = tables.iter().filter_map(|table| table.services.get(NAME));
        let mut shadows: Vec<_> =
            routes.map(|route| route.shadow.as_ref().map(|shadow| shadow.version.to_string())).collect();
        shadows.dedup();
        assert_eq!(shadows, [None, Some("2".into()), None]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_at_one_router_goes_back_and_can_be_tried_again() {
    let (scene, _operator, routers) = scene().await;
    // More than may, though the other router sees nothing, and may have heard of the step and been asked before.
    routers[0].fails("2");
    scene.model(NAME, "2");
    scene.until("it goes back", || rollout(&scene)["phase"] == "returned").await;
    scene.until("its replicas go", || strengths(&scene, "2").last() == Some(&0)).await;
    let status = scene.status(NAME);
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.starts_with("version 2 went back at step 1 of 2: "), "{reason}");
    assert!(reason.contains(" requests failed, and at most 5 % may"), "{reason}");
    assert!(reason.ends_with("; version 1 keeps serving"), "{reason}");
    assert_eq!(
        (&status["state"], &status["liveVersion"], &status["version"]),
        (&json!("failed"), &json!("1"), &json!("2"))
    );
    let degraded = status["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Degraded").unwrap();
    assert_eq!((&degraded["status"], &degraded["reason"]), (&json!("True"), &json!("RolloutReturned")));
    assert_eq!(strengths(&scene, "1"), [2]);
    for router in &routers {
        assert_eq!(router.shares(), [None, Some(10), None]);
    }
    let (_, told) = events(&scene).into_iter().find(|(reason, _)| reason == "RolloutReturned").unwrap();
    assert!(told.starts_with("version 2 goes back to version 1 at step 1 of 2: "), "{told}");

    *routers[0].fails.lock().unwrap() = None;
    let again = json!({"metadata": {"annotations": {"ml.kea-project.io/try-again": "2999-01-01T00:00:00Z"}}});
    scene.server.objects.merge(&service(NAME), Part::Whole, &again).unwrap();
    scene.until_runs(NAME, "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_operator_goes_on_where_the_first_one_was_killed() {
    let (scene, first, routers) = scene().await;
    routers.iter().for_each(|router| router.is_silent.store(true, Ordering::SeqCst));
    scene.model(NAME, "2");
    let waits =
        || rollout(&scene)["reason"].as_str().is_some_and(|reason| reason.contains("does not tell its numbers"));
    scene.until("it waits for the routers", waits).await;
    let before = rollout(&scene);
    assert_eq!((&before["phase"], &before["weight"]), (&json!("progressing"), &json!(10)));
    first.kill();
    scene.drop_lease();
    let _second = scene.operator("second");
    routers.iter().for_each(|router| router.is_silent.store(false, Ordering::SeqCst));
    scene.until_runs(NAME, "2").await;
    assert_eq!(rollout(&scene)["startedAt"], before["startedAt"]);
    assert_eq!(routers[0].shares(), [None, Some(10), Some(60), None], "no step was begun twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_takes_over_at_once_where_somebody_says_so() {
    let (scene, _operator, routers) = scene().await;
    routers[1].is_silent.store(true, Ordering::SeqCst);
    scene.model(NAME, "2");
    scene.until("it waits", || rollout(&scene)["weight"] == 10).await;
    let promote = json!({"metadata": {"annotations": {"ml.kea-project.io/promote": "2"}}});
    scene.server.objects.merge(&service(NAME), Part::Whole, &promote).unwrap();
    scene.until_runs(NAME, "2").await;
    assert_eq!(rollout(&scene), Value::Null);
}
