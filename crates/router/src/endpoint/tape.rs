//! A body on its way over a connection that many requests share. As long as little of it has gone, it can be had again
//! from its start: where the other end refuses a request, as when it closes the connection, nothing of it has been read.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Bytes that are kept of a body until its request is answered.
const KEEP: usize = 64 << 10;

/// The end that stays with the sender. Once it is dropped nobody has any use for what is left of the body: its request is
/// over, and the other end is told so.
pub(super) struct Tape(Arc<Mutex<State>>);

/// The end that is sent.
struct Recorded(Arc<Mutex<State>>);

struct State {
    body: Body,
    kept: VecDeque<Part>,
    bytes: usize,
    /// Whether all that has gone is kept.
    whole: bool,
    /// Whether the rest is not to be sent.
    cut: bool,
    /// Who sends it, while there is nothing to send.
    waits: Option<Waker>,
}

enum Part {
    Data(Bytes),
    Trailers(http::HeaderMap),
}

impl Tape {
    /// What is kept of `body`, and what to send in its place.
    pub(super) fn of(body: Body) -> (Self, Body) {
        let whole = !body.is_end_stream();
        let state =
            Arc::new(Mutex::new(State { body, kept: VecDeque::new(), bytes: 0, whole: true, cut: false, waits: None }));
        let sent = if whole { Body::new(Recorded(state.clone())) } else { Body::empty() };
        (Self(state), sent)
    }

    /// Keeps no more of it: it has been answered.
    pub(super) fn stop(&self) {
        lock(&self.0).give_up();
    }

    /// The body from its start, where that is still there.
    pub(super) fn rewound(self) -> Option<Body> {
        let mut state = lock(&self.0);
        let (body, kept) = (std::mem::take(&mut state.body), std::mem::take(&mut state.kept));
        match state.whole {
            true if kept.is_empty() => Some(body),
            true => Some(Body::new(Again { kept, body })),
            false => None,
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.cut = !state.body.is_end_stream();
        // What wakes may run at once, and look at it.
        let waits = state.waits.take();
        drop(state);
        waits.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let size = frame.data_ref().map_or(0, Bytes::len);
        if self.bytes + size > KEEP {
            self.give_up();
        }
        if !self.whole {
            return;
        }
        self.bytes += size;
        let data = frame.data_ref().map(|data| Part::Data(data.clone()));
        self.kept.extend(data.or_else(|| frame.trailers_ref().map(|trailers| Part::Trailers(trailers.clone()))));
    }

    fn give_up(&mut self) {
        self.whole = false;
        self.kept = VecDeque::new();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut state = lock(&self.0);
        if state.cut {
            let over = h2::Error::from(h2::Reason::CANCEL);
            return Poll::Ready(Some(Err(axum::Error::new(over))));
        }
        let polled = Pin::new(&mut state.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => state.keep(frame),
            Poll::Ready(Some(Err(_))) => state.give_up(),
            Poll::Ready(None) => {}
            Poll::Pending => state.waits = Some(context.waker().clone()),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).body.size_hint()
    }
}

/// What has gone before, and then the rest.
struct Again {
    kept: VecDeque<Part>,
    body: Body,
}

impl HttpBody for Again {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.kept.pop_front() {
            Some(Part::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Part::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            None => Pin::new(&mut self.body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_empty() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn body(parts: &[&'static str]) -> Body {
        let parts: Vec<Result<Bytes, axum::Error>> = parts.iter().map(|part| Ok(Bytes::from(*part))).collect();
        Body::from_stream(futures_util::stream::iter(parts))
    }

    async fn text(body: Body) -> String {
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn what_has_gone_comes_again_before_the_rest() {
        let (tape, mut sent) = Tape::of(body(&["a", "b", "c"]));
        for expected in ["a", "b"] {
            assert_eq!(sent.frame().await.unwrap().unwrap().into_data().unwrap(), expected);
        }
        assert_eq!(text(tape.rewound().unwrap()).await, "abc");
        assert_eq!(text(sent).await, "", "the first sender has nothing more to send");
    }

    #[tokio::test]
    async fn trailers_come_again_too() {
        let trailers = http::HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))]);
        let with_trailers = body(&["a"]).with_trailers(std::future::ready(Some(Ok(trailers.clone()))));
        let (tape, sent) = Tape::of(Body::new(with_trailers));
        sent.collect().await.unwrap();
        let again = tape.rewound().unwrap().collect().await.unwrap();
        assert_eq!(again.trailers(), Some(&trailers));
    }

    #[tokio::test]
    async fn little_is_kept_and_nothing_once_it_is_answered() {
        let large = Box::leak("x".repeat(KEEP).into_boxed_str());
        let (tape, sent) = Tape::of(body(&["a", large]));
        text(sent).await;
        assert!(tape.rewound().is_none());

        let (tape, sent) = Tape::of(body(&["a"]));
        tape.stop();
        text(sent).await;
        assert!(tape.rewound().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn once_nobody_waits_for_an_answer_the_rest_is_not_sent() {
        let parts = futures_util::stream::iter([Ok::<_, axum::Error>("a")]);
        let endless = Body::from_stream(futures_util::StreamExt::chain(parts, futures_util::stream::pending()));
        let (tape, mut sent) = Tape::of(endless);
        assert!(sent.frame().await.unwrap().is_ok());
        let rest = tokio::spawn(async move { sent.frame().await });
        tokio::task::yield_now().await;
        drop(tape);
        let rest = tokio::time::timeout(std::time::Duration::from_secs(1), rest).await;
        assert!(rest.expect("it is told of it").unwrap().unwrap().is_err());
    }

    #[test]
    fn what_is_empty_can_always_be_sent_again() {
        let (tape, sent) = Tape::of(Body::empty());
        assert!(sent.is_end_stream() && tape.rewound().unwrap().is_end_stream());
    }
}
