//! Requests that fail, and a server that is overloaded or away.

use std::time::Duration;

use futures_util::future::join_all;

use crate::{
    mock::faults::{Asked, Fault, Refusal, Rule, Verb},
    scene::{DEPLOYMENTS, Scene},
};

/// Whether a request writes the Deployment of that name.
fn writes_deployment(asked: &Asked, name: &str) -> bool {
    asked.is(Verb::Patch, DEPLOYMENTS) && asked.key.name == name
}

async fn check_conflicts_pass(of: impl Fn(&Asked) -> bool + Send + Sync + 'static) {
    let scene = Scene::new().await;
    scene.server.faults.add(Rule::new(Fault::answer(409, "Conflict", "the object has been modified"), of).times(3));
    scene.deploy("iris");
    let _operator = scene.operator("only");
    scene.until_runs("iris", "1").await;
    assert_eq!(scene.server.faults.struck(), 3);
    let told = scene.server.objects.since(0).unwrap().into_iter().filter_map(|change| change.after);
    let failed: Vec<_> = told.filter(|object| object["status"]["state"] == "failed").collect();
    assert!(failed.is_empty(), "nobody is troubled with what passes: {failed:?}");
}

#[tokio::test]
async fn conflicts_over_an_object_pass() {
    check_conflicts_pass(|asked| writes_deployment(asked, "iris-1")).await;
}

#[tokio::test]
async fn conflicts_over_the_status_pass() {
    check_conflicts_pass(|asked| asked.is_status).await;
}

/// Throttles the one write that an update waits for; three tries of it may not come sooner than this, and no other
/// requests than few.
async fn check_throttled(code: u16, retry_after: Option<u64>, tries: usize, at_least: Duration) {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let _operator = scene.operator("only");
    scene.until_runs("iris", "1").await;
    let Fault::Answer(refusal) = Fault::answer(code, "TooManyRequests", "too many requests") else { unreachable!() };
    let throttled = Fault::Answer(Refusal { retry_after, ..refusal });
    let before = scene.server.asked().len();
    scene.server.faults.add(Rule::new(throttled, |asked| asked.is_work()));
    scene.model("iris", "2");
    scene.until("enough tries", || scene.server.faults.struck() >= tries).await;
    let tried: Vec<Asked> = scene.server.asked().into_iter().skip(before).collect();
    let of_update: Vec<&Asked> = tried.iter().filter(|asked| asked.is_work()).collect();
    let took = of_update[tries - 1].at - of_update[0].at;
    assert!(took >= at_least, "{tries} tries within {took:?}");
    let others = tried.len() - of_update.len();
    assert!(others < 20, "{others} other requests: {tried:#?}");
    scene.server.faults.clear();
    scene.until_runs("iris", "2").await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_pause_gets_it() {
    check_throttled(429, Some(1), 3, Duration::from_millis(1900)).await;
}

#[tokio::test]
async fn an_overloaded_server_is_asked_ever_less() {
    // Pauses double from 5 ms, with some chance on top.
    check_throttled(503, None, 7, Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_request_fails_the_deployment_completes() {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let operator = scene.operator("only");
    scene.until_runs("iris", "1").await;
    let (outcome, requests) = (scene.outcome(), scene.server.asked().len());
    drop(operator);
    let check = async |n: usize| {
        let scene = scene.another().await;
        let refused = Fault::answer(500, "InternalError", "etcd has no leader");
        let fault = if n.is_multiple_of(2) { Fault::Drop } else { refused };
        scene.server.faults.add(Rule::new(fault, |_| true).after(n).times(1));
        scene.deploy("iris");
        let _operator = scene.operator("only");
        scene.until_same(&outcome).await;
        scene.server.faults.struck()
    };
    let struck: usize = join_all((0..requests).map(check)).await.into_iter().sum();
    // Some of the last requests would have come after all is there.
    assert!(struck * 4 > requests * 3, "{struck} of {requests} requests failed");
}

#[tokio::test]
async fn an_update_goes_on_once_the_server_is_back() {
    let scene = Scene::new().await;
    scene.deploy("iris");
    let _operator = scene.operator("only");
    scene.until_runs("iris", "1").await;
    scene.model("iris", "2");
    scene.until("the update has begun", || scene.get(DEPLOYMENTS, "iris-2").is_some()).await;
    scene.server.set_away(true);
    scene.until("the operator has noticed", || scene.server.turned_away() > 8).await;
    scene.server.set_away(false);
    scene.until_runs("iris", "2").await;
}

#[tokio::test]
async fn an_object_that_always_fails_is_tried_ever_less_and_disturbs_no_other() {
    let scene = Scene::new().await;
    let fault = Fault::answer(500, "InternalError", "no");
    scene.server.faults.add(Rule::new(fault, |asked| writes_deployment(asked, "bad-1")));
    scene.deploy("bad");
    scene.deploy("good");
    let _operator = scene.operator("only");
    scene.until_runs("good", "1").await;
    scene.until("some tries", || scene.server.faults.struck() >= 4).await;
    let asked = scene.server.asked();
    let tries: Vec<Duration> = asked.iter().filter(|a| writes_deployment(a, "bad-1")).map(|a| a.at).collect();
    // The first ones come with the changes that the operator itself has made.
    assert!(tries[3] - tries[2] >= Duration::from_millis(900), "the pauses grow: {tries:?}");
    let about_it = asked.iter().filter(|asked| asked.key.name.starts_with("bad")).count();
    assert!(about_it < 10 * tries.len(), "{about_it} requests for {} tries", tries.len());
    scene.server.faults.clear();
    scene.touch("bad");
    scene.until_runs("bad", "1").await;
}
