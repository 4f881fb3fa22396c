//! Services: deployed, listed, changed, deleted; their versions and functions.

use std::collections::BTreeMap;

use axum::{Json, extract::State, response::IntoResponse};
use http::{HeaderName, StatusCode, header};
use kea_auth::{Caller, policy::Ask};
use kea_core::{
    ServiceId, Settings, VersionId, change,
    management::{
        BASE_PATH, DeployRequest, DeployResponse, MethodInfo, ServiceDetails, ServiceInfo, UpdateRequest,
        UpdateResponse, VersionInfo, Violation,
    },
    policy::Verb,
};
use kea_http::ApiError;

use crate::{
    ApiState,
    audit::Recorded,
    contracts::VersionQuery,
    errors,
    extract::{Params, ServiceName},
    guard::{self, Session},
    methods,
    payload::Payload,
    permissions,
};

/// `POST /services`
pub(crate) async fn deploy(
    State(state): State<ApiState>,
    Recorded(record): Recorded,
    Session(caller): Session,
    Payload(request): Payload<DeployRequest>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<DeployResponse>), ApiError> {
    record.service(request.service_id.as_ref().map_or(request.model_name.as_str(), ServiceId::as_str));
    may_deploy(&state, &caller, &request)?;
    if request.audit.is_some() {
        guard::may_audit(&state, &caller)?;
    }
    has_something_to_run(&request)?;
    let details = state.deployer.deploy(request).await.map_err(errors::of_deployer)?;
    let ServiceDetails { service_id, version, kubernetes_service, .. } = details;
    record.service(service_id.as_str());
    let location = [(header::LOCATION, format!("{BASE_PATH}/services/{service_id}"))];
    Ok((StatusCode::CREATED, location, Json(DeployResponse { service_id, version, kubernetes_service })))
}

/// Asks for the service as it is, and as it would be: labels are what roles go by.
fn may_deploy(state: &ApiState, caller: &Caller, request: &DeployRequest) -> Result<(), ApiError> {
    let id = change::service_id(request).map_err(errors::of_deployer)?;
    let now = state.deployer.get(&id).map(|details| details.settings);
    may_label(state, caller, Verb::Deploy, &id, now.as_ref(), request.labels.as_ref())?;
    now.map_or(Ok(()), |now| permissions::check(state, caller, &Ask::of_service(Verb::Deploy, id.as_str(), Some(&now))))
}

/// Nobody gives a service labels under which they could not do the same.
fn may_label(
    state: &ApiState,
    caller: &Caller,
    verb: Verb,
    id: &ServiceId,
    now: Option<&Settings>,
    labels: Option<&BTreeMap<String, String>>,
) -> Result<(), ApiError> {
    let mut then = now.cloned().unwrap_or_default();
    then.labels = labels.cloned().unwrap_or(then.labels);
    permissions::check(state, caller, &Ask::of_service(verb, id.as_str(), Some(&then)))
}

fn has_something_to_run(request: &DeployRequest) -> Result<(), ApiError> {
    let DeployRequest { source_code, container_image, command, .. } = request;
    if source_code.is_some() || container_image.is_some() || command.as_ref().is_some_and(|words| !words.is_empty()) {
        return Ok(());
    }
    Err(errors::invalid(vec![Violation {
        pointer: "/sourceCode".into(),
        expected: "the path or URL of a model in `sourceCode`, or a `containerImage`, or a `command`".into(),
        received: "none of them".into(),
        detail: "nothing to run is named: send `sourceCode` with the path or URL of the model's file or folder".into(),
    }]))
}

/// `GET /services`
pub(crate) async fn list(
    State(state): State<ApiState>,
    Session(caller): Session,
) -> Result<Json<Vec<ServiceInfo>>, ApiError> {
    Ok(Json(permissions::seen(&state, &caller)?.into_iter().map(info).collect()))
}

fn info(details: ServiceDetails) -> ServiceInfo {
    let ServiceDetails { service_id, model_name, status, version, replicas, ready_replicas, .. } = details;
    ServiceInfo { service_id, model_name, status, version, replicas, ready_replicas }
}

/// `GET /services/{serviceId}`
pub(crate) async fn get(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
) -> Result<Json<ServiceDetails>, ApiError> {
    let mut details = state.deployer.get(&id).ok_or_else(|| errors::no_service(id.as_str()))?;
    if let Some(shadow) = &mut details.shadow {
        shadow.counts = state.gateway.shadowed(&id, &shadow.version);
    }
    Ok(Json(details))
}

/// `PUT /services/{serviceId}`
pub(crate) async fn update(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
    Session(caller): Session,
    Payload(change): Payload<UpdateRequest>,
) -> Result<Json<UpdateResponse>, ApiError> {
    let now = state.deployer.get(&id).map(|details| details.settings);
    may_label(&state, &caller, Verb::Update, &id, now.as_ref(), change.labels.as_ref())?;
    if change.audit.is_some() {
        guard::may_audit(&state, &caller)?;
    }
    state.deployer.update(&id, change).await.map(changed).map_err(errors::of_deployer)
}

/// `POST /services/{serviceId}/rollback`
pub(crate) async fn rollback(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
) -> Result<Json<UpdateResponse>, ApiError> {
    state.deployer.rollback(&id).await.map(changed).map_err(errors::of_deployer)
}

fn changed(details: ServiceDetails) -> Json<UpdateResponse> {
    let ServiceDetails { service_id, status, version, .. } = details;
    Json(UpdateResponse { service_id, status, version })
}

/// `DELETE /services/{serviceId}`
pub(crate) async fn delete(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
) -> Result<impl IntoResponse, ApiError> {
    state.deployer.delete(&id).await.map(|()| StatusCode::NO_CONTENT).map_err(errors::of_deployer)
}

/// `GET /services/{serviceId}/versions`
pub(crate) async fn versions(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
) -> Result<Json<Vec<VersionInfo>>, ApiError> {
    state.deployer.versions(&id).await.map(Json).map_err(errors::of_deployer)
}

/// `GET /services/{serviceId}/methods`
pub(crate) async fn methods(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
    Params(VersionQuery { version }): Params<VersionQuery>,
) -> Result<Json<Vec<MethodInfo>>, ApiError> {
    let (_, contract) = found_contract(&state, &id, version.as_ref()).await?;
    let contract = contract.ok_or_else(|| errors::no_contract(&id))?;
    Ok(Json(methods::of(&id, &contract)))
}

/// The contract of a version, or of the live one.
pub(crate) async fn found_contract(
    state: &ApiState,
    id: &kea_core::ServiceId,
    version: Option<&VersionId>,
) -> Result<(VersionId, Option<std::sync::Arc<kea_core::Contract>>), ApiError> {
    state.deployer.contract(id, version).await.map_err(errors::of_deployer)
}
