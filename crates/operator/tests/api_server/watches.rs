//! Watches that break off, and versions that the API server has forgotten.

use serde_json::json;

use crate::{
    mock::{
        faults::{EVENTS, Verb},
        objects::{Key, Part},
        watching::Cut,
    },
    scene::{MODELS, NAMESPACE, Running, Scene, service},
};

/// A service at version 1, and the operator that runs it.
async fn running() -> (Scene, Running) {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let operator = scene.operator("only");
    scene.until_runs("iris", "1").await;
    (scene, operator)
}

/// How often all objects of some kind were listed.
fn lists(scene: &Scene) -> usize {
    scene.server.count(|asked| asked.verb == Verb::List)
}

async fn check_change_is_seen_after(cut: Cut) {
    let (scene, _operator) = running().await;
    scene.server.cut_watches(cut);
    scene.model("iris", "2");
    scene.until_runs("iris", "2").await;
}

#[tokio::test]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let (scene, _operator) = running().await;
    let before = lists(&scene);
    scene.server.cut_watches(Cut::End);
    scene.model("iris", "2");
    scene.until_runs("iris", "2").await;
    assert_eq!(lists(&scene), before, "what is known already is not asked for again");
}

#[tokio::test]
async fn the_event_in_which_a_watch_breaks_is_not_lost() {
    check_change_is_seen_after(Cut::MidLine).await;
}

#[tokio::test]
async fn a_watch_that_breaks_loses_nothing() {
    check_change_is_seen_after(Cut::Break).await;
}

#[tokio::test]
async fn a_watch_that_is_told_that_it_is_too_old_begins_anew() {
    let (scene, _operator) = running().await;
    let before = lists(&scene);
    scene.server.cut_watches(Cut::Gone);
    scene.model("iris", "2");
    scene.until_runs("iris", "2").await;
    assert!(lists(&scene) > before);
}

/// While nobody watches, one object goes, another changes, one comes, and the history of it is forgotten.
async fn check_forgotten_changes_are_seen(refuses: bool) {
    let (scene, _operator) = running().await;
    scene.deploy("other");
    scene.until_runs("other", "1").await;
    let objects = &scene.server.objects;
    scene.server.refuse_old_watches(refuses);
    scene.server.set_away(true);
    objects.delete(&Key::new("services", NAMESPACE, "iris")).unwrap();
    objects.delete(&service("other")).unwrap();
    let policy = Key::new("networking.k8s.io/networkpolicies", NAMESPACE, "iris");
    objects.merge(&policy, Part::Whole, &json!({"spec": {"policyTypes": ["Egress"]}})).unwrap();
    scene.model("iris", "2");
    scene.deploy("new");
    objects.forget_history();
    scene.server.set_away(false);
    scene.until_runs("iris", "2").await;
    scene.until_runs("new", "1").await;
    scene.until("the Service is made again", || scene.get("services", "iris").is_some()).await;
    scene
        .until("the NetworkPolicy is put right", || {
            objects.get(&policy).is_some_and(|policy| policy["spec"]["policyTypes"] == json!(["Ingress"]))
        })
        .await;
    let mut rest: Vec<Key> = objects.all().into_keys().filter(|key| key.name.starts_with("other")).collect();
    rest.retain(|key| !matches!(&*key.resource, EVENTS | MODELS));
    assert_eq!(rest, [], "what went stays away");
}

#[tokio::test]
async fn what_happened_while_nobody_watched_is_seen() {
    check_forgotten_changes_are_seen(false).await;
}

#[tokio::test]
async fn what_happened_is_seen_also_where_old_watches_are_refused() {
    check_forgotten_changes_are_seen(true).await;
}
