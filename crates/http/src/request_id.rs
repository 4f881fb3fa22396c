//! The id by which a request is found in answers and logs of every component.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::hex;

/// Header that carries the id, in requests and answers.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken over from a caller.
const LONGEST: usize = 64;

/// A request's id: the caller's own where it sent a sensible one, else a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

impl RequestId {
    /// The caller's id, or a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        sent.filter(|id| is_sensible(id)).map_or_else(Self::random, |id| Self(id.into()))
    }

    /// A new id, unlike any other: random start of the process, then counted.
    pub fn random() -> Self {
        static START: LazyLock<u64> = LazyLock::new(rand::random);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // Twelve digits each: nobody counts to the end of them.
        let count = COUNT.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff_ffff;
        Self(hex::text::<24, _>((u128::from(*START) << 48) | u128::from(count)))
    }

    /// The id as a header's value.
    pub fn header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("ids hold letters, digits, `-`, `_` and `.` alone")
    }
}

fn is_sensible(id: &str) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sent: &'static str) -> String {
        let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(sent))]);
        RequestId::of(&headers).0.to_string()
    }

    #[test]
    fn a_callers_id_is_kept_where_it_is_sensible() {
        assert_eq!(of("trace-1.a_B"), "trace-1.a_B");
        assert_ne!(of("<script>"), "<script>");
        assert_ne!(of(""), "");
        assert_ne!(RequestId::random(), RequestId::random());
    }
}
