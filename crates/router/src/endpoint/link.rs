//! A connection as one request uses it: for itself, in HTTP/1.1, or with others, in HTTP/2.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use kea_http::replica_tls::TlsStream;
use tokio::net::TcpStream;

use super::lanes::Stream;

/// What carries a request to a replica.
pub(crate) enum Link {
    /// A connection of its own.
    Own(Driven),
    /// A part of one that others use, too.
    Shared(Stream),
}

/// Why a request has no answer.
pub(crate) struct SendFailure {
    /// What was to be sent, where nothing of it was read.
    pub(crate) unsent: Option<Body>,
    /// Whether the same replica may take it over another connection.
    pub(crate) here: bool,
    pub(crate) error: hyper::Error,
}

impl Link {
    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, SendFailure> {
        match self {
            Self::Own(driven) => driven.send(request).await.map_err(SendFailure::from),
            Self::Shared(stream) => Box::pin(stream.send(request)).await,
        }
    }

    /// Moves bytes between socket and body, as far as it goes now.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) {
        if let Self::Own(driven) = self {
            drive(&mut driven.connection, context);
        }
    }
}

impl From<TrySendError<Request<Body>>> for SendFailure {
    fn from(mut failure: TrySendError<Request<Body>>) -> Self {
        Self { unsent: failure.take_message().map(Request::into_body), here: true, error: failure.into_error() }
    }
}

/// What moves the bytes of a connection when it is polled.
enum Connection {
    Plain(Pin<Box<http1::Connection<TokioIo<TcpStream>, Body>>>),
    Tls(Pin<Box<http1::Connection<TokioIo<TlsStream>, Body>>>),
}

/// A connection, driven by the request that uses it: a task of its own would cost each request two wake-ups, often of
/// another thread. Nothing drives an idle one; whether the replica closed it meanwhile is seen at its next use, before
/// anything is sent.
pub(crate) struct Driven {
    sender: SendRequest<Body>,
    /// `None` once it ended.
    connection: Option<Connection>,
}

impl Driven {
    /// Begins HTTP/1.1.
    pub(super) async fn plain(stream: TcpStream) -> Result<Self, hyper::Error> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, connection: Some(Connection::Plain(Box::pin(connection))) })
    }

    /// Begins HTTP/1.1 within TLS.
    pub(super) async fn tls(stream: TlsStream) -> Result<Self, hyper::Error> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, connection: Some(Connection::Tls(Box::pin(connection))) })
    }

    /// Whether it takes another request.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// A request that was not sent is in the error.
    async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        poll_fn(|context| {
            drive(connection, context);
            answer.as_mut().poll(context)
        })
        .await
    }
}

fn drive(connection: &mut Option<Connection>, context: &mut Context<'_>) {
    let polled = match connection {
        Some(Connection::Plain(open)) => open.as_mut().poll(context),
        Some(Connection::Tls(open)) => open.as_mut().poll(context),
        None => return,
    };
    if let Poll::Ready(ended) = polled {
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to a replica ended early");
        }
        // Dropping it gives back a request that it has not taken.
        *connection = None;
    }
}
