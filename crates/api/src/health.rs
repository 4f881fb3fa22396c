//! How KEA itself is: alive, ready, and its metrics.

use std::sync::atomic::Ordering;

use axum::{Json, extract::State, response::IntoResponse};
use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use crate::ApiState;

/// How KEA is, in a word.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    /// `ok`, or `starting` where it does not take requests yet.
    status: &'static str,
    /// What does not keep KEA from answering, and is to be mended, a sentence each.
    troubles: Vec<String>,
}

/// `GET /healthz`
pub(crate) async fn live() -> Json<Health> {
    Json(Health { status: "ok", troubles: Vec::new() })
}

/// `GET /readyz`
pub(crate) async fn ready(State(state): State<ApiState>) -> (StatusCode, Json<Health>) {
    if state.ready.load(Ordering::Acquire) {
        (StatusCode::OK, Json(Health { status: "ok", troubles: state.audit.troubles() }))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: "starting", troubles: Vec::new() }))
    }
}

/// `GET /metrics`
pub(crate) async fn metrics(State(state): State<ApiState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (state.metrics)())
}
