//! The session of a browser: two cookies that no script can read. The access token goes with every request, the refresh
//! token to the operations of sessions alone.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use kea_auth::{ACCESS_COOKIE, REFRESH_COOKIE, Session, is_of_this_site};
use kea_core::management::{BASE_PATH, LoginResponse};

/// An answer with the tokens of a session: to a page of this server as cookies, to all others as text. It must not lie
/// in any cache on its way.
pub(crate) fn tokens(session: Session, headers: &HeaderMap) -> Response {
    let Session { token, expires_at, refresh_token, session_expires_at, username, roles } = session;
    let mut answer = LoginResponse { token, expires_at, refresh_token, session_expires_at, username, roles };
    let cookies = is_of_this_site(headers).then(|| {
        // Scripts of the page have no need of them.
        let (token, refresh) = (std::mem::take(&mut answer.token), std::mem::take(&mut answer.refresh_token));
        let (end, session_end) = (answer.expires_at, answer.session_expires_at);
        both((&token, end), (&refresh, session_end), is_secure(headers))
    });
    let mut response = ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response();
    set(&mut response, cookies.into_iter().flatten());
    response
}

/// Gives a browser a session together with where it goes next.
pub(crate) fn with_session(mut response: Response, session: &Session, secure: bool) -> Response {
    let Session { token, expires_at, refresh_token, session_expires_at, .. } = session;
    set(&mut response, both((token, *expires_at), (refresh_token, *session_expires_at), secure));
    response
}

fn both(access: (&str, Timestamp), refresh: (&str, Timestamp), secure: bool) -> [HeaderValue; 2] {
    [
        cookie(ACCESS_COOKIE, access.0, "/", seconds_until(access.1), secure),
        cookie(REFRESH_COOKIE, refresh.0, &refresh_path(), seconds_until(refresh.1), secure),
    ]
}

/// Lets a browser forget its session.
pub(crate) fn forget(mut response: Response, headers: &HeaderMap) -> Response {
    let gone = [(ACCESS_COOKIE, "/".to_owned()), (REFRESH_COOKIE, refresh_path())];
    set(&mut response, gone.iter().map(|(name, path)| cookie(name, "", path, 0, is_secure(headers))));
    response
}

fn set(response: &mut Response, cookies: impl IntoIterator<Item = HeaderValue>) {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn refresh_path() -> String {
    format!("{BASE_PATH}/auth")
}

/// The browser says itself how it reached the page; behind a proxy with TLS, KEA would not know.
fn is_secure(headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

/// A cookie that no script can read, and that pages of other sites send where a link leads here alone.
pub(crate) fn cookie(name: &str, value: &str, path: &str, seconds: i64, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).expect("tokens are of letters, digits, `.`, `-` and `_`")
}

fn seconds_until(end: Timestamp) -> i64 {
    end.as_second().saturating_sub(Timestamp::now().as_second()).max(0)
}
