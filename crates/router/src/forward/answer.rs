//! A replica's answer on its way to the caller.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use kea_http::trailers::drop_fields_of_heads;
use tokio::time::{Sleep, sleep};

use crate::endpoint::{InFlight, Link};

/// The rest of the answer did not come.
#[derive(Debug)]
pub(super) enum BodyError {
    Http(hyper::Error),
    Silence(Duration),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(error) => error.fmt(f),
            Self::Silence(patience) => write!(f, "nothing came for {} ms", patience.as_millis()),
        }
    }
}

impl Error for BodyError {}

/// A replica's body that gives its connection back once it has been read to the end.
pub(super) struct Pooled {
    body: Incoming,
    link: Option<Link>,
    in_flight: Option<InFlight>,
    /// Longest silence.
    patience: Duration,
    /// Since the last bytes; `None` while they come.
    silence: Option<Pin<Box<Sleep>>>,
}

impl Pooled {
    pub(super) fn new(body: Incoming, link: Option<Link>, in_flight: InFlight, patience: Duration) -> Self {
        let mut pooled = Self { body, link, in_flight: Some(in_flight), patience, silence: None };
        // Nobody reads an answer without a body to its end.
        if pooled.body.is_end_stream() {
            pooled.give_back();
        }
        pooled
    }

    fn give_back(&mut self) {
        if let Some(in_flight) = self.in_flight.take()
            && let Some(link) = self.link.take()
        {
            in_flight.keep(link);
        }
    }

    /// Waits for more, but not for ever: a replica may say that there is more than it has.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        let over = silence.as_mut().poll(context);
        over.map(|()| Some(Err(BodyError::Silence(self.patience))))
    }
}

impl HttpBody for Pooled {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(link) = &mut self.link {
            link.drive(context);
        }
        let mut frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => return self.poll_silence(context),
        };
        self.silence = None;
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            drop_fields_of_heads(trailers);
        }
        let whole = match &frame {
            None => true,
            Some(Ok(_)) => self.body.is_end_stream(),
            Some(Err(_)) => false,
        };
        if whole {
            self.give_back();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Http)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
