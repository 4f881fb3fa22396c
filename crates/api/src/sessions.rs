//! Sessions: begun, carried on, listed, ended; who asks; one's own password; and the keys that sign.

use axum::{
    Json,
    extract::{FromRequestParts, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header, request::Parts};
use kea_auth::{AuthError, Origin, REFRESH_COOKIE, is_of_this_site, policy::Ask};
use kea_core::{
    management::{KeySet, LoginRequest, Me, PasswordRequest, RefreshRequest, SessionInfo, SigningKeyInfo},
    policy::Verb,
};
use kea_http::{ApiError, ClientAddress};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    ApiState,
    audit::Recorded,
    cookies, errors,
    extract::{Id, Params},
    guard::Session,
    payload::Payload,
    permissions,
};

/// Where a browser ends the session that a provider has beside the one here.
pub(crate) const PROVIDER_LOGOUT: &str = "kea-provider-logout";

/// Where a request comes from.
pub(crate) struct CameFrom(pub(crate) Origin);

impl FromRequestParts<ApiState> for CameFrom {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, ApiError> {
        let address = ClientAddress::of(&parts.extensions);
        let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Ok(Self(Origin { address, user_agent: agent.map(str::to_owned) }))
    }
}

/// `POST /auth/login`
pub(crate) async fn login(
    State(state): State<ApiState>,
    Recorded(record): Recorded,
    CameFrom(origin): CameFrom,
    headers: HeaderMap,
    Payload(LoginRequest { username, password }): Payload<LoginRequest>,
) -> Result<Response, ApiError> {
    record.claimed_user(&username);
    let session = state.auth.login(&username, &password, &origin).await.map_err(errors::of_auth)?;
    Ok(cookies::tokens(session, &headers))
}

/// `POST /auth/refresh`
pub(crate) async fn refresh(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Payload(RefreshRequest { refresh_token }): Payload<RefreshRequest>,
) -> Result<Response, ApiError> {
    let given = refresh_token.as_deref().map_or_else(|| of_cookie(&headers), Ok).map_err(errors::of_auth)?;
    let session = state.auth.refresh(given).await.map_err(errors::of_auth)?;
    Ok(cookies::tokens(session, &headers))
}

fn of_cookie(headers: &HeaderMap) -> Result<&str, AuthError> {
    let cookie = kea_auth::cookie(headers, REFRESH_COOKIE).ok_or(AuthError::Missing)?;
    if is_of_this_site(headers) { Ok(cookie) } else { Err(AuthError::CrossSite) }
}

/// `POST /auth/logout`
pub(crate) async fn logout(
    State(state): State<ApiState>,
    Session(caller): Session,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let session = caller.session.ok_or_else(errors::no_session_to_end)?;
    state.auth.end(&session).await.map_err(errors::of_auth)?;
    let mut done = StatusCode::NO_CONTENT.into_response();
    let elsewhere = state.sso.logout(&session).await.and_then(|url| url.parse().ok());
    if let Some(url) = elsewhere {
        done.headers_mut().insert(PROVIDER_LOGOUT, url);
    }
    Ok(if is_of_this_site(&headers) { cookies::forget(done, &headers) } else { done })
}

/// `GET /auth/me`
pub(crate) async fn me(Session(caller): Session) -> Json<Me> {
    let text = |text: std::sync::Arc<str>| text.as_ref().to_owned();
    Json(Me {
        username: text(caller.username),
        roles: caller.roles.to_vec(),
        groups: caller.groups.to_vec(),
        session_id: caller.session.map(text),
        key_id: caller.key.map(text),
        scopes: caller.scopes.map(|scopes| scopes.to_vec()),
    })
}

/// `POST /auth/password`
pub(crate) async fn password(
    State(state): State<ApiState>,
    Session(caller): Session,
    CameFrom(origin): CameFrom,
    headers: HeaderMap,
    Payload(PasswordRequest { old_password, new_password }): Payload<PasswordRequest>,
) -> Result<Response, ApiError> {
    // A key that has leaked must not become a login.
    caller.session.ok_or_else(errors::no_session_to_end)?;
    let changed = state.auth.change_password(&caller.username, &old_password, new_password, &origin).await;
    let session = changed.map_err(|error| errors::of_identity(error, "/newPassword"))?;
    Ok(cookies::tokens(session, &headers))
}

/// Whose sessions are meant.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionQuery {
    /// The user; other users' sessions need the permission `users`.
    pub(crate) username: Option<String>,
    /// Whether the sessions of all users are meant.
    #[serde(default)]
    pub(crate) all: bool,
}

/// `GET /auth/sessions`
pub(crate) async fn list(
    State(state): State<ApiState>,
    Params(query): Params<SessionQuery>,
    Session(caller): Session,
) -> Result<Json<Vec<SessionInfo>>, ApiError> {
    let username = match (&query.username, query.all) {
        (None, true) => None,
        (username, _) => Some(username.as_deref().unwrap_or(&caller.username)),
    };
    if username != Some(&*caller.username) {
        permissions::check(&state, &caller, &Ask::of_kea(Verb::Users))?;
    }
    let sessions = state.auth.sessions(username, caller.session.as_deref()).await;
    sessions.map(Json).map_err(|error| errors::of_store(&error))
}

/// `DELETE /auth/sessions/{id}`
pub(crate) async fn end(
    State(state): State<ApiState>,
    Session(caller): Session,
    Id(id): Id,
) -> Result<StatusCode, ApiError> {
    let owner = state.auth.session_owner(&id).await.map_err(|error| errors::of_store(&error))?;
    if owner.as_deref() != Some(&*caller.username) {
        permissions::check(&state, &caller, &Ask::of_kea(Verb::Users))?;
    }
    owner.ok_or_else(|| errors::no_such("session", &id))?;
    state.auth.end(&id).await.map_err(errors::of_auth)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whose sessions end.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserQuery {
    /// The user; other users' sessions need the permission `users`.
    pub(crate) username: String,
}

/// `DELETE /auth/sessions?username=`
pub(crate) async fn end_all(
    State(state): State<ApiState>,
    Params(UserQuery { username }): Params<UserQuery>,
    Session(caller): Session,
) -> Result<StatusCode, ApiError> {
    if username != *caller.username {
        permissions::check(&state, &caller, &Ask::of_kea(Verb::Users))?;
    }
    state.auth.end_all(&username).await.map_err(|error| errors::of_identity(error, ""))?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /.well-known/jwks.json`
pub(crate) async fn public_keys(State(state): State<ApiState>) -> impl IntoResponse {
    // A token of a newer key than those that somebody keeps makes them ask again.
    ([(header::CACHE_CONTROL, "public, max-age=60")], Json(KeySet { keys: state.auth.public_keys() }))
}

/// `POST /auth/signing-keys/rotate`
pub(crate) async fn rotate(State(state): State<ApiState>) -> Result<Json<SigningKeyInfo>, ApiError> {
    let id = state.auth.rotate_keys().await.map_err(|error| errors::of_store(&error))?;
    Ok(Json(SigningKeyInfo { id }))
}
