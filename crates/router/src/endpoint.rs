//! One replica, as the router reaches it: its address, its connections, how many requests it has, and how it is.

mod dial;
mod lanes;
mod link;
mod tape;
mod target;
mod wire;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use axum::body::Body;
use http::HeaderValue;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use self::{dial::Said, lanes::Lanes, link::Driven};
pub(crate) use self::{
    dial::{Transport, Within},
    link::{Link, SendFailure},
    target::Target,
};
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
    transport: Transport,
    in_flight: AtomicUsize,
    /// Connections of HTTP/1.1. Held for a push or a pop alone, never across an await.
    idle: Mutex<Vec<Driven>>,
    /// Connections of HTTP/2, where it may be spoken.
    lanes: Option<Box<Lanes>>,
    said: Said,
}

impl Endpoint {
    /// A replica; one that joins others at the moment `joins` starts slowly.
    pub(crate) fn new(name: Arc<str>, target: Target, joins: Option<u64>) -> Self {
        let host = match &target {
            Target::Own(address) => HeaderValue::from_str(&address.to_string()),
            Target::External(named) => HeaderValue::from_str(&named.authority()),
        };
        Self {
            host: host.expect("an address is a header value"),
            name,
            target,
            condition: Condition::new(joins),
            latency: Latency::default(),
            transport: Transport::Http1,
            in_flight: AtomicUsize::new(0),
            idle: Mutex::default(),
            lanes: None,
            said: Said::default(),
        }
    }

    /// The same, spoken to in that way.
    pub(crate) fn by(self, transport: Transport) -> Self {
        let lanes = transport.may_be_http2().then(Box::default);
        Self { transport, lanes, ..self }
    }

    /// How it is spoken to.
    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
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
        if let Some(lanes) = &self.lanes
            && let Some(stream) = lanes.room()
        {
            return Some(Link::Shared(stream));
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let link = idle.pop()?;
            if link.is_ready() {
                return Some(Link::Own(link));
            }
        }
    }

    /// A new connection, or a part of one that another request has just opened.
    pub(crate) async fn connect(&self) -> Result<Link, NoLink> {
        match &self.lanes {
            None => Ok(self.connect_alone().await?),
            // On the heap, as it is long and seldom: what is on its way in HTTP/1.1 would have to have room for it.
            Some(lanes) => Box::pin(self.connect_shared(lanes)).await,
        }
    }

    /// A new connection that no other request gets to know.
    pub(crate) async fn connect_alone(&self) -> Result<Link, String> {
        self.dialled(self.stream().await?, self.lanes.as_ref().map(|lanes| lanes.counted())).await
    }

    async fn connect_shared(&self, lanes: &Lanes) -> Result<Link, NoLink> {
        let turn = lanes.turn().await;
        if let Some(stream) = lanes.room() {
            return Ok(Link::Shared(stream));
        }
        if let Some(stream) = lanes.room_at_last().await {
            return Ok(Link::Shared(stream));
        }
        let one_more = match &turn {
            Some(_) => lanes.one_more().ok_or(NoLink::Full)?,
            // It will be of HTTP/1.1, as those before it.
            None => lanes.counted(),
        };
        let link = self.dialled(self.stream().await?, Some(one_more)).await?;
        match &link {
            Link::Shared(stream) => lanes.share(stream),
            Link::Own(_) => lanes.declined(),
        }
        Ok(link)
    }

    /// A new connection for one request that may keep it for another protocol. It is driven beside the request, and ends
    /// with what it is used for.
    pub(crate) async fn connect_for_good(&self) -> Result<SendRequest<Body>, String> {
        let stream = self.stream().await?;
        match &self.transport {
            Transport::Tls(within) => Box::pin(async { alone(self.agreed(within, stream, true).await?).await }).await,
            Transport::Http1 | Transport::Http2 => alone(stream).await,
        }
    }

    async fn stream(&self) -> Result<TcpStream, String> {
        let address = self.target.address().await.map_err(|error| error.to_string())?;
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(stream)
    }

    /// Looks its name up anew. Where it leads elsewhere now, the connections of before are given up.
    pub(crate) async fn look_up(&self) {
        if self.target.look_up().await {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.lanes.iter().for_each(|lanes| lanes.clear());
        }
    }

    fn keep(&self, link: Link) {
        // One that is shared is kept anyway.
        let Link::Own(link) = link else { return };
        // A service may answer before it has read all of the request: nobody would send the rest.
        if !link.is_ready() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(link);
        }
    }
}

/// Why there is no connection.
pub(crate) enum NoLink {
    /// KEA has as many as it may.
    Full,
    /// The replica does not answer.
    Failed(String),
}

impl From<String> for NoLink {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// HTTP/1.1 on a connection that its one request may keep for another protocol.
async fn alone<T>(stream: T) -> Result<SendRequest<Body>, String>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a replica ended early");
        }
    });
    Ok(sender)
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
