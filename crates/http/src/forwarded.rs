//! What a web service behind KEA is told of how its caller came: for the links that it makes, and for its own log.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};

use crate::{ClientAddress, PeerAddress};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// The connection is encrypted; a request extension.
#[derive(Clone, Copy, Debug)]
pub struct Secure;

/// The connection's other end is a proxy that is trusted, and what it says of the caller holds; a request extension.
#[derive(Clone, Copy, Debug)]
pub struct TrustedPeer;

/// Tells in `headers`, which are those of the request, how it came to `prefix`, the path that was taken away. What a
/// caller says of that itself is dropped, unless it is a proxy that is trusted.
pub fn forwarded(headers: &mut HeaderMap, extensions: &Extensions, prefix: &str) {
    // Not read by KEA, and so not known to be the proxy's own.
    headers.remove(header::FORWARDED);
    if extensions.get::<TrustedPeer>().is_none() {
        for name in [&FOR, &HOST, &PROTO, &PREFIX, &PORT] {
            headers.remove(name);
        }
    }
    let peer = extensions.get::<PeerAddress>().map(|PeerAddress(address)| address.ip().to_canonical());
    let peer = peer.unwrap_or_else(|| ClientAddress::of(extensions));
    // Each system on the way appends who it was called by.
    append(headers, FOR, &peer.to_string());
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.entry(HOST).or_insert(host);
    }
    let proto = if extensions.get::<Secure>().is_some() { "https" } else { "http" };
    headers.entry(PROTO).or_insert(HeaderValue::from_static(proto));
    let before = headers.get(PREFIX).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Ok(value) = HeaderValue::from_str(&format!("{}{prefix}", before.trim_end_matches('/'))) {
        headers.insert(PREFIX, value);
    }
}

/// Appends to the list that a header is.
fn append(headers: &mut HeaderMap, name: HeaderName, item: &str) {
    let before = headers.get_all(&name).iter().filter_map(|value| value.to_str().ok());
    let list: Vec<&str> = before.chain([item]).collect();
    if let Ok(value) = HeaderValue::from_str(&list.join(", ")) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sent: &[(&'static str, &'static str)], extensions: &Extensions, expected: &[(&str, &str)]) {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers: HeaderMap = sent.iter().map(pair).collect();
        forwarded(&mut headers, extensions, "/api/v1/k8c/services/app");
        let mut told: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        told.sort_unstable();
        assert_eq!(told, expected);
    }

    fn extensions(trusted: bool, secure: bool) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(PeerAddress(([192, 0, 2, 7], 1).into()));
        if trusted {
            extensions.insert(TrustedPeer);
        }
        if secure {
            extensions.insert(Secure);
        }
        extensions
    }

    #[test]
    fn what_a_caller_makes_up_is_dropped() {
        let made_up = [
            ("host", "kea.example"),
            ("forwarded", "for=198.51.100.1"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/evil"),
        ];
        let expected = [
            ("host", "kea.example"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "kea.example"),
            ("x-forwarded-prefix", "/api/v1/k8c/services/app"),
            ("x-forwarded-proto", "http"),
        ];
        check(&made_up, &extensions(false, false), &expected);
        let encrypted = expected.map(|(name, value)| (name, if value == "http" { "https" } else { value }));
        check(&made_up, &extensions(false, true), &encrypted);
    }

    #[test]
    fn what_a_trusted_proxy_says_holds_and_is_added_to() {
        let said = [
            ("host", "10.0.0.1:8080"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-host", "models.example"),
            ("x-forwarded-prefix", "/ml/"),
            ("x-forwarded-proto", "https"),
        ];
        let expected = [
            ("host", "10.0.0.1:8080"),
            ("x-forwarded-for", "198.51.100.1, 192.0.2.7"),
            ("x-forwarded-host", "models.example"),
            ("x-forwarded-prefix", "/ml/api/v1/k8c/services/app"),
            ("x-forwarded-proto", "https"),
        ];
        check(&said, &extensions(true, false), &expected);
    }
}
