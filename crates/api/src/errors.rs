//! Turns the components' errors into answers: one exhaustive match each.

use http::StatusCode;
use kea_audit::AuditError;
use kea_auth::{AuthError, IdentityError};
use kea_core::{
    ServiceId,
    management::Violation,
    port::{DeployError, StoreError},
};
use kea_http::ApiError;
use kea_logs::LogError;
use kea_openapi::validate::Rejection;

/// Answer to a caller that the Authenticator does not let in.
pub(crate) fn of_auth(error: AuthError) -> ApiError {
    let unauthorized = |kind, detail: &str| ApiError::new(StatusCode::UNAUTHORIZED, kind, detail);
    match error {
        AuthError::Missing => unauthorized(
            "no-token",
            "a token is needed: log in with POST /api/v1/k8c/auth/login and send `Authorization: Bearer TOKEN`",
        ),
        AuthError::Malformed => {
            unauthorized("malformed-token", "the header `Authorization` is not of the form `Bearer TOKEN`")
        }
        AuthError::Expired => unauthorized("expired-token", "the token has expired: log in again"),
        AuthError::Invalid => unauthorized("invalid-token", "the token is not one of this server: log in again"),
        AuthError::Revoked => unauthorized("ended-session", "the session has been ended: log in again"),
        AuthError::CrossSite => unauthorized(
            "cross-site",
            "a cookie is taken with the header `x-kea-csrf` and from this server's pages alone",
        ),
        AuthError::ForNobody(_) => unauthorized("not-taken", &error.to_string()),
        AuthError::InvalidKey => unauthorized("invalid-key", "the API key is not one of this server, or was revoked"),
        AuthError::ExpiredKey => unauthorized("expired-key", "the API key has expired: make another one"),
        AuthError::PasswordTooLong { .. } => invalid_field("/password", error.to_string()),
        AuthError::WrongCredentials => unauthorized("wrong-credentials", "user name or password is wrong"),
        AuthError::Throttled { retry_after } => {
            let detail = "too many failed logins: wait before the next one";
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "throttled", detail).with_retry_after(retry_after)
        }
        AuthError::Store(error) => of_store(&error),
    }
}

/// Answer to a change of users and keys that the Authenticator refuses; `pointer` is the field that it is about, where
/// that is not known from the error.
pub(crate) fn of_identity(error: IdentityError, pointer: &str) -> ApiError {
    let conflict = |kind, detail| ApiError::new(StatusCode::CONFLICT, kind, detail);
    match error {
        IdentityError::NoUser(name) if pointer == "/owner" => {
            invalid_field("/owner", format!("there is no user `{name}`"))
        }
        IdentityError::NoUser(name) => no_such("user", &name),
        IdentityError::UserExists(_) => conflict("user-exists", error.to_string()),
        IdentityError::LastAdmin(_) => conflict("last-admin", error.to_string()),
        IdentityError::NoPassword(_) => conflict("no-password", error.to_string()),
        IdentityError::WouldComeBack(_) => conflict("would-come-back", error.to_string()),
        IdentityError::PasswordTooShort | IdentityError::PasswordTooLong => invalid_field(pointer, error.to_string()),
        IdentityError::RoleNotHeld { .. } => invalid_field("/roles", error.to_string()),
        IdentityError::InThePast => invalid_field("/expiresAt", error.to_string()),
        // The caller is known: it is the old password that is wrong.
        IdentityError::Auth(AuthError::WrongCredentials) => {
            invalid_field("/oldPassword", "the old password is wrong".into())
        }
        IdentityError::Auth(error) => of_auth(error),
        IdentityError::Store(error) => of_store(&error),
    }
}

fn invalid_field(pointer: &str, detail: String) -> ApiError {
    let (expected, received) = ("a value that can be taken".into(), "one that cannot".into());
    invalid(vec![Violation { pointer: pointer.into(), expected, received, detail }])
}

/// Answer where there is no such user, session or key.
pub(crate) fn no_such(what: &str, name: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no-such-thing", format!("there is no {what} `{name}`"))
}

/// Answer to an API key where a session is needed.
pub(crate) fn no_session_to_end() -> ApiError {
    let detail = "this is for sessions, and an API key has none: log in with POST /api/v1/k8c/auth/login";
    ApiError::new(StatusCode::CONFLICT, "no-session", detail)
}

