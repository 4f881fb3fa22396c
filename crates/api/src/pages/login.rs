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
    let page = asked.path_and_query().map_or("/docs", |page| page.as_str());
    let next: String = page.bytes().map(escaped).collect();
    ([(header::CACHE_CONTROL, "no-store")], Redirect::to(&format!("/login?next={next}"))).into_response()
}

fn escaped(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).into(),
        other => format!("%{other:02X}"),
    }
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
