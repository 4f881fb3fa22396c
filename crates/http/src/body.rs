//! Reading a body that must be whole before anything can be done with it: bounded in bytes and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;

use crate::ApiError;

/// Longest silence of a caller in the middle of a body: it frees what a stalled connection holds.
const LONGEST_SILENCE: Duration = Duration::from_secs(15);

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// 413 above the limit, 408 where the caller falls silent, 400 where it breaks off.
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
    let mut whole = BytesMut::from(first);
    while let Some(more) = next(&mut body).await? {
        whole.extend_from_slice(&more);
        if whole.len() > limit {
            return Err(too_large(limit));
        }
    }
    if whole.len() > limit { Err(too_large(limit)) } else { Ok(whole.freeze()) }
}

async fn next<B>(body: &mut B) -> Result<Option<Bytes>, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    loop {
        let silent =
            |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "slow-body", "the body stopped arriving: send it again");
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
}
