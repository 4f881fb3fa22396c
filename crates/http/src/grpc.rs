//! What of gRPC a gateway has to know: which requests are calls of it, how it says that it refuses one, and until when a
//! caller waits. Messages are passed on as they are.

use std::{fmt::Write, time::Duration};

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use kea_core::{management::BASE_PATH, own_route::KEA_SEGMENTS};

/// The status of a call.
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What there is to say of it, percent-encoded.
pub const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// How long the caller waits for all of the call.
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The type of messages, where nothing is said of their language.
const CONTENT_TYPE: &str = "application/grpc";

/// Bytes of a message that are sent: it is a header.
const MESSAGE_MAX: usize = 4096;

/// Statuses of calls, as gRPC numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs, reason = "the names are gRPC's")]
pub enum Code {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    /// What KEA means where it answers with that status in HTTP.
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 | 405 | 415 | 501 => Self::Unimplemented,
            408 => Self::Cancelled,
            409 => Self::FailedPrecondition,
            413 | 429 => Self::ResourceExhausted,
            400..500 => Self::InvalidArgument,
            502 | 503 => Self::Unavailable,
            504 => Self::DeadlineExceeded,
            500..600 => Self::Internal,
            _ => Self::Unknown,
        }
    }
}

/// Whether a request is a call of gRPC: in HTTP/2, and of its type.
pub fn is_call(version: Version, headers: &HeaderMap) -> bool {
    version >= Version::HTTP_2 && headers.get(header::CONTENT_TYPE).is_some_and(|value| is_type(value.as_bytes()))
}

/// Whether calls may have that path: none of KEA's own but those of a service. Whoever asks the management API for something is
/// answered as it answers, whatever they say of their body.
pub fn may_have(path: &str) -> bool {
    match path.strip_prefix(BASE_PATH).and_then(|rest| rest.strip_prefix("/services/")) {
        // The service's name, and the two of a call.
        Some(of_service) => of_service.matches('/').count() >= 2,
        None => !path.split('/').nth(1).is_some_and(|first| KEA_SEGMENTS.contains(&first)),
    }
}

/// `application/grpc`, with the language of messages after a `+`; that of browsers (`grpc-web`) is another.
fn is_type(value: &[u8]) -> bool {
    value.strip_prefix(CONTENT_TYPE.as_bytes()).is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The fields that say how a call ended.
pub fn status(code: Code, message: &str) -> HeaderMap {
    let message = HeaderValue::try_from(encoded(message)).expect("what is encoded is graphic ASCII");
    HeaderMap::from_iter([(STATUS, HeaderValue::from(code as u16)), (MESSAGE, message)])
}

/// An answer that is over with its head.
pub(crate) fn refused(mut response: Response, code: Code, message: &str) -> Response {
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response.headers_mut().extend(status(code, message));
    *response.body_mut() = Body::empty();
    response
}

/// The status that these fields, of an answer's head or its trailers, tell of.
pub fn told(fields: &HeaderMap) -> Option<u32> {
    fields.get(STATUS)?.to_str().ok()?.parse().ok()
}

/// Whether a call with that status failed by its server, and not by its caller: those that OpenTelemetry calls errors of
/// servers (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>).
pub fn is_failure(code: u32) -> bool {
    use Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    let failures = [Unknown, DeadlineExceeded, Unimplemented, Internal, Unavailable, DataLoss];
    failures.iter().any(|failure| *failure as u32 == code)
}

/// How long the caller waits, where it says so.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| is_number)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Says how long the caller waits still; in the finest unit in which it can be said.
pub fn set_timeout(headers: &mut HeaderMap, left: Duration) {
    const MOST: u128 = 99_999_999;
    let units = [(left.as_micros(), 'u'), (left.as_millis(), 'm'), (u128::from(left.as_secs()), 'S')];
    let (number, unit) = units.into_iter().find(|(number, _)| *number <= MOST).unwrap_or((MOST, 'S'));
    if let Ok(value) = HeaderValue::try_from(format!("{number}{unit}")) {
        headers.insert(TIMEOUT, value);
    }
}

/// Percent-encoded, as far as that is needed, and not too long.
fn encoded(message: &str) -> String {
    let mut out = String::new();
    for byte in message.bytes().take(MESSAGE_MAX / 3) {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => drop(write!(out, "%{byte:02X}")),
            plain => out.push(char::from(plain)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn calls_are_known_by_protocol_and_type() {
        let check = |version, content_type: &str| is_call(version, &headers(header::CONTENT_TYPE, content_type));
        for content_type in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert!(check(Version::HTTP_2, content_type), "{content_type}");
            assert!(!check(Version::HTTP_11, content_type), "{content_type}");
        }
        for other in ["application/grpc-web", "application/grpcx", "application/json"] {
            assert!(!check(Version::HTTP_2, other), "{other}");
        }
    }

    #[test]
    fn paths_of_the_management_api_are_no_calls() {
        for path in ["/a.B/C", "/iris/a.B/C", "/api/v1/k8c/services/iris/a.B/C", "/apis/x", "/"] {
            assert!(may_have(path), "{path}");
        }
        let own =
            ["/api/v1/k8c/auth/login", "/api/v1/k8c/services", "/api/v1/k8c/services/iris/rollback", "/v2/models/iris"];
        for path in own.into_iter().chain(["/auth/sso", "/docs/iris", "/healthz", "/api"]) {
            assert!(!may_have(path), "{path}");
        }
    }

    #[test]
    fn each_refusal_has_a_status() {
        for (status, code) in
            [(400, 3), (401, 16), (403, 7), (404, 12), (413, 8), (429, 8), (500, 13), (502, 14), (503, 14), (504, 4)]
        {
            assert_eq!(Code::of(StatusCode::from_u16(status).unwrap()) as u16, code, "{status}");
        }
    }

    #[test]
    fn timeouts_are_read_in_each_unit() {
        let read = |text: &str| timeout(&headers(TIMEOUT, text));
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("40m", Duration::from_millis(40)),
            ("50u", Duration::from_micros(50)),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ] {
            assert_eq!(read(text), Some(expected), "{text}");
        }
        for text in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1é"] {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            assert_eq!(timeout(&HeaderMap::from_iter([(TIMEOUT, value)])), None, "{text}");
        }
    }

    #[test]
    fn a_timeout_is_read_as_it_was_written() {
        for (span, read) in [
            (Duration::from_micros(1_500_001), Duration::from_micros(1_500_001)),
            (Duration::from_secs(1000), Duration::from_secs(1000)),
            (Duration::from_secs(1_000_000), Duration::from_secs(1_000_000)),
            (Duration::MAX, Duration::from_secs(99_999_999)),
        ] {
            let mut headers = HeaderMap::new();
            set_timeout(&mut headers, span);
            assert_eq!(timeout(&headers), Some(read));
        }
    }

    #[test]
    fn messages_are_one_line_of_ascii_and_bounded() {
        assert_eq!(encoded("100 % `é`\n"), "100 %25 `%C3%A9`%0A");
        assert!(encoded(&"é".repeat(100_000)).len() <= MESSAGE_MAX);
        assert_eq!(told(&status(Code::Unavailable, "it is gone")), Some(14));
    }
}
