//! An Elasticsearch that takes documents by its documented bulk API and nothing else, and misbehaves as it is told.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{post, put},
};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What it does with the next bulk request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Answers that status, and takes nothing.
    Status(u16),
    /// Takes every other document, and is too busy for the rest.
    Half,
    /// Takes all, and answers nonsense.
    Nonsense,
    /// Takes all, and answers about fewer.
    Short,
    /// Takes all, and hangs up without an answer.
    HangUp,
}

#[derive(Default)]
pub(super) struct Elasticsearch {
    pub(super) documents: Mutex<HashMap<String, Value>>,
    /// How often an id came that was there already.
    pub(super) conflicts: Mutex<usize>,
    pub(super) moods: Mutex<VecDeque<Mood>>,
    /// Bytes above which a request is too large.
    pub(super) largest: Option<usize>,
    pub(super) template: Mutex<bool>,
}

impl Elasticsearch {
    pub(super) fn moody(moods: &[Mood]) -> Self {
        Self { moods: Mutex::new(moods.iter().copied().collect()), ..Self::default() }
    }

    /// Serves until its task is aborted; gives its URL.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) -> Url {
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let routes = Router::new()
            .route("/_index_template/{name}", put(template))
            .route("/{stream}/_bulk", post(bulk))
            .with_state(self);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    pub(super) fn ids_of_requests(&self) -> Vec<String> {
        let documents = self.documents.lock().unwrap();
        let ids = documents.values().filter_map(|document| document["http.request.id"].as_str().map(str::to_owned));
        let mut ids: Vec<_> = ids.collect();
        ids.sort_unstable();
        ids
    }

    fn create(&self, id: &str, document: Value) -> Value {
        let mut documents = self.documents.lock().unwrap();
        if documents.contains_key(id) {
            *self.conflicts.lock().unwrap() += 1;
            let error = json!({"type": "version_conflict_engine_exception"});
            return json!({"create": {"_id": id, "status": 409, "error": error}});
        }
        documents.insert(id.into(), document);
        json!({"create": {"_id": id, "status": 201, "result": "created"}})
    }
}

async fn template(State(fake): State<Arc<Elasticsearch>>, Path(name): Path<String>, body: Bytes) -> StatusCode {
    let template: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(template["index_patterns"], json!([name]));
    *fake.template.lock().unwrap() = true;
    StatusCode::OK
}

async fn bulk(
    State(fake): State<Arc<Elasticsearch>>,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert!(*fake.template.lock().unwrap(), "a record came before the template");
    assert_eq!(stream, "kea-audit");
    assert_eq!(headers["content-type"], "application/x-ndjson");
    if headers.get("authorization").is_none_or(|value| value != "ApiKey a2V5") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if fake.largest.is_some_and(|largest| body.len() > largest) {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.ends_with('\n'), "the last line has no end");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mood = fake.moods.lock().unwrap().pop_front();
    if let Some(Mood::Status(status)) = mood {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let mut items: Vec<Value> = Vec::new();
    for (index, pair) in lines.chunks(2).enumerate() {
        let [action, document] = pair else { panic!("an action without a document") };
        let id = action["create"]["_id"].as_str().unwrap();
        if mood == Some(Mood::Half) && index % 2 == 1 {
            let error = json!({"type": "es_rejected_execution_exception"});
            items.push(json!({"create": {"_id": id, "status": 429, "error": error}}));
        } else {
            items.push(fake.create(id, document.clone()));
        }
    }
    match mood {
        Some(Mood::Nonsense) => "<html>a proxy's page</html>".into_response(),
        Some(Mood::HangUp) => panic!("hangs up"),
        Some(Mood::Short) => axum::Json(json!({"took": 1, "errors": false, "items": items[1..]})).into_response(),
        _ => axum::Json(json!({"took": 1, "errors": mood.is_some(), "items": items})).into_response(),
    }
}
