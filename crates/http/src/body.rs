//! Reading a body that must be whole before anything can be done with it: bounded in bytes and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::ApiError;

/// Longest silence of a caller in the middle of a body: it frees what a stalled connection holds.
const LONGEST_SILENCE: Duration = Duration::from_secs(15);

/// How long a body may take however small it is; a larger one may take longer, at [`SLOWEST`]. A caller that sends a
/// byte now and then is never silent, and would hold its connection for ever.
const GRACE: Duration = Duration::from_secs(30);

/// Bytes a second, below any network that people use.
const SLOWEST: usize = 4096;

/// Bytes that room is made for because a caller announces them.
const ROOM: usize = 64 * 1024;

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// 413 above the limit, 408 where the caller falls silent or drips, 400 where it breaks off.
pub async fn read<B>(mut body: B, limit: usize) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let Some(first) = next(&mut body).await? else {
        return Ok(Bytes::new());
    };
    if body.is_end_stream() && first.len() <= limit {
        return Ok(first);
    }
    let started = Instant::now();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut whole = BytesMut::with_capacity(first.len() + announced.min(ROOM));
    whole.extend_from_slice(&first);
    while let Some(more) = next(&mut body).await? {
        whole.extend_from_slice(&more);
        if whole.len() > limit {
            return Err(too_large(limit));
        }
        if started.elapsed() > GRACE + Duration::from_secs((whole.len() / SLOWEST) as u64) {
            return Err(too_slow("the body arrives too slowly: send it again over a better connection"));
        }
    }
    if whole.len() > limit { Err(too_large(limit)) } else { Ok(whole.freeze()) }
}

/// A body that is passed on as it comes, and ends with an error above `limit` bytes.
///
/// # Errors
/// 413 where it says at once that it is larger.
pub fn bounded(body: axum::body::Body, limit: usize) -> Result<axum::body::Body, ApiError> {
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let is_bounded = limit < usize::MAX;
    Ok(if is_bounded { axum::body::Body::new(http_body_util::Limited::new(body, limit)) } else { body })
}

async fn next<B>(body: &mut B) -> Result<Option<Bytes>, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    loop {
        let silent = |_| too_slow("the body stopped arriving: send it again");
        match tokio::time::timeout(LONGEST_SILENCE, body.frame()).await.map_err(silent)? {
            None => return Ok(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                // Trailers mean nothing to a body that is read whole.
                Err(_trailers) => {}
            },
            Some(Err(error)) => {
                let detail = format!("the body broke off: {error}");
                return Err(ApiError::new(StatusCode::BAD_REQUEST, "broken-body", detail));
            }
        }
    }
}

/// A body that took too long to arrive.
pub fn too_slow(detail: &str) -> ApiError {
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "slow-body", detail)
}

/// A streamed body that its caller broke off, or that became larger than is allowed.
pub fn not_whole() -> ApiError {
    let detail = "the body broke off, or has more bytes than the service's `limits.body` allows";
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

fn too_large(limit: usize) -> ApiError {
    let detail = format!("the body has more than {limit} bytes: send fewer rows at a time");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit() {
        assert_eq!(read(Full::new(Bytes::from("12345")), 5).await.unwrap(), "12345");
        let refused = read(Full::new(Bytes::from("123456")), 5).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_is_bounded_too() {
        let frames = ["123", "456"].map(|part| Ok::<_, String>(http_body::Frame::data(Bytes::from(part))));
        let refused = read(StreamBody::new(futures_util::stream::iter(frames)), 5).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_caller_is_not_waited_for() {
        let silence = StreamBody::new(futures_util::stream::pending::<Result<http_body::Frame<Bytes>, String>>());
        assert_eq!(read(silence, 5).await.unwrap_err().status, StatusCode::REQUEST_TIMEOUT);
    }

    /// Sends `part` every ten seconds, `count` times.
    async fn dripped(part: &'static [u8], count: usize) -> Result<Bytes, ApiError> {
        let drip = move |sent: usize| async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            (sent < count).then(|| (Ok::<_, String>(http_body::Frame::data(Bytes::from_static(part))), sent + 1))
        };
        let body = StreamBody::new(Box::pin(futures_util::stream::unfold(0, drip)));
        read(body, usize::MAX).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_drips_is_cut_off() {
        assert_eq!(dripped(b".", 100).await.unwrap_err().status, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(dripped(b".", 2).await.unwrap(), "..");
        assert_eq!(dripped(&[b'.'; 50_000], 20).await.unwrap().len(), 1_000_000);
    }
}
