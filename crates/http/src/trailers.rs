//! Trailers: fields that follow a body (RFC 9110, 6.5). They are passed on both ways between a caller and a web service,
//! as far as nobody could take them for what a head alone may say.
//!
//! How large they may be is bounded by whoever reads them: 16 KiB in HTTP/1.1, and as a head in HTTP/2.

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use crate::{REQUEST_ID, TRACEPARENT, hop_by_hop};

/// What says how a message is framed, where it goes, who sent it, or what its body is. A web service that puts trailers
/// beside the head's fields would take it from a caller as if KEA had said it.
const OF_HEADS: [HeaderName; 21] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::FORWARDED,
    header::HOST,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::RANGE,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::TRAILER,
    header::VARY,
    header::WWW_AUTHENTICATE,
    REQUEST_ID,
    TRACEPARENT,
];

/// Starts of names that KEA gives a meaning to.
const OWN: [&str; 2] = ["x-forwarded-", "kea-"];

/// Whether the sender of these headers takes trailers.
pub fn asked(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Asks the next one for trailers, in headers from which those of the connection before were dropped.
pub fn ask(headers: &mut HeaderMap) {
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
}

/// Announces no trailers to a caller who does not take them: what is not announced is not sent in HTTP/1.1. In HTTP/2
/// whoever does not want them passes them over.
pub fn announced(answer: &mut HeaderMap, version: Version, request: &HeaderMap) {
    if answer.contains_key(header::TRAILER) && version < Version::HTTP_2 && !asked(request) {
        answer.remove(header::TRAILER);
    }
}

/// Drops what belongs into a head.
pub fn drop_fields_of_heads(trailers: &mut HeaderMap) {
    let is_of_heads = |name: &HeaderName| {
        OF_HEADS.contains(name)
            || hop_by_hop::HOP_BY_HOP.contains(name)
            || OWN.iter().any(|start| name.as_str().starts_with(start))
    };
    let dropped: Vec<HeaderName> = trailers.keys().filter(|name| is_of_heads(name)).cloned().collect();
    for name in &dropped {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn trailers_are_asked_for_among_other_codings() {
        for (value, expected) in
            [("trailers", true), ("gzip;q=0.5, Trailers", true), ("gzip", false), ("xtrailers", false)]
        {
            assert_eq!(asked(&headers(&[("te", value)])), expected, "{value}");
        }
        assert!(!asked(&headers(&[])));
    }

    #[test]
    fn what_only_a_head_may_say_is_dropped() {
        let mut sent = headers(&[
            ("grpc-status", "0"),
            ("checksum", "1"),
            ("host", "evil.example"),
            ("authorization", "Bearer x"),
            ("x-forwarded-for", "192.0.2.1"),
            ("kea-service", "other"),
            ("x-request-id", "r"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a=b"),
        ]);
        drop_fields_of_heads(&mut sent);
        let mut left: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["checksum", "grpc-status"]);
    }

    #[test]
    fn only_who_takes_trailers_hears_of_them() {
        let announced_to = |version, te| {
            let mut answer = headers(&[("trailer", "checksum")]);
            announced(&mut answer, version, &headers(&[("te", te)]));
            answer.contains_key(header::TRAILER)
        };
        assert!(announced_to(Version::HTTP_11, "trailers") && announced_to(Version::HTTP_2, ""));
        assert!(!announced_to(Version::HTTP_11, ""));
    }
}
