//! Requests to services: called, checked without a call, answered from the cache. All of it is the gateway's work.

use std::net::{Ipv4Addr, SocketAddr};

use axum::{
    Json,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use kea_core::{
    ServiceId, VersionId,
    contract::DEFAULT_FUNCTION,
    management::{ValidationRequest, ValidationResponse, VersionInfo},
    policy::Verb,
    port::DeployError,
};
use kea_http::{ApiError, PeerAddress};
use kea_openapi::validate::Validator;
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
    let checked = state.gateway.validate(service_id.as_str(), schema_version.as_deref(), function, &body);
    let schema_version = match (checked, schema_version) {
        (Err(error), Some(version)) if error.kind == NO_SCHEMA => {
            against_stopped(&state, &service_id, &version, function, &body).await?
        }
        (checked, _) => checked?,
    };
    Ok(Json(ValidationResponse { valid: true, schema_version }))
}

/// The kind of error by which the gateway says that a version does not run.
const NO_SCHEMA: &str = "no-schema";

/// Holds a payload against the schema of a version that does not run any more, or not yet.
async fn against_stopped(
    state: &ApiState,
    id: &ServiceId,
    version: &str,
    function: &str,
    body: &[u8],
) -> Result<VersionId, ApiError> {
    let found = match version.parse::<VersionId>() {
        Ok(version) => state.deployer.contract(id, Some(&version)).await,
        Err(_no_name) => Ok((VersionId::first(), None)),
    };
    match found {
        Ok((version, Some(contract))) => {
            let validator = Validator::compile(contract).map_err(|error| {
                let detail = format!("the schema of version `{version}` cannot be used: {error}");
                ApiError::new(StatusCode::CONFLICT, "contract-unknown", detail)
            })?;
            validator.check(function, body).map_err(errors::rejected)?;
            Ok(version)
        }
        Ok((_, None)) | Err(DeployError::NoSuchVersion { .. }) => Err(no_schema(state, id, version).await),
        Err(error) => Err(errors::of_deployer(error)),
    }
}

/// What is said where nothing is known of a version: of which versions something is.
async fn no_schema(state: &ApiState, id: &ServiceId, version: &str) -> ApiError {
    let mut known = Vec::new();
    for VersionInfo { version, .. } in state.deployer.versions(id).await.unwrap_or_default() {
        if let Ok((version, Some(_))) = state.deployer.contract(id, Some(&version)).await {
            known.push(format!("`{version}`"));
        }
    }
    let detail = format!("there is no schema of version `{version}` of `{id}`; there is one of: {}", known.join(", "));
    ApiError::new(StatusCode::BAD_REQUEST, NO_SCHEMA, detail)
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
