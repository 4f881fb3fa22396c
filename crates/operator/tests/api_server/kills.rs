//! The operator is killed after each of its writes, and another one takes over.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::Value;

use crate::{
    mock::faults::{Asked, Fault, Rule, Verb},
    scene::{DEPLOYMENTS, Outcome, REPLICAS, SERVICES, Scene},
};

const NAME: &str = "iris";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_is_killed_after_any_write_leaves_nothing_undone() {
    let scene = Scene::new().await;
    let (whole, writes) = undisturbed(&scene).await;
    assert!(writes > 15, "a deployment and an update are more than {writes} writes");
    join_all((0..=writes).map(|n| killed_after(n, &scene, &whole))).await;
}

/// A deployment of version 1 and an update to version 2: what is there in the end, and after how many writes.
async fn undisturbed(scene: &Scene) -> (Outcome, usize) {
    scene.deploy(NAME);
    let operator = scene.operator("only");
    scene.until_runs(NAME, "1").await;
    scene.model(NAME, "2");
    scene.until_runs(NAME, "2").await;
    operator.stop().await;
    assert_served_throughout(scene);
    (scene.outcome(), scene.server.count(Asked::is_write))
}

/// The same with an operator that is killed once it has written `n` times.
async fn killed_after(n: usize, other: &Scene, whole: &Outcome) {
    let scene = other.another().await;
    scene.server.faults.add(Rule::new(Fault::Hang, |asked| asked.client == "first" && asked.is_write()).after(n));
    scene.deploy(NAME);
    let mut first = Some(scene.operator("first"));
    let mut second = None;
    let is_over = || scene.server.faults.struck() > 0;
    for version in ["1", "2"] {
        scene.model(NAME, version);
        scene.until("the operator is done, or stands still", || is_over() || scene.runs(NAME, version)).await;
        if is_over()
            && let Some(first) = first.take()
        {
            first.kill();
            scene.drop_lease();
            second = Some(scene.operator("second"));
        }
        scene.until_runs(NAME, version).await;
    }
    scene.until_same(whole).await;
    assert_served_throughout(&scene);
    drop((first, second));
}

/// Since a version is live, its Deployment asks for all replicas.
fn assert_served_throughout(scene: &Scene) {
    let mut strengths: BTreeMap<String, Value> = BTreeMap::new();
    let mut live = Value::Null;
    for change in scene.server.objects.since(0).expect("nothing was forgotten") {
        let Some(after) = change.after else { continue };
        match &*change.key.resource {
            DEPLOYMENTS => drop(strengths.insert(change.key.name, after["spec"]["replicas"].clone())),
            SERVICES => live = after["status"]["liveVersion"].clone(),
            _ => {}
        }
        if let Some(live) = live.as_str() {
            assert_eq!(strengths[&format!("{NAME}-{live}")], REPLICAS, "version {live} serves");
        }
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_not_done_twice() {
    let scene = Scene::new().await;
    scene
        .server
        .faults
        .add(Rule::new(Fault::LoseAnswer, |asked| asked.is(Verb::Patch, DEPLOYMENTS) || asked.is_status).times(2));
    scene.deploy(NAME);
    let _operator = scene.operator("only");
    scene.until_runs(NAME, "1").await;
    assert_eq!(scene.server.faults.struck(), 2);
    assert_eq!(scene.server.objects.list(DEPLOYMENTS).0.len(), 1);
    assert_eq!(scene.status(NAME)["liveHistory"], serde_json::json!(["1"]));
}
