//! The host that a request asks for.

use axum::extract::Request;
use http::{HeaderValue, header};

/// Says in the header `Host` which host a request asks for, wherever it says it itself: with HTTP/2, and where its target is
/// a whole address, that is not there, and counts more than the header (RFC 9112, 3.2.2; RFC 9113, 8.3.1).
pub fn name_host(request: &mut Request) {
    let Some(authority) = request.uri().authority() else { return };
    // Whoever is named before the host is no part of it.
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(header::HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn the_targets_own_host_counts() {
        let named = |uri: &str, host: Option<&str>| {
            let builder = host.iter().fold(Request::builder().uri(uri), |builder, host| builder.header("host", *host));
            let mut request = builder.body(Body::empty()).unwrap();
            name_host(&mut request);
            request.headers().get(header::HOST).map(|host| host.to_str().unwrap().to_owned())
        };
        assert_eq!(named("https://kea.example/x", None), Some("kea.example".into()));
        assert_eq!(named("http://u:p@kea.example:8080/x", Some("evil.example")), Some("kea.example:8080".into()));
        assert_eq!(named("/x", Some("kea.example")), Some("kea.example".into()));
        assert_eq!(named("/x", None), None);
    }
}
