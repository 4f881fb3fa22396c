//! Sends browsers that need a session to the page where one begins, and from there back.

use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, Uri, header};

/// Whether a browser asks for a page, rather than a program or a script.
pub(super) fn is_navigation(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.trim_start().starts_with("text/html"))
}

/// To the login, and from there back to the page that was asked for.
pub(super) fn redirect(asked: &Uri) -> Response {
    to_login(asked.path_and_query().map_or("/docs", |page| page.as_str()), false)
}

/// To the login, and from there to that page. Where a session has `begun` already, its script goes on at once.
pub(crate) fn to_login(next: &str, begun: bool) -> Response {
    let begun = if begun { "&begun" } else { "" };
    let location = format!("/login?next={}{begun}", escaped(next));
    ([(header::CACHE_CONTROL, "no-store")], Redirect::to(&location)).into_response()
}

/// A path as the value of a parameter.
pub(crate) fn escaped(path: &str) -> String {
    let escaped = |byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).into(),
        other => format!("%{other:02X}"),
    };
    path.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_that_was_asked_for_is_one_parameter() {
        let location = |uri: &'static str| {
            let response = redirect(&Uri::from_static(uri));
            response.headers()[header::LOCATION].to_str().unwrap().to_owned()
        };
        assert_eq!(location("/docs/iris"), "/login?next=/docs/iris");
        assert_eq!(location("/docs/iris?a=1&next=/x%20y"), "/login?next=/docs/iris%3Fa%3D1%26next%3D/x%2520y");
        assert_eq!(location("http://evil.example/docs/iris"), "/login?next=/docs/iris", "of this server alone");
    }

    #[test]
    fn browsers_ask_for_pages_and_programs_do_not() {
        let asks = |accept: &'static str| {
            is_navigation(&HeaderMap::from_iter([(header::ACCEPT, http::HeaderValue::from_static(accept))]))
        };
        assert!(asks("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(!asks("*/*") && !asks("application/json"));
        assert!(!is_navigation(&HeaderMap::new()));
    }
}
