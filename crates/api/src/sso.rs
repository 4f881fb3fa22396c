//! Logging in by a provider: the paths at which browsers leave and come back, and those at which commands and devices
//! fetch their sessions. They are no operations of the API, as the login page is none.

mod errors;
mod page;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, Uri, header};
use kea_audit::{Recorder, User};
use kea_auth::{
    Arrival, DevicePoll, Session, Sso,
    oidc::{Answer, Command, Destination},
};
use kea_core::management::{SsoCodeRequest, SsoDevice, SsoDeviceRequest, SsoPending, SsoProvider, SsoProviders};
use kea_http::ApiError;
use serde::Deserialize;

use crate::{ApiState, audit::Recorded, cookies, extract::Params, pages, payload::Payload, sessions::CameFrom};

/// Cookie of a login that has begun.
const COOKIE: &str = "kea_sso";

/// Where it is sent.
const PATH: &str = "/auth/sso";

/// The paths.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route(PATH, get(list))
        .route("/auth/sso/{provider}", get(begin))
        .route("/auth/sso/{provider}/callback", get(finish))
        .route("/auth/sso/{provider}/token", post(fetch))
        .route("/auth/sso/{provider}/device", post(begin_device))
        .route("/auth/sso/{provider}/device/token", post(poll_device))
}

/// `GET /auth/sso`
async fn list(State(state): State<ApiState>) -> Json<SsoProviders> {
    let providers = state.sso.providers().into_iter();
    let providers = providers.map(|provider| SsoProvider { name: provider.name, title: provider.title }).collect();
    Json(SsoProviders { providers })
}

/// Where a login leads: to a page, or to a command, with all three of its fields.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BeginQuery {
    next: Option<String>,
    port: Option<u16>,
    challenge: Option<String>,
    state: Option<String>,
    /// Whether it was sent here from another address of this server.
    moved: Option<String>,
}

impl BeginQuery {
    fn destination(self) -> Result<Destination, ApiError> {
        match self {
            Self { next, port: None, challenge: None, state: None, .. } => {
                Ok(Destination::Page(next.unwrap_or_else(|| "/docs".into())))
            }
            Self { next: None, port: Some(port), challenge: Some(challenge), state: Some(state), .. } => {
                Ok(Destination::Command(Command { port, challenge, state }))
            }
            _ => Err(errors::half_a_command()),
        }
    }
}

/// `GET /auth/sso/{provider}`: sends a browser to the provider.
async fn begin(
    State(state): State<ApiState>,
    Recorded(record): Recorded,
    Path(provider): Path<String>,
    query: Result<Params<BeginQuery>, ApiError>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    record.action("beginSso", false);
    let has_moved = query.as_ref().is_ok_and(|Params(query)| query.moved.is_some());
    if let Some(url) = elsewhere(&state, &headers).filter(|_| !has_moved) {
        // Once: a proxy may give KEA another host than the browser's.
        let more = uri.query().map(|query| format!("{query}&")).unwrap_or_default();
        return Redirect::to(&format!("{url}{}?{more}moved", uri.path())).into_response();
    }
    let next = query.as_ref().ok().and_then(|Params(query)| query.next.clone());
    let begun = async {
        let to = query?.0.destination()?;
        state.sso.begin(&provider, to).await.map_err(errors::of_sso)
    };
    match begun.await {
        Err(error) => page::trouble(&error, Some(&provider), next.as_deref()),
        Ok((url, sealed)) => {
            let cookie = cookies::cookie(COOKIE, &sealed, PATH, Sso::WITHIN.as_secs() as i64, state.sso.is_secure());
            let headers = [(header::CACHE_CONTROL, "no-store".parse().expect("a word")), (header::SET_COOKIE, cookie)];
            (headers, Redirect::to(&url)).into_response()
        }
    }
}

fn elsewhere<'a>(state: &'a ApiState, headers: &HeaderMap) -> Option<&'a str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    state.sso.elsewhere(host)
}