/// Answer to a request that the Service Deployer refuses.
pub(crate) fn of_deployer(error: DeployError) -> ApiError {
    match error {
        DeployError::NotFound(id) => no_service(id.as_str()),
        DeployError::NoSuchVersion { .. } => ApiError::new(StatusCode::NOT_FOUND, "no-such-version", error.to_string()),
        DeployError::Conflict(why) => ApiError::new(StatusCode::CONFLICT, "conflict", why),
        DeployError::Breaking { ref changes, .. } => {
            let changes = changes.clone();
            ApiError::new(StatusCode::CONFLICT, "breaking-change", error.to_string()).with_changes(changes)
        }
        DeployError::Invalid { pointer, detail } => {
            let violation = Violation {
                pointer,
                expected: "a value that can be met".into(),
                received: "one that cannot".into(),
                detail: detail.clone(),
            };
            ApiError::new(StatusCode::BAD_REQUEST, "cannot-be-met", detail).with_errors(vec![violation])
        }
        DeployError::Store(error) => of_store(&error),
    }
}

/// Answer to a payload that does not fit its contract: what the call itself would be answered with.
pub(crate) fn rejected(rejection: Rejection) -> ApiError {
    let status = match &rejection {
        Rejection::NoFunction { .. } => StatusCode::NOT_FOUND,
        Rejection::NotJson { .. } | Rejection::Invalid(_) | Rejection::Unsupported(_) => StatusCode::BAD_REQUEST,
    };
    ApiError::new(status, rejection.kind(), rejection.sentence()).with_errors(rejection.into_violations())
}

/// Answer to a query of an audit trail that cannot be read. The error's own words name files of the server.
pub(crate) fn of_audit(error: &AuditError) -> ApiError {
    tracing::error!(%error, "the audit trail cannot be read");
    let detail = "the audit trail cannot be read: KEA's own log says why";
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "log-unreadable", detail)
}

/// Answer to a request for logs that cannot be read. The error's own words name files of the server.
pub(crate) fn of_logs(error: &LogError) -> ApiError {
    match error {
        LogError::Io { .. } => {
            tracing::error!(%error, "a log cannot be read");
            let detail = "the log cannot be read: KEA's own log says why";
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "log-unreadable", detail)
        }
        LogError::Elsewhere(_) => {
            tracing::error!(%error, "a log cannot be read");
            let detail = "the log cannot be read now: try again in a moment; KEA's own log says why";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "log-unreadable", detail)
        }
        LogError::Closed => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server is about to stop: try again later")
        }
    }
}

/// The store's own words are for the log: they name files of the server.
pub(crate) fn of_store(error: &StoreError) -> ApiError {
    tracing::error!(%error, "the store failed");
    match error {
        StoreError::Unavailable(_) => {
            let detail = "the store is not available: try again, and look into KEA's log";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", detail)
        }
        StoreError::Corrupt { .. } => {
            let detail = "what is stored cannot be read: KEA's log says what";
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "store-corrupt", detail)
        }
    }
}

/// Answer where there is no such service.
pub(crate) fn no_service(name: impl AsRef<str>) -> ApiError {
    let detail = format!("there is no service `{}`: GET /api/v1/k8c/services lists them", name.as_ref());
    ApiError::new(StatusCode::NOT_FOUND, "no-service", detail)
}

/// Answer where functions are asked for before a replica or the source has told them.
pub(crate) fn no_contract(id: &ServiceId) -> ApiError {
    let detail = format!("the functions of `{id}` are not known yet: GET /api/v1/k8c/services/{id} says how far it is");
    ApiError::new(StatusCode::CONFLICT, "contract-unknown", detail)
}

/// Answer where there is no such role or binding.
pub(crate) fn no_policy(detail: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no-such-policy", detail)
}

/// Answer to others than admins where an operation does not say what it needs.
pub(crate) fn admin_only() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", "this is for those with the role `admin` alone")
}

/// Answer to a body that does not fit.
pub(crate) fn invalid(errors: Vec<Violation>) -> ApiError {
    let detail = match errors.as_slice() {
        [one] => one.detail.clone(),
        many => format!("{} things are wrong with the request: `errors` lists them", many.len()),
    };
    ApiError::new(StatusCode::BAD_REQUEST, "invalid-request", detail).with_errors(errors)
}

/// Answer to a query parameter that would be ignored.
pub(crate) fn unknown_query(name: &str, known: &[String]) -> ApiError {
    let known = match known {
        [] => "takes none".to_owned(),
        names => format!("takes `{}`", names.join("`, `")),
    };
    let detail = format!("there is no query parameter `{name}`: this operation {known}");
    ApiError::new(StatusCode::BAD_REQUEST, "unknown-query-parameter", detail)
}

/// Answer to a query parameter that cannot be read.
pub(crate) fn bad_query(why: impl std::fmt::Display) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad-query-parameter", why.to_string())
}
