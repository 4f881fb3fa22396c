//! One replica, as the router reaches it: its address, its idle connections, how many requests it has, and how it is.

mod target;

use std::{
    future::poll_fn,
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

pub(crate) use self::target::Target;
use crate::{balance::Latency, clock, health::Condition};

/// Idle connections kept for each replica: as many as requests commonly overlap.
const IDLE_MAX: usize = 256;

/// A replica that takes requests. Kept from one snapshot to the next, with its connections.
pub(crate) struct Endpoint {
    pub(crate) name: Arc<str>,
    pub(crate) target: Target,
    /// The address as the `Host` header says it.
    pub(crate) host: HeaderValue,
    pub(crate) condition: Condition,
    pub(crate) latency: Latency,
    in_flight: AtomicUsize,
    /// Held for a push or a pop alone, never across an await.
    idle: Mutex<Vec<Link>>,
}

impl Endpoint {
    /// A replica; one that joins others at the moment `joins` starts slowly.
    pub(crate) fn new(name: Arc<str>, target: Target, joins: Option<u64>) -> Self {
        let host = match &target {
            Target::Own(address) => HeaderValue::from_str(&address.to_string()),
            // Its name is its address.
            Target::External(_) => HeaderValue::from_str(&name),
        };
        Self {
            host: host.expect("an address is a header value"),
            name,
            target,
            condition: Condition::new(joins),
            latency: Latency::default(),
            in_flight: AtomicUsize::new(0),
            idle: Mutex::default(),
        }
    }

    /// Requests under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request until what is returned is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { endpoint: self.clone(), since: clock::now(), answered: false }
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
        let (sender, connection) = http1::handshake(self.stream().await?).await.map_err(|error| error.to_string())?;
        Ok(Link { sender, connection: Some(Box::pin(connection)) })
    }

    /// A new connection for one request that may keep it for another protocol. It is driven beside the request, and ends
    /// with what it is used for.
    pub(crate) async fn connect_for_good(&self) -> Result<SendRequest<Body>, String> {
        let (sender, connection) = http1::handshake(self.stream().await?).await.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a replica ended early");
            }
        });
        Ok(sender)
    }

    async fn stream(&self) -> Result<TokioIo<TcpStream>, String> {
        let address = self.target.address().await.map_err(|error| error.to_string())?;
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(TokioIo::new(stream))
    }

    /// Looks its name up anew. Where it leads elsewhere now, the connections of before are given up.
    pub(crate) async fn look_up(&self) {
        if self.target.look_up().await {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    fn keep(&self, link: Link) {
        // A service may answer before it has read all of the request: nobody would send the rest.
        if !link.sender.is_ready() {
            return;
        }
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
    /// When it began, by [`clock`].
    since: u64,
    answered: bool,
}

impl InFlight {
    /// The head of the answer is there: how long it took counts. A failure that came quickly does not make a replica
    /// look quick.
    pub(crate) fn answered(&mut self, well: bool) -> u64 {
        let now = clock::now();
        let took = now.saturating_sub(self.since);
        self.answered = true;
        if well || (took as f64) > self.endpoint.latency.cost(now) {
            self.endpoint.latency.observe(took, now);
        }
        took
    }

    /// Gives the connection back once its answer has been read to the end.
    pub(crate) fn keep(&self, link: Link) {
        self.endpoint.keep(link);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.answered {
            // Nobody waits any longer: it would have taken at least as long.
            self.answered(false);
        }
    }
}
