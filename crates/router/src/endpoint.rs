//! One replica, as the router reaches it: its address, its idle connections, and how many requests it has.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Idle connections kept for each replica: as many as requests commonly overlap.
const IDLE_MAX: usize = 256;

/// A replica that takes requests. Kept from one snapshot to the next, with its connections.
pub(crate) struct Endpoint {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    in_flight: AtomicUsize,
    /// Held for a push or a pop alone, never across an await.
    idle: Mutex<Vec<SendRequest<Body>>>,
}

impl Endpoint {
    pub(crate) fn new(name: Arc<str>, address: SocketAddr) -> Self {
        Self { name, address, in_flight: AtomicUsize::new(0), idle: Mutex::default() }
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
    pub(crate) fn reuse(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let connection = idle.pop()?;
            if connection.is_ready() {
                return Some(connection);
            }
        }
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<SendRequest<Body>, String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a replica ended early");
            }
        });
        Ok(sender)
    }

    fn keep(&self, connection: SendRequest<Body>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }
}

/// One request under way at an endpoint.
pub(crate) struct InFlight {
    endpoint: Arc<Endpoint>,
}

impl InFlight {
    /// Gives the connection back once its answer has been read to the end.
    pub(crate) fn keep(&self, connection: SendRequest<Body>) {
        self.endpoint.keep(connection);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
