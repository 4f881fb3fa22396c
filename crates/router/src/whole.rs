//! A replica's answer, read whole where it is not too large for that.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http_body::Body as _;

use crate::RouterError;

/// A replica's body.
pub(crate) enum Answer {
    /// All of it.
    Whole(Bytes),
    /// It is larger than was asked for, and goes on as it comes.
    Large(Body),
}

/// Reads at most that many bytes.
///
/// # Errors
/// The replica broke off.
pub(crate) async fn read(body: Body, most: usize) -> Result<Answer, RouterError> {
    if body.size_hint().lower() > most as u64 {
        return Ok(Answer::Large(body));
    }
    let mut stream = body.into_data_stream();
    let mut read = Bytes::new();
    while let Some(chunk) = stream.next().await {
        read = joined(read, chunk.map_err(|error| RouterError::Broken(error.to_string()))?);
        if read.len() > most {
            let before = futures_util::stream::once(std::future::ready(Ok(read)));
            return Ok(Answer::Large(Body::from_stream(before.chain(stream))));
        }
    }
    Ok(Answer::Whole(read))
}

/// Most answers come in one piece, which stays as it is.
fn joined(before: Bytes, more: Bytes) -> Bytes {
    if before.is_empty() {
        return more;
    }
    let mut whole = BytesMut::from(before);
    whole.extend_from_slice(&more);
    whole.freeze()
}
