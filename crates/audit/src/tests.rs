//! The trail as a whole: requests in, files and sinks out.

mod fake;
mod records;
mod sinks;
mod tampering;

use std::{path::Path, sync::Arc};

use http::{Method, Response};
use http_body_util::{BodyExt, Full};

use crate::{Begin, Entry, Limits, Options, Query, SinkOptions, Trail};

fn start(folder: &Path, limits: Limits, sinks: SinkOptions) -> Arc<Trail> {
    Trail::start(Options { folder: Some(folder.into()), limits, host: "here".into(), sinks }).unwrap()
}

fn begin(trail: &Trail, id: &str) -> Entry {
    trail.begin(Begin {
        request_id: id.into(),
        span: None,
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        client: [127, 0, 0, 1].into(),
        method: Method::POST,
        uri: "/api/v1/k8c/services/iris/predict".parse().unwrap(),
        length: Some(5),
    })
}

/// A request that is answered whole, with that status.
async fn answered(trail: &Trail, id: &str, status: u16) {
    let response = Response::builder().status(status).body(Full::from("answer")).unwrap();
    begin(trail, id).answer(response, None).into_body().collect().await.unwrap();
}

/// Records of requests, newest first.
async fn records(trail: &Trail, query: Query) -> Vec<serde_json::Value> {
    let found = trail.query(Query { limit: 10_000, ..query }).await.unwrap();
    let parsed = found.iter().map(|line| serde_json::from_str::<serde_json::Value>(line.get()).unwrap());
    parsed.filter(|record| record.get("http.request.id").is_some()).collect()
}
