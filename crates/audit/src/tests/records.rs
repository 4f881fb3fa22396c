//! One record a request, whatever happens to it; rotation, restarts, queries.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::Value;

use super::{answered, begin, records, start};
use crate::{Limits, Query, SinkOptions, User, verify};

/// The record of the one request that `work` made.
async fn one(work: impl AsyncFnOnce(crate::Entry)) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let trail = start(folder.path(), Limits::default(), SinkOptions::default());
    work(begin(&trail, "r-1")).await;
    let mut records = records(&trail, Query::default()).await;
    assert_eq!(records.len(), 1, "{records:?}");
    trail.stop().await;
    records.remove(0)
}

fn check(record: &Value, outcome: &str, fault: &str) {
    assert_eq!((&record["kea.outcome"], &record["kea.fault"]), (&outcome.into(), &fault.into()), "{record}");
}

#[tokio::test]
async fn an_answer_that_is_read_whole_is_a_success() {
    let record = one(async |entry| {
        entry.answer(Response::new(Full::from("answer")), None).into_body().collect().await.unwrap();
    })
    .await;
    check(&record, "success", "none");
    assert_eq!((&record["http.request.body.bytes"], &record["http.response.body.bytes"]), (&5.into(), &6.into()));
}

#[tokio::test]
async fn a_refusal_is_one_whatever_status_its_protocol_says_it_with() {
    let record = one(async |entry| {
        let refused = entry.answer(Response::new(Full::from("")), Some(("no-token", StatusCode::UNAUTHORIZED)));
        refused.into_body().collect().await.unwrap();
    })
    .await;
    check(&record, "denied", "caller");
    assert_eq!(record["event.reason"], "no-token");
}

#[tokio::test]
async fn an_answer_of_which_a_server_asks_no_more_than_its_length_is_whole() {
    let record = one(async |entry| {
        let mut body = entry.answer(Response::new(Full::from("answer")), None).into_body();
        body.frame().await.unwrap().unwrap();
    })
    .await;
    check(&record, "success", "none");
}

