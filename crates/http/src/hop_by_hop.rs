//! Headers that hold for one connection alone, and that nothing in the middle passes on.

use http::{HeaderMap, HeaderName, header};

/// RFC 9110, section 7.6.1, and what goes with them. `Trailer` is none of them: trailers are passed on.
pub(crate) const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// Drops them, and those that `Connection` names.
pub fn drop_hop_by_hop(headers: &mut HeaderMap) {
    // Looking each of them up takes longer than looking over what is there: most heads have one of them, or none.
    let found: Vec<HeaderName> = headers.keys().filter(|name| HOP_BY_HOP.contains(name)).cloned().collect();
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        // These are said with nearly each answer, and are no headers.
        .filter(|name| !["keep-alive", "close"].contains(name))
        .filter_map(|name| name.parse().ok())
        .collect();
    for name in found.iter().chain(&named) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn headers_of_a_connection_are_dropped_with_those_that_it_names() {
        let sent = [("connection", "close, X-Mine"), ("x-mine", "1"), ("te", "trailers"), ("x-other", "2")];
        let header = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let mut headers: HeaderMap = sent.map(header).into_iter().collect();
        drop_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-other"]);
    }
}
