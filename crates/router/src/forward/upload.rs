//! A request's body on its way to a web service, and whose fault it is where it does not arrive.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use kea_http::trailers::drop_fields_of_heads;

/// How far a body is. Told by the task that sends it, read by the one that waits for the answer.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<AtomicU8>);

const UNDER_WAY: u8 = 0;
const WHOLE: u8 = 1;
const BROKEN: u8 = 2;

impl Progress {
    /// Whether more is to come from the caller.
    pub(crate) fn is_under_way(&self) -> bool {
        self.0.load(Relaxed) == UNDER_WAY
    }

    /// Whether the caller broke it off, or sent more than is allowed.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.load(Relaxed) == BROKEN
    }
}

/// A body that tells how far it is.
pub(crate) struct Upload {
    body: Body,
    progress: Progress,
}

impl Upload {
    /// Watches `body`.
    pub(crate) fn new(body: Body) -> (Self, Progress) {
        let state = if body.is_end_stream() { WHOLE } else { UNDER_WAY };
        let progress = Progress(Arc::new(state.into()));
        (Self { body, progress: progress.clone() }, progress)
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Err(_))) => self.progress.0.store(BROKEN, Relaxed),
            Poll::Ready(None) => self.progress.0.store(WHOLE, Relaxed),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.progress.0.store(WHOLE, Relaxed),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            drop_fields_of_heads(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Limited};

    use super::*;

    #[tokio::test]
    async fn a_body_tells_how_far_it_is() {
        let (upload, progress) = Upload::new(Body::empty());
        assert!(!progress.is_under_way() && upload.is_end_stream());

        let (upload, progress) = Upload::new(Body::from("abc"));
        assert!(progress.is_under_way());
        upload.collect().await.unwrap();
        assert!(!progress.is_under_way() && !progress.is_broken());

        let (upload, progress) = Upload::new(Body::new(Limited::new(Body::from("abc"), 2)));
        upload.collect().await.unwrap_err();
        assert!(progress.is_broken());
    }
}
