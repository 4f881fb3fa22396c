//! Logging in.

use axum::{Json, extract::State, response::IntoResponse};
use http::header;
use kea_core::management::{LoginRequest, LoginResponse};
use kea_http::ApiError;

use crate::{ApiState, audit::Recorded, errors, payload::Payload};

/// `POST /auth/login`
pub(crate) async fn login(
    State(state): State<ApiState>,
    Recorded(record): Recorded,
    Payload(LoginRequest { username, password }): Payload<LoginRequest>,
) -> Result<impl IntoResponse, ApiError> {
    record.claimed_user(&username);
    let session = state.auth.login(&username, &password).await.map_err(errors::of_auth)?;
    let answer = LoginResponse { token: session.token, expires_at: session.expires_at };
    // A token must not lie in any cache on its way.
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)))
}
