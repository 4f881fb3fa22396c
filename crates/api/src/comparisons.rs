//! What a version, or a contract that was sent, changes for callers of a version.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::HeaderMap;
use kea_core::{
    Contract, ServiceId, VersionId,
    compare::{ContractChange, compare},
    management::Comparison,
};
use kea_http::ApiError;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    ApiState, errors,
    extract::{Params, ServiceName},
    guard,
    payload::Payload,
    services::found_contract,
};

/// Which versions are compared.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct ChangesQuery {
    /// The version that callers go by; the live one where another is compared with it, else the one that was live before.
    from: Option<VersionId>,
    /// The version that is compared with it; the live one where it is not given.
    version: Option<VersionId>,
}

/// Which version a contract is compared with.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct FromQuery {
    /// The version that callers go by; the live one where it is not given.
    from: Option<VersionId>,
}

/// `GET /openapi/{serviceId}/changes`
pub(crate) async fn between(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
    Params(ChangesQuery { from, version }): Params<ChangesQuery>,
    headers: HeaderMap,
) -> Result<Json<Comparison>, ApiError> {
    guard::may_read(&state, &headers, &id)?;
    let (version, after) = known(&state, &id, version.as_ref()).await?;
    let from = match from {
        Some(from) => Some(from),
        None => before(&state, &id, &version).await?,
    };
    let Some(from) = from else { return Ok(Json(comparison(id, None, Some(version), Vec::new()))) };
    let (from, before) = known(&state, &id, Some(&from)).await?;
    let changes = compared(before, after).await;
    Ok(Json(comparison(id, Some(from), Some(version), changes)))
}

/// `POST /openapi/{serviceId}/changes`
pub(crate) async fn with(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
    Params(FromQuery { from }): Params<FromQuery>,
    Payload(contract): Payload<Contract>,
) -> Result<Json<Comparison>, ApiError> {
    let (from, before) = known(&state, &id, from.as_ref()).await?;
    let changes = compared(before, Arc::new(contract)).await;
    Ok(Json(comparison(id, Some(from), None, changes)))
}

/// The version that callers went by before they could go by `version`: the live one, or the latest that was live before it.
async fn before(state: &ApiState, id: &ServiceId, version: &VersionId) -> Result<Option<VersionId>, ApiError> {
    let versions = state.deployer.versions(id).await.map_err(errors::of_deployer)?;
    if let Some(live) = versions.iter().find(|known| known.live && known.version != *version) {
        return Ok(Some(live.version.clone()));
    }
    let earlier = versions.iter().take_while(|known| known.version != *version).filter(|known| known.was_live).last();
    Ok(earlier.map(|known| known.version.clone()))
}

async fn known(
    state: &ApiState,
    id: &ServiceId,
    version: Option<&VersionId>,
) -> Result<(VersionId, Arc<Contract>), ApiError> {
    let (version, contract) = found_contract(state, id, version).await?;
    Ok((version, contract.ok_or_else(|| errors::no_contract(id))?))
}

/// Contracts may be large, and what is sent may be made to take long.
async fn compared(before: Arc<Contract>, after: Arc<Contract>) -> Vec<ContractChange> {
    let compared = tokio::task::spawn_blocking(move || compare(&before, &after)).await;
    compared.expect("a comparison ends, and does not panic")
}

fn comparison(
    service_id: ServiceId,
    from: Option<VersionId>,
    version: Option<VersionId>,
    changes: Vec<ContractChange>,
) -> Comparison {
    let breaking = changes.iter().any(ContractChange::is_breaking);
    Comparison { service_id, from, version, breaking, changes }
}
