//! What somebody else changes or deletes is put right; what is theirs stays.

use serde_json::{Value, json};

use crate::{
    mock::objects::{Key, Part},
    scene::{DEPLOYMENTS, NAMESPACE, Scene},
};

/// What the operator makes for a service: resource, name, and a change that it does not want.
fn made() -> [(&'static str, &'static str, Value); 5] {
    [
        ("serviceaccounts", "iris", json!({"automountServiceAccountToken": true})),
        ("services", "iris", json!({"spec": {"ports": [{"port": 81}]}})),
        ("networking.k8s.io/networkpolicies", "iris", json!({"spec": {"ingress": [{}]}})),
        (DEPLOYMENTS, "iris-1", json!({"spec": {"replicas": 7}})),
        (DEPLOYMENTS, "iris-1", json!({"spec": {"template": {"spec": {"serviceAccountName": "root"}}}})),
    ]
}

#[tokio::test]
async fn what_somebody_changes_is_put_right_and_what_is_theirs_stays() {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let _operator = scene.operator("only");
    scene.until_runs("iris", "1").await;
    let whole = scene.outcome();
    for (resource, name, change) in made() {
        let key = Key::new(resource, NAMESPACE, name);
        scene.server.objects.merge(&key, Part::Whole, &change).unwrap();
        scene.until_same(&whole).await;
    }
    for (resource, name, _) in made() {
        let key = Key::new(resource, NAMESPACE, name);
        let theirs = json!({"metadata": {"annotations": {"theirs": "1"}}, "spec": {"theirs": {"field": 1}}});
        scene.server.objects.merge(&key, Part::Whole, &theirs).unwrap();
        let label = json!({"metadata": {"labels": {"app.kubernetes.io/name": "other"}}});
        scene.server.objects.merge(&key, Part::Whole, &label).unwrap();
        let is_right = |object: &Value| object["metadata"]["labels"]["app.kubernetes.io/name"] == "iris";
        scene.until("the label is put right", || scene.get(resource, name).is_some_and(|o| is_right(&o))).await;
        let object = scene.get(resource, name).unwrap();
        assert_eq!(object["metadata"]["annotations"]["theirs"], "1", "{resource}");
        assert_eq!(object["spec"]["theirs"], json!({"field": 1}), "{resource}");
    }
}

#[tokio::test]
async fn what_somebody_deletes_is_made_again() {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let _operator = scene.operator("only");
    scene.until_runs("iris", "1").await;
    for (resource, name, _) in &made()[..3] {
        let key = Key::new(resource, NAMESPACE, name);
        let before = scene.get(resource, name).unwrap();
        scene.server.objects.delete(&key).unwrap();
        scene.until(&format!("{resource} is made again"), || scene.get(resource, name).is_some()).await;
        let after = scene.get(resource, name).unwrap();
        assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
        assert_eq!(before["spec"], after["spec"], "{resource}");
    }
    scene.server.objects.delete(&Key::new(DEPLOYMENTS, NAMESPACE, "iris-1")).unwrap();
    let is_known = |version: &Value| version["metadata"]["annotations"]["ml.kea-project.io/replica"].is_string();
    scene
        .until("its version is made again", || {
            scene.get(DEPLOYMENTS, "iris-1").is_some_and(|version| is_known(&version))
        })
        .await;
    scene.until_runs("iris", "1").await;
    assert!(scene.get("pods", "iris-1-1").is_some());
}

#[tokio::test]
async fn what_somebody_else_made_is_not_taken() {
    let scene = Scene::new().await;
    let key = Key::new("services", NAMESPACE, "iris");
    let theirs = json!({"apiVersion": "v1", "kind": "Service", "spec": {"selector": {"app": "theirs"}}});
    let before = scene.server.objects.create(&key, theirs).unwrap();
    scene.deploy("iris");
    let _operator = scene.operator("only");
    let reason = || scene.status("iris")["reason"].as_str().unwrap_or_default().to_owned();
    scene.until("it is told", || reason().contains("that KEA did not make")).await;
    assert_eq!(scene.get("services", "iris").unwrap(), before);
    let handed_over = json!({"metadata": {"annotations": {"ml.kea-project.io/adopt": "true"}}});
    scene.server.objects.merge(&key, Part::Whole, &handed_over).unwrap();
    scene.touch("iris");
    scene.until_runs("iris", "1").await;
    assert_eq!(scene.get("services", "iris").unwrap()["metadata"]["uid"], before["metadata"]["uid"]);
}
