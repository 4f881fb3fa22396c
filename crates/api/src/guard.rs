//! What holds for every operation before its handler runs: a token where one is needed, and no query parameter that
//! would be ignored.

use axum::{
    extract::{FromRequestParts, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, request::Parts};
use kea_auth::{ADMIN_ROLE, AuthError, Caller};
use kea_core::ServiceId;
use kea_http::ApiError;

use crate::{ApiState, errors, operation::Access};

/// The checks of one operation.
pub(crate) struct Guard {
    pub(crate) state: ApiState,
    pub(crate) access: Access,
    /// Names of the query parameters there are.
    pub(crate) query: Vec<String>,
}

impl Guard {
    /// Lets the request through to the handler, or answers why not.
    pub(crate) async fn pass(&self, request: Request, next: Next) -> Response {
        match self.check(&request) {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    }

    fn check(&self, request: &Request) -> Result<(), ApiError> {
        match self.access {
            // The gateway decides, and forwards a query to services that have one.
            Access::Gateway => return Ok(()),
            Access::Token => drop(caller(&self.state, request.headers())?),
            // The handler knows the service.
            Access::TokenUnlessPublic | Access::Open => {}
        }
        known_query(request.uri().query().unwrap_or_default(), &self.query)
    }
}

fn known_query(query: &str, known: &[String]) -> Result<(), ApiError> {
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let unknown = names.filter(|name| !name.is_empty()).find(|name| !known.iter().any(|k| k == name));
    match unknown {
        None => Ok(()),
        Some(name) => Err(errors::unknown_query(name, known)),
    }
}

fn caller(state: &ApiState, headers: &HeaderMap) -> Result<Caller, ApiError> {
    state.auth.authenticate(headers).map_err(errors::of_auth)
}

/// Lets callers without a token read the documentation of a public service only. A service that there is not is told
/// of only to those with a token.
pub(crate) fn may_read(state: &ApiState, headers: &HeaderMap, id: Option<&ServiceId>) -> Result<(), ApiError> {
    let details = id.and_then(|id| state.deployer.get(id));
    let public = details.is_some_and(|details| details.settings.access.public);
    if public { Ok(()) } else { caller(state, headers).map(drop) }
}

/// Whether a browser that goes to the page of a service may see it: as it may read the documentation, or by its cookie
/// alone, since nobody can make a link with a header.
pub(crate) fn may_look(state: &ApiState, headers: &HeaderMap, id: Option<&ServiceId>) -> bool {
    may_read(state, headers, id).is_ok() || state.auth.visitor(headers).is_ok()
}

/// Who calls, for handlers whose answer depends on it.
pub(crate) struct Session(pub(crate) Caller);

impl FromRequestParts<ApiState> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        caller(state, &parts.headers).map(Self)
    }
}

/// Lets admins and callers with one of `roles` do what `what` says, as `administer users`. The one place in which roles
/// are asked for.
pub(crate) fn needs_role(caller: &Caller, roles: &[&'static str], what: &str) -> Result<(), ApiError> {
    let enough: Vec<_> = [ADMIN_ROLE].iter().chain(roles).copied().collect();
    let may = enough.iter().any(|role| caller.has_role(role));
    if may { Ok(()) } else { Err(errors::forbidden(what, &enough)) }
}

/// Whether the caller has a token that holds. No token at all is no error; a bad one is.
pub(crate) fn optional(state: &ApiState, headers: &HeaderMap) -> Result<Option<Caller>, ApiError> {
    match state.auth.authenticate(headers) {
        Ok(caller) => Ok(Some(caller)),
        // A link from elsewhere brings the cookie along, and is nobody's.
        Err(AuthError::Missing | AuthError::CrossSite) => Ok(None),
        Err(error) => Err(errors::of_auth(error)),
    }
}

/// Answer of a method that the path does not have; the router adds `Allow`.
pub(crate) async fn no_such_method() -> ApiError {
    let detail = "this path does not take that method: `Allow` names those that it takes";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", detail)
}

/// Answer of a path that there is not.
pub(crate) async fn no_such_path(request: Request) -> ApiError {
    let detail = format!("there is nothing at `{}`: /openapi.json lists the paths", request.uri().path());
    ApiError::new(StatusCode::NOT_FOUND, "no-such-path", detail)
}
