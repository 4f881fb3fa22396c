//! What goes wrong with a login by a provider, as an answer.

use http::StatusCode;
use kea_auth::{SsoError, oidc::OidcError};
use kea_http::ApiError;

use crate::errors::{of_auth, of_store};

/// The answer to a login that does not succeed.
pub(super) fn of_sso(error: SsoError) -> ApiError {
    let detail = error.to_string();
    let (status, kind) = match error {
        SsoError::NoProvider(_) => (StatusCode::NOT_FOUND, "no-provider"),
        SsoError::NoDevice(_) => (StatusCode::NOT_FOUND, "no-device-login"),
        SsoError::Nowhere(_) => (StatusCode::BAD_REQUEST, "no-destination"),
        SsoError::Provider(OidcError::Unreachable { .. }) => (StatusCode::BAD_GATEWAY, "provider-unreachable"),
        SsoError::Provider(OidcError::Misconfigured { .. }) => (StatusCode::BAD_GATEWAY, "provider-misconfigured"),
        SsoError::Provider(OidcError::Unusable { .. }) => (StatusCode::BAD_GATEWAY, "provider-unusable"),
        SsoError::Provider(OidcError::Refused { .. }) => (StatusCode::FORBIDDEN, "provider-refused"),
        SsoError::Provider(OidcError::NotBegun) => (StatusCode::BAD_REQUEST, "login-not-begun"),
        SsoError::NameTaken(_) => (StatusCode::CONFLICT, "name-taken"),
        SsoError::Disabled(_) => (StatusCode::FORBIDDEN, "user-disabled"),
        SsoError::NoSuchCode => (StatusCode::BAD_REQUEST, "login-over"),
        SsoError::Auth(error) => return of_auth(error),
        SsoError::Store(error) => return of_store(&error),
    };
    ApiError::new(status, kind, detail)
}

/// The answer to a login that a page of another site began.
pub(super) fn other_site() -> ApiError {
    let detail = "a page of another site cannot begin a login: use this server's page `/login`, or a program";
    ApiError::new(StatusCode::FORBIDDEN, "cross-site", detail)
}

/// The answer to a command that says too little, or more than one place to go to.
pub(super) fn half_a_command() -> ApiError {
    let detail = "give `next`, or for a command `port`, `challenge` and `state`";
    ApiError::new(StatusCode::BAD_REQUEST, "no-destination", detail)
}