#[tokio::test]
async fn an_answer_without_a_body_needs_no_reading() {
    let record = one(async |entry| {
        let response = Response::builder().status(StatusCode::NO_CONTENT).body(Full::from("ignored")).unwrap();
        drop(entry.answer(response, None));
    })
    .await;
    check(&record, "success", "none");
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_answer_is_recorded() {
    let record = one(async |entry| drop(entry)).await;
    check(&record, "cancelled", "caller");
    assert!(record.get("http.response.status_code").is_none());
}

#[tokio::test]
async fn a_caller_that_leaves_in_the_middle_of_the_answer_is_recorded() {
    let record = one(async |entry| {
        let parts = ["one", "two"].map(|part| Ok::<_, String>(Frame::data(Bytes::from(part))));
        let mut body = entry.answer(Response::new(StreamBody::new(stream::iter(parts))), None).into_body();
        body.frame().await.unwrap().unwrap();
    })
    .await;
    check(&record, "cancelled", "caller");
    assert_eq!(record["http.response.body.bytes"], 3);
}

#[tokio::test]
async fn a_replica_that_breaks_off_is_at_fault() {
    let record = one(async |entry| {
        entry.recorder().replica(&"iris-1-0".into());
        let parts = [Ok(Frame::data(Bytes::from("one"))), Err("broken".to_string())];
        let body = entry.answer(Response::new(StreamBody::new(stream::iter(parts))), None).into_body();
        body.collect().await.unwrap_err();
    })
    .await;
    check(&record, "error", "model");
}

#[tokio::test]
async fn a_panic_is_recorded() {
    let record = one(async |entry| {
        let task = tokio::spawn(async move {
            let _entry = entry;
            panic!("on purpose");
        });
        assert!(task.await.unwrap_err().is_panic());
    })
    .await;
    check(&record, "error", "kea");
}

#[tokio::test]
async fn queries_find_by_caller_service_outcome_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let trail = start(folder.path(), Limits::default(), SinkOptions::default());
    for (id, name, service, status) in
        [("1", "ada", "iris", 200), ("2", "ada", "shop", 403), ("3", "bob", "iris", 500), ("4", "bob", "iris", 200)]
    {
        let entry = begin(&trail, id);
        entry.recorder().user(User { name: name.into(), roles: [].into(), key: None });
        entry.recorder().service(service);
        let response = Response::builder().status(status).body(Full::from("")).unwrap();
        drop(entry.answer(response, None));
    }
    let ids = async |query: Query| {
        let found = records(&trail, query).await;
        found.iter().map(|record| record["http.request.id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(ids(Query::default()).await, ["4", "3", "2", "1"]);
    assert_eq!(ids(Query { caller: text("ada"), ..Query::default() }).await, ["2", "1"]);
    assert_eq!(ids(Query { service: text("iris"), ..Query::default() }).await, ["4", "3", "1"]);
    assert_eq!(ids(Query { outcome: text("denied"), ..Query::default() }).await, ["2"]);
    let both = Query { caller: text("bob"), outcome: text("success"), ..Query::default() };
    assert_eq!(ids(both).await, ["4"]);
    let now = jiff::Timestamp::now();
    assert!(ids(Query { since: Some(now), ..Query::default() }).await.is_empty());
    assert_eq!(ids(Query { until: Some(now), ..Query::default() }).await.len(), 4);
    assert_eq!(trail.query(Query { limit: 2, ..Query::default() }).await.unwrap().len(), 2);
}

#[tokio::test]
async fn files_are_bounded_and_the_chain_goes_on_over_them_and_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { file_bytes: 8_000, files: 3, age: None };
    let mut last = 0;
    for run in 0..3 {
        let trail = start(folder.path(), limits, SinkOptions::default());
        for number in 0..40 {
            answered(&trail, &format!("{run}-{number}"), 200).await;
        }
        trail.stop().await;
        let verdict = verify(folder.path(), None).unwrap();
        assert_eq!(verdict.findings, []);
        assert!(verdict.files <= 3 && verdict.head.0 > last, "{verdict:?}");
        last = verdict.head.0;
    }
    // Each start adds a line of its own.
    assert_eq!(last, 3 * 41);
    for file in fs::read_dir(folder.path()).unwrap() {
        assert!(file.unwrap().metadata().unwrap().len() < 9_000);
    }
}

#[tokio::test]
async fn files_that_are_too_old_are_removed_when_the_next_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { file_bytes: 2_000, files: 100, age: Some(Duration::ZERO) };
    let trail = start(folder.path(), limits, SinkOptions::default());
    for number in 0..20 {
        answered(&trail, &number.to_string(), 200).await;
        trail.flush().await;
    }
    trail.stop().await;
    assert!(verify(folder.path(), None).unwrap().files <= 2);
}

#[tokio::test]
async fn a_line_that_a_crash_tore_is_recognised_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let trail = start(folder.path(), Limits::default(), SinkOptions::default());
    answered(&trail, "before", 200).await;
    trail.stop().await;
    let file = crate::files::path(folder.path(), 1);
    OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{\"@timestamp\":\"20").unwrap();
    let verdict = verify(folder.path(), None).unwrap();
    assert_eq!((verdict.torn, verdict.findings.len()), (1, 0));

    let trail = start(folder.path(), Limits::default(), SinkOptions::default());
    answered(&trail, "after", 200).await;
    assert_eq!(records(&trail, Query::default()).await.len(), 2);
    trail.stop().await;
    let verdict = verify(folder.path(), None).unwrap();
    assert_eq!((verdict.torn, verdict.findings.len()), (1, 0), "{verdict:?}");

    // A line of somebody else in the same place is not excused by it.
    let text = fs::read_to_string(&file).unwrap().replace("{\"@timestamp\":\"20\n", "{\"@timestamp\":\"21\n");
    fs::write(&file, text).unwrap();
    assert_eq!(verify(folder.path(), None).unwrap().findings.len(), 1);
}

#[tokio::test]
async fn lines_that_are_gone_at_the_end_are_told_and_stay_told() {
    let folder = tempfile::tempdir().unwrap();
    let trail = start(folder.path(), Limits::default(), SinkOptions::default());
    for number in 0..5 {
        answered(&trail, &number.to_string(), 200).await;
    }
    trail.stop().await;
    let file = crate::files::path(folder.path(), 1);
    let lines: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    fs::write(&file, format!("{}\n", lines[..4].join("\n"))).unwrap();
    assert!(verify(folder.path(), None).unwrap().findings[0].to_string().contains("2 lines after this one"));

    let trail = start(folder.path(), Limits::default(), SinkOptions::default());
    trail.stop().await;
    let findings = verify(folder.path(), None).unwrap().findings;
    assert!(findings[0].to_string().ends_with(":5: 2 lines before this one are missing"), "{findings:?}");
    assert!(fs::read_to_string(&file).unwrap().contains("2 lines are missing at the end of what was there"));
}
