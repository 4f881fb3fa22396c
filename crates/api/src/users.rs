//! Users, for those who administer.

use axum::{Json, extract::State, response::IntoResponse};
use http::{StatusCode, header};
use kea_auth::policy::Ask;
use kea_core::{
    management::{BASE_PATH, UserChange, UserInfo, UserRequest},
    policy::Verb,
};
use kea_http::ApiError;

use crate::{ApiState, errors, extract::Id, guard::Session, payload::Payload, permissions};

/// `GET /users`
pub(crate) async fn list(State(state): State<ApiState>) -> Result<Json<Vec<UserInfo>>, ApiError> {
    state.auth.users().await.map(Json).map_err(|error| errors::of_store(&error))
}

/// `POST /users`
pub(crate) async fn create(
    State(state): State<ApiState>,
    Payload(request): Payload<UserRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let user = state.auth.create_user(request).await.map_err(|error| errors::of_identity(error, "/password"))?;
    let location = format!("{BASE_PATH}/users/{}", user.username);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(user)))
}

/// `GET /users/{username}`
pub(crate) async fn get(
    State(state): State<ApiState>,
    Session(caller): Session,
    Id(username): Id,
) -> Result<Json<UserInfo>, ApiError> {
    if username != *caller.username {
        permissions::check(&state, &caller, &Ask::of_kea(Verb::Users))?;
    }
    state.auth.user(&username).await.map(Json).map_err(|error| errors::of_identity(error, ""))
}

/// `PUT /users/{username}`
pub(crate) async fn change(
    State(state): State<ApiState>,
    Id(username): Id,
    Payload(change): Payload<UserChange>,
) -> Result<Json<UserInfo>, ApiError> {
    let changed = state.auth.change_user(&username, change).await;
    changed.map(Json).map_err(|error| errors::of_identity(error, "/password"))
}

/// `DELETE /users/{username}`
pub(crate) async fn delete(State(state): State<ApiState>, Id(username): Id) -> Result<StatusCode, ApiError> {
    state.auth.delete_user(&username).await.map_err(|error| errors::of_identity(error, ""))?;
    Ok(StatusCode::NO_CONTENT)
}
