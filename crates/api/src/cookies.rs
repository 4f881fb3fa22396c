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
        [
            cookie(ACCESS_COOKIE, &token, "/", seconds_until(answer.expires_at), headers),
            cookie(REFRESH_COOKIE, &refresh, &refresh_path(), seconds_until(answer.session_expires_at), headers),
        ]
    });
    let mut response = ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response();
    set(&mut response, cookies.into_iter().flatten());
    response
}

/// Lets a browser forget its session.
pub(crate) fn forget(mut response: Response, headers: &HeaderMap) -> Response {
    let gone = [(ACCESS_COOKIE, "/".to_owned()), (REFRESH_COOKIE, refresh_path())];
    set(&mut response, gone.iter().map(|(name, path)| cookie(name, "", path, 0, headers)));
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

fn cookie(name: &str, value: &str, path: &str, seconds: i64, headers: &HeaderMap) -> HeaderValue {
    // The browser says itself how it reached the page; behind a proxy with TLS, KEA would not know.
    let origin = headers.get(header::ORIGIN).map_or(&[][..], HeaderValue::as_bytes);
    let secure = if origin.starts_with(b"https://") { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).expect("tokens are of letters, digits, `.`, `-` and `_`")
}

fn seconds_until(end: Timestamp) -> i64 {
    end.as_second().saturating_sub(Timestamp::now().as_second()).max(0)
}
