//! API keys: one's own, and those of others for those who administer.

use axum::{Json, extract::State, response::IntoResponse};
use http::{StatusCode, header};
use kea_auth::policy::Ask;
use kea_core::{
    management::{KeyInfo, KeyRequest},
    policy::Verb,
};
use kea_http::ApiError;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    ApiState, errors,
    extract::{Id, Params},
    guard::Session,
    payload::Payload,
    permissions,
};

/// Whose keys are meant.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyQuery {
    /// The owner; other owners' keys need the permission `keys`.
    pub(crate) owner: Option<String>,
    /// Whether the keys of all owners are meant.
    #[serde(default)]
    pub(crate) all: bool,
}

/// `GET /auth/keys`
pub(crate) async fn list(
    State(state): State<ApiState>,
    Params(query): Params<KeyQuery>,
    Session(caller): Session,
) -> Result<Json<Vec<KeyInfo>>, ApiError> {
    let owner = match (&query.owner, query.all) {
        (None, true) => None,
        (owner, _) => Some(owner.as_deref().unwrap_or(&caller.username)),
    };
    if owner != Some(&*caller.username) {
        permissions::check(&state, &caller, &Ask::of_kea(Verb::Keys))?;
    }
    state.auth.api_keys(owner).await.map(Json).map_err(|error| errors::of_store(&error))
}

/// `POST /auth/keys`
pub(crate) async fn create(
    State(state): State<ApiState>,
    Session(caller): Session,
    Payload(request): Payload<KeyRequest>,
) -> Result<impl IntoResponse, ApiError> {
    // A key that is confined, or that ends, could otherwise make one that is not and does not.
    caller.session.as_ref().ok_or_else(errors::no_session_to_end)?;
    let owner = request.owner.as_ref().map_or_else(|| caller.username.to_string(), ToString::to_string);
    if owner != *caller.username {
        permissions::check(&state, &caller, &Ask::of_kea(Verb::Keys))?;
    }
    let pointer = if request.owner.is_some() { "/owner" } else { "" };
    let made = state.auth.create_key(&owner, request).await.map_err(|error| errors::of_identity(error, pointer))?;
    // The key must not lie in any cache on its way.
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(made)))
}

/// `DELETE /auth/keys/{id}`
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    Session(caller): Session,
    Id(id): Id,
) -> Result<StatusCode, ApiError> {
    let owner = state.auth.key_owner(&id).await.map_err(|error| errors::of_store(&error))?;
    if owner.as_deref() != Some(&*caller.username) {
        permissions::check(&state, &caller, &Ask::of_kea(Verb::Keys))?;
    }
    owner.ok_or_else(|| errors::no_such("key", &id))?;
    state.auth.revoke_key(&id).await.map_err(|error| errors::of_store(&error))?;
    Ok(StatusCode::NO_CONTENT)
}
