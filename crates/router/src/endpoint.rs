//! One replica, as the router reaches it: its address, its idle connections, and how many requests it has.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use http::{HeaderValue, Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Idle connections kept for each replica: as many as requests commonly overlap.
const IDLE_MAX: usize = 256;

/// A replica that takes requests. Kept from one snapshot to the next, with its connections.
pub(crate) struct Endpoint {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    /// The address as the `Host` header says it.
    pub(crate) host: HeaderValue,
    in_flight: AtomicUsize,
    /// Held for a push or a pop alone, never across an await.
    idle: Mutex<Vec<Link>>,
}

impl Endpoint {
    pub(crate) fn new(name: Arc<str>, address: SocketAddr) -> Self {
        let host = HeaderValue::from_str(&address.to_string()).expect("an address is a header value");
        Self { name, address, host, in_flight: AtomicUsize::new(0), idle: Mutex::default() }
    }

    /// Requests under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request until what is returned is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { endpoint: self.clone() }
    }

    /// A connection that was used before and is still open.
    pub(crate) fn reuse(&self) -> Option<Link> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let link = idle.pop()?;
            if link.sender.is_ready() {
                return Some(link);
            }
        }
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<Link, String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        Ok(Link { sender, connection: Some(Box::pin(connection)) })
    }

    fn keep(&self, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(link);
        }
    }
}

/// What moves the bytes of a connection when it is polled.
type Connection = Pin<Box<http1::Connection<TokioIo<TcpStream>, Body>>>;

/// A connection, driven by the request that uses it: a task of its own would cost each request two wake-ups, often of
/// another thread. Nothing drives an idle one; whether the replica closed it meanwhile is seen at its next use, before
/// anything is sent.
pub(crate) struct Link {
    sender: SendRequest<Body>,
    /// `None` once it ended.
    connection: Option<Connection>,
}

impl Link {
    /// Sends a request and waits for the head of its answer. A request that was not sent is in the error.
    pub(crate) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        poll_fn(|context| {
            drive(connection, context);
            answer.as_mut().poll(context)
        })
        .await
    }

    /// Moves bytes between socket and body, as far as it goes now.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) {
        drive(&mut self.connection, context);
    }
}

fn drive(connection: &mut Option<Connection>, context: &mut Context<'_>) {
    let Some(open) = connection else { return };
    if let Poll::Ready(ended) = open.as_mut().poll(context) {
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to a replica ended early");
        }
        // Dropping it gives back a request that it has not taken.
        *connection = None;
    }
}

/// One request under way at an endpoint.
pub(crate) struct InFlight {
    endpoint: Arc<Endpoint>,
}

impl InFlight {
    /// Gives the connection back once its answer has been read to the end.
    pub(crate) fn keep(&self, link: Link) {
        self.endpoint.keep(link);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
