//! New connections to a replica: of TCP, and of TLS on top of it where its address says so.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use kea_http::replica_tls::{ReplicaTls, TlsStream, is_http2, reason};
use tokio::net::TcpStream;

use super::{
    Endpoint,
    lanes::{self, Stream},
    link::{Driven, Link},
    wire::Alive,
};
use crate::clock;

/// How a replica is spoken to.
#[derive(Clone)]
pub(crate) enum Transport {
    Http1,
    /// Without TLS, as both ends know beforehand.
    Http2,
    Tls(Within),
}

/// TLS with a replica.
#[derive(Clone)]
pub(crate) struct Within {
    /// Whom to believe, and what to show.
    pub(crate) tls: Arc<ReplicaTls>,
    /// The name that its certificate must have, where that is not its address.
    pub(crate) name: Option<Arc<str>>,
    /// Whether it is to be HTTP/1.1. Else it is HTTP/2 or HTTP/1.1, as is agreed upon.
    pub(crate) http1_alone: bool,
}

impl Within {
    fn is_same(&self, other: &Self) -> bool {
        let Self { tls, name, http1_alone } = self;
        Arc::ptr_eq(tls, &other.tls) && *name == other.name && *http1_alone == other.http1_alone
    }
}

impl Transport {
    /// Whether connections of the one are as good as those of the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http1, Self::Http1) | (Self::Http2, Self::Http2) => true,
            (Self::Tls(a), Self::Tls(b)) => a.is_same(b),
            (Self::Http1 | Self::Http2 | Self::Tls(_), _) => false,
        }
    }

    /// Whether it may be HTTP/2.
    pub(crate) fn may_be_http2(&self) -> bool {
        match self {
            Self::Http1 => false,
            Self::Http2 => true,
            Self::Tls(within) => !within.http1_alone,
        }
    }
}

/// Shortest time between two lines of the log about one replica's TLS, in nanoseconds.
const LOG_EVERY: u64 = 1_000_000_000;

/// When something was said last.
#[derive(Default)]
pub(super) struct Said(AtomicU64);

impl Said {
    fn is_due(&self) -> bool {
        let (now, last) = (clock::now(), self.0.load(Relaxed));
        let is_due = last == 0 || now.saturating_sub(last) >= LOG_EVERY;
        is_due && self.0.compare_exchange(last, now.max(1), Relaxed, Relaxed).is_ok()
    }
}

impl Endpoint {
    /// A connection that nobody else knows, and that is counted where it may be of HTTP/2.
    pub(super) async fn dialled(&self, tcp: TcpStream, alive: Option<Alive>) -> Result<Link, String> {
        match &self.transport {
            Transport::Http1 => Ok(Link::Own(Driven::plain(tcp).await.map_err(|error| error.to_string())?)),
            Transport::Http2 => Ok(Link::Shared(Box::pin(self.http2(TokioIo::new(tcp), Scheme::HTTP, alive)).await?)),
            Transport::Tls(within) => Box::pin(self.within_tls(within, tcp, alive)).await,
        }
    }

    async fn within_tls(&self, within: &Within, tcp: TcpStream, alive: Option<Alive>) -> Result<Link, String> {
        let stream = self.agreed(within, tcp, within.http1_alone).await?;
        match is_http2(&stream) {
            true => Ok(Link::Shared(self.http2(TokioIo::new(stream), Scheme::HTTPS, alive).await?)),
            false => Ok(Link::Own(Driven::tls(stream).await.map_err(|error| self.told(&error))?)),
        }
    }

    async fn http2<T>(&self, io: T, scheme: Scheme, alive: Option<Alive>) -> Result<Stream, String>
    where
        T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        lanes::begin(io, scheme, alive).await.map_err(|error| self.told(&error))
    }

    /// TLS with the replica. Why there is none is in the log: callers have no business with certificates of replicas.
    pub(super) async fn agreed(&self, within: &Within, tcp: TcpStream, http1_alone: bool) -> Result<TlsStream, String> {
        let name = within.name.as_deref().or_else(|| self.target.host()).unwrap_or_default();
        within.tls.connect(tcp, name, http1_alone).await.map_err(|error| self.no_tls(&error.to_string()))
    }

    /// What a caller is told of an error of a connection.
    pub(crate) fn told(&self, error: &(dyn Error + 'static)) -> String {
        match reason(error).filter(|_| matches!(self.transport, Transport::Tls(_))) {
            Some(reason) => self.no_tls(&reason),
            None => error.to_string(),
        }
    }

    fn no_tls(&self, reason: &str) -> String {
        if self.said.is_due() {
            tracing::warn!(replica = &*self.name, reason, "no TLS was agreed upon with a replica");
        }
        "no TLS was agreed upon; the log of KEA says why".into()
    }
}
