//! Requests to services: called, checked without a call, answered from the cache. All of it is the gateway's work.

use std::net::{Ipv4Addr, SocketAddr};

use axum::{
    Json,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use kea_core::{
    ServiceId,
    contract::DEFAULT_FUNCTION,
    management::{ValidationRequest, ValidationResponse},
    policy::Verb,
};
use kea_http::{ApiError, PeerAddress};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    ApiState, errors,
    extract::{FunctionName, Params, ServiceName},
    guard::Session,
    payload::Payload,
    permissions,
};

/// `POST /services/{serviceId}/predict`
pub(crate) async fn predict(State(state): State<ApiState>, ServiceName(id): ServiceName, request: Request) -> Response {
    let peer = peer(&request);
    state.gateway.handle(id.as_str(), DEFAULT_FUNCTION, request, peer).await
}

/// `POST /services/{serviceId}/{function}`
pub(crate) async fn call(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
    FunctionName(function): FunctionName,
    request: Request,
) -> Response {
    let peer = peer(&request);
    state.gateway.handle(id.as_str(), &function, request, peer).await
}

/// Who is at the other end of the connection. A request that came through none, as in tests, has no address.
fn peer(request: &Request) -> SocketAddr {
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    request.extensions().get::<PeerAddress>().map_or(nobody, |PeerAddress(peer)| *peer)
}

/// `POST /router/validate`
pub(crate) async fn validate(
    State(state): State<ApiState>,
    Session(caller): Session,
    Payload(request): Payload<ValidationRequest>,
) -> Result<Json<ValidationResponse>, ApiError> {
    permissions::check_service(&state, &caller, Verb::Read, request.service_id.as_str())?;
    let ValidationRequest { service_id, request_payload, schema_version, function } = request;
    let function = function.as_deref().unwrap_or(DEFAULT_FUNCTION);
    let body = serde_json::to_vec(&request_payload).expect("a JSON value is written");
    let schema_version = state.gateway.validate(service_id.as_str(), schema_version.as_deref(), function, &body)?;
    Ok(Json(ValidationResponse { valid: true, schema_version }))
}

/// Which answer is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CacheQuery {
    /// The value of the header `kea-cache-key` of the answer that is meant.
    #[schemars(length(min = 1))]
    pub(crate) cache_key: String,
}

/// `GET /router/cache`
pub(crate) async fn cached(
    State(state): State<ApiState>,
    Params(CacheQuery { cache_key }): Params<CacheQuery>,
    Session(caller): Session,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if cache_key.is_empty() {
        return Err(errors::bad_query(
            "`cacheKey` is empty: send the value of the header `kea-cache-key` of an answer",
        ));
    }
    permissions::check_service(&state, &caller, Verb::Cache, service_of(&cache_key))?;
    state.gateway.cached(&caller, &cache_key, &headers).await.ok_or_else(|| {
        let detail = "no answer is cached under this key: it has expired, or there was none";
        ApiError::new(StatusCode::NOT_FOUND, "not-cached", detail)
    })
}

/// A key begins with the service's name.
fn service_of(cache_key: &str) -> &str {
    cache_key.split_once(':').map_or(cache_key, |(service, _)| service)
}

/// Which answers are to go: those of a service, of one of its functions, or the one of a key.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClearQuery {
    /// The service whose answers are meant.
    service_id: Option<ServiceId>,
    /// The function of that service; all where none is named.
    function: Option<String>,
    /// The value of the header `kea-cache-key` of the answer that is meant, without a service.
    cache_key: Option<String>,
}

/// `DELETE /router/cache`
pub(crate) async fn clear_cache(
    State(state): State<ApiState>,
    Params(ClearQuery { service_id, function, cache_key }): Params<ClearQuery>,
    Session(caller): Session,
) -> Result<StatusCode, ApiError> {
    let service = service_id.as_ref().map(ServiceId::as_str).or_else(|| cache_key.as_deref().map(service_of));
    if let Some(service) = service {
        permissions::check_service(&state, &caller, Verb::Cache, service)?;
    }
    match (service_id, function, cache_key) {
        (Some(service), function, None) => state.gateway.clear_cache(service.as_str(), function.as_deref()).await?,
        (None, None, Some(key)) => state.gateway.clear_cached(&key).await?,
        _ => {
            return Err(errors::bad_query(
                "say what is to be removed: `serviceId`, with or without `function`, or `cacheKey` alone",
            ));
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