/// `GET /auth/sso/{provider}/callback`: a browser comes back.
async fn finish(
    State(state): State<ApiState>,
    Recorded(record): Recorded,
    Path(provider): Path<String>,
    answer: Result<Query<Answer>, axum::extract::rejection::QueryRejection>,
    CameFrom(origin): CameFrom,
    headers: HeaderMap,
) -> Response {
    record.action("finishSso", false);
    let answer = answer.map(|Query(answer)| answer).unwrap_or_default();
    let cookie = kea_auth::cookie(&headers, COOKIE);
    let arrived = state.sso.finish(&provider, cookie, answer, &origin).await.map_err(errors::of_sso);
    let mut response = match arrived {
        Err(error) => page::trouble(&error, Some(&provider), None),
        Ok(Arrival::Command { url }) => ([(header::CACHE_CONTROL, "no-store")], Redirect::to(&url)).into_response(),
        Ok(Arrival::Page { session, next }) => {
            known(&record, &session);
            // Its script takes over what it has to know of the session, and goes on.
            cookies::with_session(pages::to_login(&next, true), &session, state.sso.is_secure())
        }
    };
    let over = cookies::cookie(COOKIE, "", PATH, 0, state.sso.is_secure());
    response.headers_mut().append(header::SET_COOKIE, over);
    response
}

/// `POST /auth/sso/{provider}/token`: a command fetches its session.
async fn fetch(
    State(state): State<ApiState>,
    Recorded(record): Recorded,
    Path(provider): Path<String>,
    CameFrom(origin): CameFrom,
    headers: HeaderMap,
    Payload(SsoCodeRequest { code, verifier }): Payload<SsoCodeRequest>,
) -> Result<Response, ApiError> {
    record.action("fetchSso", false);
    let session = state.sso.fetch(&provider, &code, &verifier, &origin).await.map_err(errors::of_sso)?;
    Ok(given(&record, session, &headers))
}

/// `POST /auth/sso/{provider}/device`: a device begins.
async fn begin_device(
    State(state): State<ApiState>,
    Recorded(record): Recorded,
    Path(provider): Path<String>,
    CameFrom(origin): CameFrom,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    record.action("beginSsoDevice", false);
    // It has no body, so that a browser sends it for any page: each would count against its visitor's address.
    if kea_auth::is_of_other_site(&headers) {
        return Err(errors::other_site());
    }
    let device = state.sso.begin_device(&provider, &origin).await.map_err(errors::of_sso)?;
    let answer = SsoDevice {
        user_code: device.user_code,
        verification_uri: device.verification_uri,
        verification_uri_complete: device.verification_uri_complete,
        expires_in: device.expires_in.as_secs(),
        interval: device.interval.as_secs(),
        handle: device.handle,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// `POST /auth/sso/{provider}/device/token`: a device asks; 202 until its user has typed the code.
async fn poll_device(
    State(state): State<ApiState>,
    Recorded(record): Recorded,
    Path(provider): Path<String>,
    CameFrom(origin): CameFrom,
    headers: HeaderMap,
    Payload(SsoDeviceRequest { handle }): Payload<SsoDeviceRequest>,
) -> Result<Response, ApiError> {
    record.action("fetchSsoDevice", false);
    match state.sso.poll_device(&provider, &handle, &origin).await.map_err(errors::of_sso)? {
        DevicePoll::Pending(interval) => {
            Ok((StatusCode::ACCEPTED, Json(SsoPending { interval: interval.as_secs() })).into_response())
        }
        DevicePoll::Done(session) => Ok(given(&record, *session, &headers)),
    }
}

fn given(record: &Recorder, session: Session, headers: &HeaderMap) -> Response {
    known(record, &session);
    cookies::tokens(session, headers)
}

fn known(record: &Recorder, session: &Session) {
    let roles = session.roles.clone().into();
    record.user(User { name: session.username.as_str().into(), roles, key: None });
}
