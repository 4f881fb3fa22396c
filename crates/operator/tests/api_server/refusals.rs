//! What Kubernetes refuses, and what is not even asked of it: the reason reaches whoever asks for the status.

use serde_json::{Value, json};

use crate::{
    mock::{
        controllers::QUOTAS,
        faults::{Asked, EVENTS, Fault, Rule, Verb},
        objects::{Key, Part},
    },
    scene::{DEPLOYMENTS, MODELS, NAMESPACE, SERVICES, Scene, service},
};

fn writes_deployment(asked: &Asked) -> bool {
    asked.is(Verb::Patch, DEPLOYMENTS) && asked.key.name == "bad-1"
}

fn condition(status: &Value, kind: &str) -> Value {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default()
}

/// Whether the status says of a service that it failed for this reason.
fn is_told(scene: &Scene, name: &str, reason: &str, message: &str) -> bool {
    let status = scene.status(name);
    let degraded = condition(&status, "Degraded");
    let says = |text: &Value| text.as_str().is_some_and(|text| text.contains(message));
    status["state"] == "failed"
        && says(&status["reason"])
        && says(&degraded["message"])
        && (&degraded["status"], &degraded["reason"]) == (&json!("True"), &json!(reason))
}

/// Time passes: another service is deployed, which none of this is to disturb. What happened to services before has been
/// seen by then, since all of them are watched at once.
async fn meanwhile(scene: &Scene, other: &str) {
    scene.deploy(other);
    scene.until_runs(other, "1").await;
}

async fn check_refused(code: u16, reason: &'static str, message: &'static str) {
    let scene = Scene::new().await;
    scene.server.faults.add(Rule::new(Fault::answer(code, reason, message), writes_deployment));
    scene.deploy("bad");
    let _operator = scene.operator("only");
    scene.until("the refusal is told", || is_told(&scene, "bad", "Refused", message)).await;
    meanwhile(&scene, "good").await;
    let tries = scene.server.faults.struck();
    assert!(tries <= 4, "it was tried {tries} times at once");
    scene.server.faults.clear();
    // Who has given the rights does not wait until it is tried again: any change is looked at.
    scene.touch("bad");
    scene.until_runs("bad", "1").await;
    let degraded = condition(&scene.status("bad"), "Degraded");
    assert_eq!(degraded["status"], "False", "{degraded}");
}

#[tokio::test]
async fn missing_rights_are_told() {
    check_refused(403, "Forbidden", "deployments.apps is forbidden: no").await;
}

#[tokio::test]
async fn an_object_that_kubernetes_finds_invalid_is_told() {
    check_refused(422, "Invalid", "spec.template.spec: Invalid value").await;
}

#[tokio::test]
async fn a_status_that_may_not_be_written_is_tried_ever_less() {
    let scene = Scene::new().await;
    let is_status = |asked: &Asked| asked.is_status && asked.key.name == "bad";
    scene.server.faults.add(Rule::new(Fault::answer(403, "Forbidden", "no"), is_status));
    scene.deploy("bad");
    let _operator = scene.operator("only");
    scene.until("some tries", || scene.server.faults.struck() >= 5).await;
    let asked = scene.server.asked();
    let tries: Vec<_> = asked.into_iter().filter(is_status).map(|asked| asked.at).collect();
    assert!((tries[4] - tries[3]).as_millis() >= 900, "{tries:?}");
    scene.server.faults.clear();
    scene.touch("bad");
    scene.until_runs("bad", "1").await;
}

#[tokio::test]
async fn a_quota_that_keeps_pods_away_is_told() {
    let scene = Scene::new().await;
    let quota = Key::new(QUOTAS, NAMESPACE, "small");
    scene.server.objects.create(&quota, json!({"message": "exceeded quota: small"})).unwrap();
    scene.deploy("iris");
    let _operator = scene.operator("only");
    scene.until("the quota is told", || is_told(&scene, "iris", "ReplicaFailure", "exceeded quota: small")).await;
    scene.server.objects.delete(&quota).unwrap();
    scene.until_runs("iris", "1").await;
}

#[tokio::test]
async fn a_specification_that_cannot_be_read_is_told_once() {
    let scene = Scene::new().await;
    let key = service("bad");
    let object =
        json!({"apiVersion": "ml.kea-project.io/v1alpha1", "kind": "MLDeployment", "spec": {"replicas": "many"}});
    scene.server.objects.create(&key, object).unwrap();
    let _operator = scene.operator("only");
    scene.until("the mistake is told", || is_told(&scene, "bad", "Invalid", "many")).await;
    meanwhile(&scene, "good").await;
    let writes: Vec<Asked> = scene.work().into_iter().filter(|asked| asked.key.name.starts_with("bad")).collect();
    assert_eq!(writes.len(), 1, "{writes:?}");
}

#[tokio::test]
async fn a_service_that_a_finalizer_holds_is_left_alone_until_it_goes() {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let _operator = scene.operator("only");
    scene.until_runs("iris", "1").await;
    let held = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    let objects = &scene.server.objects;
    objects.merge(&service("iris"), Part::Whole, &held(json!(["tests/hold"]))).unwrap();
    objects.delete(&service("iris")).unwrap();
    assert!(scene.get(SERVICES, "iris").is_some());
    let writes = || scene.work().into_iter().filter(|asked| asked.key.name.starts_with("iris")).count();
    meanwhile(&scene, "first").await;
    let before = writes();
    objects.delete(&Key::new("services", NAMESPACE, "iris")).unwrap();
    scene.model("iris", "2");
    meanwhile(&scene, "second").await;
    assert_eq!(writes(), before, "what is on its way out is not repaired or updated");
    objects.merge(&service("iris"), Part::Whole, &held(Value::Null)).unwrap();
    let rest = || objects.all().into_keys().filter(|key| key.name.starts_with("iris")).collect::<Vec<_>>();
    scene.until("its pods are gone", || rest().iter().all(|key| key.resource != "pods")).await;
    let left = rest().into_iter().filter(|key| !matches!(&*key.resource, EVENTS | MODELS)).collect::<Vec<_>>();
    assert_eq!(left, []);
}
