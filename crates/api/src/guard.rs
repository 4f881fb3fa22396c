//! What holds for every operation before its handler runs: a token where one is needed, the permission that it needs, and
//! no query parameter that would be ignored.

use axum::{
    extract::{FromRequestParts, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, request::Parts};
use kea_audit::{Recorder, User};
use kea_auth::{ADMIN_ROLE, AuthError, Caller, policy::Ask};
use kea_core::{ServiceId, management::BASE_PATH, policy::Verb};
use kea_http::ApiError;

use crate::{
    ApiState, errors,
    extract::path_text,
    operation::{Access, Needs},
    permissions,
};

/// The checks of one operation.
pub(crate) struct Guard {
    pub(crate) state: ApiState,
    /// The operation's id, and whether it changes something: what the audit trail says.
    pub(crate) action: &'static str,
    pub(crate) changes: bool,
    pub(crate) access: Access,
    pub(crate) needs: Needs,
    /// Names of the query parameters there are.
    pub(crate) query: Vec<String>,
}

impl Guard {
    /// Lets the request through to the handler, or answers why not.
    pub(crate) async fn pass(&self, request: Request, next: Next) -> Response {
        self.record(&request);
        let (mut parts, body) = request.into_parts();
        match self.check(&mut parts).await {
            Ok(()) => next.run(Request::from_parts(parts, body)).await,
            Err(error) => error.into_response(),
        }
    }

    /// Tells the audit trail what is asked for. The gateway tells of calls by itself.
    fn record(&self, request: &Request) {
        let record = Recorder::of(request.extensions());
        record.action(self.action, self.changes);
        if let Some(service) = service_of(request.uri().path()) {
            record.service(service);
        }
    }

    async fn check(&self, parts: &mut Parts) -> Result<(), ApiError> {
        match self.access {
            // The gateway decides, and forwards a query to services that have one.
            Access::Gateway => return Ok(()),
            Access::Token => {
                let caller = known(&self.state, parts)?;
                self.may(&caller, parts).await?;
            }
            // The handler knows the service.
            Access::TokenUnlessPublic | Access::Open => drop(known(&self.state, parts)),
        }
        known_query(parts.uri.query().unwrap_or_default(), &self.query)
    }

    async fn may(&self, caller: &Caller, parts: &mut Parts) -> Result<(), ApiError> {
        let state = &self.state;
        match self.needs {
            // The handler of a list shows what may be seen.
            Needs::Nothing | Needs::List => Ok(()),
            Needs::OfKea(verb) => permissions::check(state, caller, &Ask::of_kea(verb)),
            Needs::OfRequest(verb) => permissions::check_somewhere(state, caller, verb),
            Needs::OfPath(verb) => {
                let name = path_text(parts, "serviceId").await?;
                permissions::check_service(state, caller, verb, &name)
            }
            Needs::All if caller.scopes.is_none() && caller.has_role(ADMIN_ROLE) => Ok(()),
            Needs::All => Err(errors::admin_only()),
        }
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

/// Who calls, as the audit trail hears it, too.
fn known(state: &ApiState, parts: &Parts) -> Result<Caller, ApiError> {
    let caller = caller(state, &parts.headers)?;
    let Caller { username, roles, key, .. } = &caller;
    let user = User { name: username.clone(), roles: roles.clone(), key: key.clone() };
    Recorder::of(&parts.extensions).user(user);
    Ok(caller)
}

/// Whether a caller may read what others did, and say what of it is kept.
pub(crate) fn may_audit(state: &ApiState, caller: &Caller) -> Result<(), ApiError> {
    permissions::check(state, caller, &Ask::of_kea(Verb::Audit))
}

/// The service that a path of the API is about: what comes after the name of a collection of theirs.
fn service_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(BASE_PATH)?;
    let after = ["/services/", "/openapi/", "/router/loadbalancer/", "/logs/rules/", "/logs/"];
    let name = after.iter().find_map(|collection| rest.strip_prefix(collection))?.split('/').next()?;
    Some(name).filter(|name| !name.is_empty() && *name != "audit")
}

fn caller(state: &ApiState, headers: &HeaderMap) -> Result<Caller, ApiError> {
    state.auth.authenticate(headers).map_err(errors::of_auth)
}

/// Lets callers without a token read the documentation of a public service only, and others that of those they may see.
pub(crate) fn may_read(state: &ApiState, headers: &HeaderMap, id: &ServiceId) -> Result<(), ApiError> {
    let public = state.deployer.get(id).is_some_and(|details| details.settings.access.public);
    if public {
        return Ok(());
    }
    permissions::check_service(state, &caller(state, headers)?, Verb::Read, id.as_str())
}

/// Whether a browser that goes to the page of a service may see it: as it may read the documentation, or by its cookie
/// alone, since nobody can make a link with a header.
pub(crate) fn may_look(state: &ApiState, headers: &HeaderMap, id: Option<&ServiceId>) -> bool {
    id.is_some_and(|id| may_read(state, headers, id).is_ok()) || state.auth.visitor(headers).is_ok()
}

/// Who calls, for handlers whose answer depends on it.
pub(crate) struct Session(pub(crate) Caller);

impl FromRequestParts<ApiState> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        caller(state, &parts.headers).map(Self)
    }
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
