//! The response cache on the path of requests.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use futures_util::future::join_all;
use http::StatusCode;
use kea_router::cache::RedisCache;
use serde_json::json;

use crate::harness::{Gateway, Replica, iris, new_contract, numbered, until};

async fn gateway_to(replica: &Replica, cache: serde_json::Value) -> Arc<Gateway> {
    let gateway = Gateway::new().await;
    gateway.follow([iris("1", &[replica], json!({"cache": cache}))]);
    Arc::new(gateway)
}

async fn cached() -> (Replica, Arc<Gateway>) {
    let replica = Replica::answering(numbered).await;
    let gateway = gateway_to(&replica, json!({"enabled": true})).await;
    (replica, gateway)
}

#[tokio::test]
async fn fifty_equal_requests_at_once_reach_the_model_once() {
    let replica = Replica::waiting(numbered).await;
    let gateway = gateway_to(&replica, json!({"enabled": true})).await;
    let calls = join_all((0..50).map(|_| gateway.call("predict", 1.0, &[])));
    let (answers, ()) = tokio::join!(calls, async {
        until(|| replica.calls() == 1).await;
        replica.let_answer(1);
    });
    let misses = answers.iter().filter(|answer| answer.told() == ("miss", 1)).count();
    let hits = answers.iter().filter(|answer| answer.told() == ("hit", 1)).count();
    assert_eq!((misses, hits, replica.calls()), (1, 49, 1));
    assert!(gateway.router.metrics().contains("kea_cache_coalesced_total{service=\"iris\",version=\"1\"} 49"));
}

#[tokio::test]
async fn a_leader_that_fails_hands_over() {
    let fails_first = |call| match call {
        1 => Response::builder().status(500).body(Body::from("{}")).unwrap(),
        other => numbered(other),
    };
    let replica = Replica::waiting(fails_first).await;
    let gateway = gateway_to(&replica, json!({"enabled": true})).await;
    let calls = join_all((0..10).map(|_| gateway.call("predict", 1.0, &[])));
    let (answers, ()) = tokio::join!(calls, async {
        until(|| replica.calls() == 1).await;
        replica.let_answer(2);
    });
    let failed = answers.iter().filter(|answer| answer.status == StatusCode::INTERNAL_SERVER_ERROR).count();
    assert_eq!((failed, replica.calls()), (1, 2));
    assert!(answers.iter().all(|answer| answer.status != StatusCode::OK || answer.told().1 == 2));
}

#[tokio::test]
async fn a_leader_that_goes_away_hands_over() {
    let replica = Replica::waiting(numbered).await;
    let gateway = gateway_to(&replica, json!({"enabled": true})).await;
    let caller = gateway.clone();
    let leader = tokio::spawn(async move { caller.call("predict", 1.0, &[]).await });
    until(|| replica.calls() == 1).await;
    let caller = gateway.clone();
    let follower = tokio::spawn(async move { caller.call("predict", 1.0, &[]).await });
    leader.abort();
    until(|| replica.calls() == 2).await;
    replica.let_answer(2);
    assert_eq!(follower.await.unwrap().told(), ("miss", 2));
}

#[tokio::test]
async fn a_follower_waits_no_longer_than_its_service_allows() {
    let replica = Replica::waiting(numbered).await;
    let gateway = Gateway::new().await;
    gateway.follow([iris("1", &[&replica], json!({"cache": {"enabled": true}, "timeout": "300ms"}))]);
    let answers = join_all((0..3).map(|_| gateway.call("predict", 1.0, &[]))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::GATEWAY_TIMEOUT), "{answers:?}");
}

#[tokio::test]
async fn a_stale_answer_is_given_while_one_request_fetches_another() {
    let replica = Replica::waiting(numbered).await;
    let gateway = gateway_to(&replica, json!({"enabled": true, "ttl": "1ms", "staleWhileRevalidate": "1h"})).await;
    replica.let_answer(1);
    assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("miss", 1));
    tokio::time::sleep(Duration::from_millis(5)).await;
    for _ in 0..10 {
        assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("hit", 1));
    }
    until(|| replica.calls() == 2).await;
    replica.let_answer(1);
    until(|| gateway.router.metrics().contains("kea_cache_misses_total{service=\"iris\",version=\"1\"} 2")).await;
    let second = async {
        while gateway.call("predict", 1.0, &[]).await.told() == ("hit", 1) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), second).await.unwrap();
    assert!(gateway.router.metrics().contains("kea_cache_stale_total{service=\"iris\",version=\"1\"} "));
}

