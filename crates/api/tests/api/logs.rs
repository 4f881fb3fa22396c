//! Logs of a service.

use http_body_util::BodyExt;
use kea_logs::Stream;

use crate::{fakes::id, support::TestApi};

const LOGS: &str = "/api/v1/k8c/logs/iris";

fn print(api: &TestApi, replica: &str, line: &str) {
    api.logs.writer(&id("iris"), replica).write(Stream::Stdout, line);
}

async fn lines(api: &TestApi, query: &str) -> Vec<String> {
    let answer = api.get(&format!("{LOGS}{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let entries = answer.json["logEntries"].as_array().unwrap();
    let last_word = |entry: &serde_json::Value| entry.as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
    entries.iter().map(last_word).collect()
}

#[tokio::test]
async fn lines_are_chosen_by_number_replica_and_time() {
    let api = TestApi::start().await;
    print(&api, "iris-1-0", "one");
    print(&api, "iris-1-1", "two");
    print(&api, "iris-1-0", "three");
    assert_eq!(lines(&api, "").await, ["one", "two", "three"]);
    assert_eq!(lines(&api, "?tail=2").await, ["two", "three"]);
    assert_eq!(lines(&api, "?replica=iris-1-0").await, ["one", "three"]);
    assert_eq!(lines(&api, "?since=1h").await.len(), 3);
    assert_eq!(lines(&api, "?since=2999-01-01T00:00:00Z").await.len(), 0);
    for refused in ["?since=soon", "?tail=10001", "?tail=-1", "?follow=yes"] {
        assert_eq!(api.get(&format!("{LOGS}{refused}")).await.status, 400, "{refused}");
    }
}

#[tokio::test]
async fn a_follower_gets_further_lines_until_the_server_stops() {
    let api = TestApi::start().await;
    print(&api, "iris-1-0", "before");
    let bearer = format!("Bearer {}", api.token);
    let answer = api.open("GET", &format!("{LOGS}?follow=true"), &[("authorization", &bearer)], "").await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut body = answer.into_body();
    assert!(next(&mut body).await.unwrap().ends_with("stdout before\n\n"));
    print(&api, "iris-1-0", "after");
    let event = next(&mut body).await.unwrap();
    assert!(event.starts_with("data: ") && event.ends_with("stdout after\n\n"), "{event}");
    api.stopping.cancel();
    assert_eq!(next(&mut body).await, None);
}

async fn next(body: &mut axum::body::Body) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}
