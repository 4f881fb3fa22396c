//! The caller's answer, seen as it streams past.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;

use super::LARGEST;
use crate::RouterError;

/// What the caller is answered. Nothing is told of one who left before that was whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Theirs {
    Whole(Vec<Bytes>),
    TooLarge,
    Error,
}

/// Waits for the answer to a call.
pub(crate) struct Watch(oneshot::Sender<Theirs>);

impl Watch {
    pub(super) fn new(tell: oneshot::Sender<Theirs>) -> Self {
        Self(tell)
    }

    /// The same answer, which tells what it was once it has gone to the caller.
    pub(crate) fn watch(self, answered: Result<Response, RouterError>) -> Result<Response, RouterError> {
        match answered {
            Ok(response) if response.status().is_success() => {
                Ok(response.map(|body| Body::new(Watched::new(body, self.0))))
            }
            error => {
                // Nobody listens where the process ends.
                let _ = self.0.send(Theirs::Error);
                error
            }
        }
    }
}

/// A body of which each part is kept, while that is not too much, on its way to the caller.
struct Watched {
    body: Body,
    seen: Vec<Bytes>,
    length: usize,
    tell: Option<oneshot::Sender<Theirs>>,
}

impl Watched {
    fn new(body: Body, tell: oneshot::Sender<Theirs>) -> Self {
        let mut watched = Self { body, seen: Vec::new(), length: 0, tell: Some(tell) };
        // Nobody reads an answer without a body to its end.
        watched.tell_if_whole();
        watched
    }

    fn see(&mut self, data: &Bytes) {
        self.length += data.len();
        if self.length > LARGEST {
            self.seen = Vec::new();
            self.tell(|_| Theirs::TooLarge);
        } else if self.tell.as_ref().is_some_and(|tell| !tell.is_closed()) {
            self.seen.push(data.clone());
        } else {
            // Nobody waits for it any longer, and what is kept holds memory that nothing bounds.
            self.seen = Vec::new();
        }
    }

    fn tell_if_whole(&mut self) {
        if self.body.is_end_stream() {
            self.tell(Theirs::Whole);
        }
    }

    fn tell(&mut self, what: impl FnOnce(Vec<Bytes>) -> Theirs) {
        if let Some(tell) = self.tell.take() {
            // Whoever asked may have given up.
            let _ = tell.send(what(std::mem::take(&mut self.seen)));
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.see(data);
                }
                self.tell_if_whole();
            }
            Poll::Ready(None) => self.tell(Theirs::Whole),
            Poll::Ready(Some(Err(_))) => self.tell(|_| Theirs::Error),
            Poll::Pending => {}
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
    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    fn watched(body: Body) -> (Body, oneshot::Receiver<Theirs>) {
        let (tell, told) = oneshot::channel();
        let watched = Watch::new(tell).watch(Ok(Response::new(body))).unwrap();
        (watched.into_body(), told)
    }

    fn chunks(chunks: Vec<Result<Bytes, std::io::Error>>) -> Body {
        Body::from_stream(stream::iter(chunks))
    }

    #[tokio::test]
    async fn what_goes_to_the_caller_is_seen_whole() {
        let (body, mut told) = watched(chunks(vec![Ok("ab".into()), Ok("c".into())]));
        assert!(told.try_recv().is_err(), "nothing has gone yet");
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
        assert_eq!(told.await, Ok(Theirs::Whole(vec!["ab".into(), "c".into()])));
        let (_body, told) = watched(Body::empty());
        assert_eq!(told.await, Ok(Theirs::Whole(Vec::new())));
    }

    #[tokio::test]
    async fn what_is_too_large_is_forgotten_and_goes_on() {
        let half = || Ok(Bytes::from(vec![b'x'; LARGEST / 2 + 1]));
        let (body, told) = watched(chunks(vec![half(), half(), half()]));
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), LARGEST / 2 * 3 + 3);
        assert_eq!(told.await, Ok(Theirs::TooLarge));
    }

    #[test]
    fn nothing_is_kept_once_nobody_waits_for_it() {
        let (tell, told) = oneshot::channel();
        let mut watched = Watched::new(chunks(Vec::new()), tell);
        watched.see(&"ab".into());
        assert_eq!(watched.seen.len(), 1);
        drop(told);
        watched.see(&"c".into());
        assert_eq!(watched.seen.len(), 0);
    }

    #[tokio::test]
    async fn of_a_caller_who_leaves_nothing_is_told() {
        let (mut body, told) = watched(chunks(vec![Ok("ab".into()), Ok("c".into())]));
        body.frame().await.unwrap().unwrap();
        drop(body);
        told.await.unwrap_err();
    }

    #[tokio::test]
    async fn an_answer_that_fails_is_an_error() {
        let (body, told) = watched(chunks(vec![Ok("ab".into()), Err(std::io::Error::other("gone"))]));
        body.collect().await.unwrap_err();
        assert_eq!(told.await, Ok(Theirs::Error));
        let (tell, told) = oneshot::channel();
        Watch::new(tell).watch(Err(RouterError::NoReplica("iris".into()))).unwrap_err();
        assert_eq!(told.await, Ok(Theirs::Error));
    }
}
