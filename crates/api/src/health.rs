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
    /// `ok`.
    status: &'static str,
}

/// Whether KEA takes requests.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Readiness {
    /// `ok`, or `starting` where it does not take requests yet.
    status: &'static str,
    /// What does not keep KEA from answering, and is to be mended, a sentence each.
    troubles: Vec<String>,
}

/// `GET /healthz`
pub(crate) async fn live() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// `GET /readyz`
pub(crate) async fn ready(State(state): State<ApiState>) -> (StatusCode, Json<Readiness>) {
    let (code, status) = match state.ready.load(Ordering::Acquire) {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
    };
    (code, Json(Readiness { status, troubles: state.audit.troubles() }))
}

/// `GET /metrics`
pub(crate) async fn metrics(State(state): State<ApiState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (state.metrics)())
}
