//! The audit trail, for those who may read it.

use axum::{Json, extract::State};
use jiff::Timestamp;
use kea_audit::{QUERY_MAX, Query, Recorder};
use kea_core::{management::UpdateRequest, service::AuditRules};
use kea_http::ApiError;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    ApiState, errors,
    extract::{Params, ServiceName},
    logs::Since,
    payload::Payload,
};

/// Records of an answer where nothing is said.
const LIMIT: usize = 100;

/// Which records are asked for.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct AuditQuery {
    /// From when on: a time (`2026-01-31T12:00:00Z`), or how long ago (`1h`).
    since: Option<Since>,
    /// Before when: a time, or how long ago.
    until: Option<Since>,
    /// Name of the user who called.
    caller: Option<String>,
    /// Name of the service that was meant.
    service: Option<String>,
    /// How it ended: `success`, `denied`, `invalid`, `unavailable`, `error` or `cancelled`.
    #[schemars(extend("enum" = kea_audit::Outcome::WORDS))]
    outcome: Option<String>,
    /// How many of the latest; 100 where it is not given.
    #[schemars(range(min = 1, max = 10000))]
    limit: Option<usize>,
}

/// Records of the audit trail.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AuditRecords {
    /// Newest first, each with flat names of the Elastic Common Schema.
    #[schemars(schema_with = "objects")]
    records: Vec<Box<RawValue>>,
}

fn objects(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Vec<serde_json::Map<String, serde_json::Value>>>()
}

/// `GET /logs/audit`
pub(crate) async fn read(
    State(state): State<ApiState>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<AuditRecords>, ApiError> {
    let query = asked(query)?;
    let records = state.audit.query(query).await.map_err(|error| errors::of_audit(&error))?;
    Ok(Json(AuditRecords { records }))
}

fn asked(query: AuditQuery) -> Result<Query, ApiError> {
    let AuditQuery { since, until, caller, service, outcome, limit } = query;
    if let Some(word) = outcome.as_deref().filter(|word| kea_audit::outcome(word).is_none()) {
        let known = kea_audit::Outcome::WORDS.join(", ");
        return Err(errors::bad_query(format!("`outcome` is `{word}`: there are {known}")));
    }
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=QUERY_MAX).contains(&limit) {
        return Err(errors::bad_query(format!(
            "`limit` is 1 to {QUERY_MAX}: give an earlier `until` for older records"
        )));
    }
    let time = |since: Option<Since>| since.map(|Since(time)| -> Timestamp { time });
    Ok(Query { since: time(since), until: time(until), caller, service, outcome, limit })
}

/// `GET /logs/rules/{serviceId}`
pub(crate) async fn rules(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
) -> Result<Json<AuditRules>, ApiError> {
    let details = state.deployer.get(&id).ok_or_else(|| errors::no_service(id.as_str()))?;
    Ok(Json(details.settings.audit))
}

/// `PUT /logs/rules/{serviceId}`
pub(crate) async fn set_rules(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
    Payload(rules): Payload<AuditRules>,
) -> Result<Json<AuditRules>, ApiError> {
    let change = UpdateRequest { audit: Some(rules.clone()), ..UpdateRequest::default() };
    state.deployer.update(&id, change).await.map_err(errors::of_deployer)?;
    Ok(Json(rules))
}

/// The record of a request, for handlers that know more of it than its path says.
pub(crate) struct Recorded(pub(crate) Recorder);

impl axum::extract::FromRequestParts<ApiState> for Recorded {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut http::request::Parts, _: &ApiState) -> Result<Self, Self::Rejection> {
        Ok(Self(Recorder::of(&parts.extensions)))
    }
}