#[tokio::test]
async fn one_caller_never_gets_the_answer_of_another() {
    let replica = Replica::waiting(numbered).await;
    let gateway = gateway_to(&replica, json!({"enabled": true})).await;
    // Neither a kept answer nor one that is under way.
    let calls = [&gateway.ada, &gateway.bob].map(|token| gateway.call_as(token, "predict", 1.0, &[]));
    let (answers, ()) = tokio::join!(join_all(calls), async {
        until(|| replica.calls() == 2).await;
        replica.let_answer(2);
    });
    assert_ne!(answers[0].told().1, answers[1].told().1);
    for (token, answer) in [&gateway.ada, &gateway.bob].into_iter().zip(&answers) {
        let again = gateway.call_as(token, "predict", 1.0, &[]).await;
        assert_eq!(again.told(), ("hit", answer.told().1));
        assert_eq!(again.header("vary"), "authorization");
    }
}

#[tokio::test]
async fn answers_that_are_declared_shared_are() {
    let replica = Replica::answering(numbered).await;
    let gateway = gateway_to(&replica, json!({"enabled": true, "shared": true})).await;
    assert_eq!(gateway.call_as(&gateway.ada, "predict", 1.0, &[]).await.told(), ("miss", 1));
    let other = gateway.call_as(&gateway.bob, "predict", 1.0, &[]).await;
    assert_eq!((other.told(), other.header("vary")), (("hit", 1), ""));
}

