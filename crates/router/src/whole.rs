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
    let mut read = Pieces::default();
    while let Some(chunk) = stream.next().await {
        read.add(chunk.map_err(|error| RouterError::Broken(error.to_string()))?);
        if read.len() > most {
            let before = futures_util::stream::once(std::future::ready(Ok(read.whole())));
            return Ok(Answer::Large(Body::from_stream(before.chain(stream))));
        }
    }
    Ok(Answer::Whole(read.whole()))
}

/// What has come. Most answers come in one piece, which stays as it is.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    /// The first one and all others, once there are others.
    joined: BytesMut,
}

impl Pieces {
    fn add(&mut self, piece: Bytes) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&self.first);
        }
        self.joined.extend_from_slice(&piece);
    }

    fn len(&self) -> usize {
        self.first.len().max(self.joined.len())
    }

    fn whole(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}
