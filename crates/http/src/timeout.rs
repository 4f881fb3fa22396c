//! How long the gateway waits, told to a replica with each request: a setting that changes reaches it at once.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Milliseconds that the gateway waits for the answer.
pub const TIMEOUT: HeaderName = HeaderName::from_static("kea-timeout-ms");

/// The header's value.
pub fn value(timeout: Duration) -> HeaderValue {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).into()
}

/// What the header says, where there is one that can be read.
pub fn read(headers: &HeaderMap) -> Option<Duration> {
    headers.get(TIMEOUT)?.to_str().ok()?.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_it_was_written() {
        let headers = HeaderMap::from_iter([(TIMEOUT, value(Duration::from_millis(1500)))]);
        assert_eq!(read(&headers), Some(Duration::from_millis(1500)));
        assert_eq!(read(&HeaderMap::from_iter([(TIMEOUT, HeaderValue::from_static("soon"))])), None);
    }
}