#[tokio::test]
async fn callers_say_what_they_want_of_the_cache() {
    let (replica, gateway) = cached().await;
    let call = async |control: &'static str| gateway.call("predict", 1.0, &[("cache-control", control)]).await;
    assert_eq!(call("only-if-cached").await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(call("no-store").await.told(), ("bypass", 1));
    assert_eq!(call("").await.told(), ("miss", 2));
    assert_eq!(call("only-if-cached").await.told(), ("hit", 2));
    assert_eq!(call("max-age=60").await.told(), ("hit", 2));
    assert_eq!(call("no-cache").await.told(), ("miss", 3));
    assert_eq!(call("").await.told(), ("hit", 3));
    assert_eq!(call("max-age=0").await.told(), ("miss", 4));
    assert_eq!(replica.calls(), 4);
}

#[tokio::test]
async fn what_a_replica_forbids_to_keep_is_not_kept() {
    for (name, value) in [("cache-control", "no-store"), ("cache-control", "private"), ("set-cookie", "a=b")] {
        let with_header = move |call| {
            let mut response = numbered(call);
            response.headers_mut().insert(name, value.parse().unwrap());
            response
        };
        let replica = Replica::answering(with_header).await;
        let gateway = gateway_to(&replica, json!({"enabled": true})).await;
        for call in 1..3 {
            assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("miss", call), "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn errors_are_never_kept() {
    let replica = Replica::answering(|_| Response::builder().status(404).body(Body::from("{}")).unwrap()).await;
    let gateway = gateway_to(&replica, json!({"enabled": true})).await;
    for call in 1..3 {
        assert_eq!(gateway.call("predict", 1.0, &[]).await.status, StatusCode::NOT_FOUND);
        assert_eq!(replica.calls(), call);
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_goes_on_whole_and_is_not_kept() {
    let large = |_| {
        let chunks = (0..40).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 64 << 10]));
        Response::new(Body::from_stream(futures_util::stream::iter(chunks)))
    };
    let replica = Replica::answering(large).await;
    let gateway = gateway_to(&replica, json!({"enabled": true})).await;
    for call in 1..3 {
        let answer = gateway.call("predict", 1.0, &[]).await;
        assert_eq!((answer.body.len(), answer.header("kea-cache-key")), (40 * (64 << 10), ""));
        assert_eq!(replica.calls(), call);
    }
}

#[tokio::test]
async fn a_function_that_is_not_deterministic_is_never_cached() {
    let (_replica, gateway) = cached().await;
    assert_eq!(gateway.call("draw", 1.0, &[]).await.told(), ("bypass", 1));
    assert_eq!(gateway.call("draw", 1.0, &[]).await.told(), ("bypass", 2));
    assert_eq!(gateway.call("other", 1.0, &[]).await.told(), ("miss", 3));
    assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("miss", 4));
}

#[tokio::test]
async fn both_protocols_are_cached_and_each_for_itself() {
    let replica = Replica::answering(numbered).await;
    let gateway = gateway_to(&replica, json!({"enabled": true})).await;
    let infer = async |id: Option<&str>, data: &str| {
        let id = id.map_or_else(String::new, |id| format!(r#""id": "{id}", "#));
        let body =
            format!(r#"{{{id}"inputs": [{{"name": "x", "shape": [1], "datatype": "FP64", "data": [{data}]}}]}}"#);
        gateway.send(&gateway.ada, "/v2/models/iris/infer", body, &[]).await
    };
    assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("miss", 1));
    assert_eq!(infer(None, "1").await.told(), ("miss", 2));
    assert_eq!(infer(None, "1.0e0").await.told(), ("hit", 2));
    // The answer would hold the request's own id.
    assert_eq!(infer(Some("a"), "1").await.told(), ("miss", 3));
    assert_eq!(infer(Some("b"), "1").await.told(), ("miss", 4));
    assert_eq!(infer(Some("a"), "1").await.told(), ("hit", 3));
}

#[tokio::test]
async fn numbers_are_the_same_however_they_are_written() {
    let (replica, gateway) = cached().await;
    for spelling in ["1", "1.0", "1e0", "10E-1", "0.1e+1"] {
        let body = format!(r#"{{ "inputs" : {{"x": {spelling}}} }}"#);
        let path = "/api/v1/k8c/services/iris/predict";
        assert_eq!(gateway.send(&gateway.ada, path, body, &[]).await.told().1, 1, "{spelling}");
    }
    assert_eq!(replica.calls(), 1);
}

#[tokio::test]
async fn who_has_the_answer_is_not_sent_it_again() {
    let replica = Replica::answering(|_| numbered(1)).await;
    let gateway = gateway_to(&replica, json!({"enabled": true})).await;
    let first = gateway.call("predict", 1.0, &[]).await;
    let tag = first.header("etag").to_string();
    for state in ["hit", "miss"] {
        let again = gateway.call("predict", 1.0, &[("if-none-match", &tag)]).await;
        let told = (again.status, again.body.as_str(), again.header("kea-cache"));
        assert_eq!(told, (StatusCode::NOT_MODIFIED, "", state));
        assert_eq!(again.header("etag"), tag);
        gateway.router.clear_cache("iris", None).await.unwrap();
    }
    assert_eq!(gateway.call("predict", 1.0, &[("if-none-match", "\"other\"")]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn answers_are_removed_by_service_by_function_and_by_key() {
    let (_replica, gateway) = cached().await;
    let router = &gateway.router;
    let call = async |function: &'static str, x: f64| gateway.call(function, x, &[]).await;
    for (number, function, x) in [(1, "predict", 1.0), (2, "predict", 2.0), (3, "other", 1.0)] {
        assert_eq!(call(function, x).await.told(), ("miss", number));
    }
    let key = call("predict", 1.0).await.header("kea-cache-key").to_string();
    router.clear_cached(&key).await.unwrap();
    assert_eq!(call("predict", 2.0).await.told(), ("hit", 2));
    assert_eq!(call("predict", 1.0).await.told(), ("miss", 4));
    router.clear_cache("iris", Some("other")).await.unwrap();
    assert_eq!(call("predict", 2.0).await.told(), ("hit", 2));
    assert_eq!(call("other", 1.0).await.told(), ("miss", 5));
    router.clear_cache("iris", None).await.unwrap();
    assert_eq!(call("other", 1.0).await.told(), ("miss", 6));
    for refused in [router.clear_cache("nope", None).await, router.clear_cache("iris", Some("nope")).await] {
        assert_eq!(refused.unwrap_err().status, StatusCode::NOT_FOUND);
    }
    assert_eq!(router.clear_cached("no key").await.unwrap_err().status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_answer_under_way_is_not_given_to_those_who_come_after_it_was_cleared() {
    let replica = Replica::waiting(numbered).await;
    let gateway = gateway_to(&replica, json!({"enabled": true})).await;
    let caller = gateway.clone();
    let before = tokio::spawn(async move { caller.call("predict", 1.0, &[]).await });
    until(|| replica.calls() == 1).await;
    gateway.router.clear_cache("iris", None).await.unwrap();
    let caller = gateway.clone();
    let after = tokio::spawn(async move { caller.call("predict", 1.0, &[]).await });
    until(|| replica.calls() == 2).await;
    replica.let_answer(2);
    let (before, after) = (before.await.unwrap(), after.await.unwrap());
    assert_ne!(before.told().1, after.told().1);
    assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("hit", after.told().1));
}

#[tokio::test]
async fn a_version_never_answers_with_what_another_said() {
    let (old, new) = (Replica::answering(|_| numbered(1)).await, Replica::answering(|_| numbered(2)).await);
    let gateway = Gateway::new().await;
    let settings = json!({"cache": {"enabled": true}});
    for (version, replica, number) in [("1", &old, 1), ("2", &new, 2), ("1", &old, 1)] {
        gateway.follow([iris(version, &[replica], settings.clone())]);
        assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("miss", number), "{version}");
        assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("hit", number), "{version}");
    }
    // A service that was deleted and deployed again begins anew, with the same name of its version.
    let mut again = iris("1", &[&new], settings);
    again.versions[0].made_at += 1;
    gateway.follow([again]);
    assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("miss", 2));
}

/// A body whose kept answer is asked for again is not checked again. All else that it was checked for still counts.
#[tokio::test]
async fn a_body_that_is_remembered_is_that_of_its_caller_function_protocol_and_contract() {
    let (replica, gateway) = cached().await;
    for told in [("miss", 1), ("hit", 1), ("hit", 1)] {
        assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), told);
    }
    assert_eq!(gateway.call_as(&gateway.bob, "predict", 1.0, &[]).await.told(), ("miss", 2));
    assert_eq!(gateway.call("other", 1.0, &[]).await.told(), ("miss", 3));
    let body = json!({"inputs": {"x": 1.0}}).to_string();
    let as_v2 = gateway.send(&gateway.ada, "/v2/models/iris/infer", body, &[]).await;
    assert_eq!(as_v2.status, StatusCode::BAD_REQUEST);
    let follow = |cache, responses: &str| {
        gateway.follow([iris("1", &[&replica], json!({"cache": cache, "validation": {"responses": responses}}))]);
    };
    follow(json!({"enabled": true}), "enforce");
    assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("miss", 4));
    follow(json!({"enabled": true, "shared": true}), "off");
    assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("miss", 5));
    follow(json!({"enabled": false}), "off");
    assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("bypass", 6));
    follow(json!({"enabled": true}), "off");
    assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("hit", 1));

    let mut other = iris("1", &[&replica], json!({"cache": {"enabled": true}}));
    let mut contract = (*new_contract()).clone();
    contract.functions[0].inputs[0].name = "y".into();
    other.versions[0].contract = Some(Arc::new(contract));
    gateway.follow([other]);
    assert_eq!(gateway.call("predict", 1.0, &[]).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_bypassed() {
    let nowhere = "redis://127.0.0.1:1".parse().unwrap();
    let gateway = Gateway::with(Arc::new(RedisCache::new(&nowhere))).await;
    let replica = Replica::answering(numbered).await;
    gateway.follow([iris("1", &[&replica], json!({"cache": {"enabled": true}}))]);
    for call in 1..4 {
        assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("bypass", call));
    }
    let failed = gateway.router.clear_cache("iris", None).await.unwrap_err();
    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
    let metrics = gateway.router.metrics();
    assert!(metrics.contains("kea_cache_redis_up 0"), "{metrics}");
    assert!(metrics.contains("kea_cache_bypasses_total{service=\"iris\",version=\"1\"} 3"), "{metrics}");
}
