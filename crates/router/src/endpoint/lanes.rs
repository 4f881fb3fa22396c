//! Connections of HTTP/2 to one replica: a few, each with many requests at once.
//!
//! A connection is driven by a task of its own, as none of its requests can be asked to do so for the others. How many
//! requests are on it is counted here, so that none waits within it for one that ends late. There are no pings: servers
//! of gRPC take those for an attack.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::body::Body;
use http::{
    HeaderMap, Request, Response, Uri, Version, header,
    uri::{Authority, Scheme},
};
use http_body::Body as _;
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    rt::{Read, Write},
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::{
    sync::{Semaphore, SemaphorePermit, oneshot, watch},
    time::timeout,
};

use super::{
    link::SendFailure,
    tape::Tape,
    wire::{Alive, Wire},
};

/// Requests on one connection, where the replica does not want fewer.
const STREAMS: usize = 100;

/// Requests on a connection whose replica has not said yet how many it wants: further ones wait for its first word.
const AT_FIRST: usize = 7;

/// How long that is waited for. It is the first that a server says.
const FIRST_WORD: Duration = Duration::from_millis(200);

/// Connections to one replica: with [`STREAMS`] as many requests as tunnels.
const LANES_MAX: usize = 40;

/// Bytes of one answer that are read ahead of its caller, and of all answers on a connection. As many as all of them
/// may have, so that callers who do not read never stop those who do.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// Largest head and largest trailers of an answer.
const HEADER_LIST_BYTES: u32 = 64 << 10;

/// Bytes of one request's body that wait for the replica to read them.
const SEND_BUFFER: usize = 128 << 10;

/// The connections of an endpoint that speaks HTTP/2, or may.
pub(super) struct Lanes {
    /// Held for a look alone, never across an await.
    open: Mutex<Vec<Arc<Lane>>>,
    /// Who opens the next connection: others wait for it, and share it.
    opening: Semaphore,
    /// Whether the replica chose HTTP/1.1 when it was asked.
    declined: AtomicBool,
    /// Connections that there are, those among them that take no more requests.
    alive: Arc<AtomicUsize>,
}

/// One connection.
pub(super) struct Lane {
    sender: SendRequest<Body>,
    scheme: Scheme,
    streams: AtomicUsize,
    /// Most of them, as the replica says.
    most: Arc<AtomicUsize>,
    /// Heads of answers that have come.
    answers: AtomicU64,
    /// Takes no more requests.
    retired: AtomicBool,
    /// Whether the replica has said how many it wants.
    has_said: watch::Receiver<bool>,
    /// Dropped with the last of its requests, which ends the connection.
    _used: oneshot::Sender<()>,
}

/// One request's part of a connection, counted until this is dropped.
pub(crate) struct Stream {
    lane: Arc<Lane>,
    /// Answers that had come before.
    seen: u64,
    answered: bool,
    /// What is sent; with it ends what was not sent yet.
    tape: Option<Tape>,
}

impl Default for Lanes {
    fn default() -> Self {
        let (declined, alive) = (AtomicBool::new(false), Arc::default());
        Self { open: Mutex::default(), opening: Semaphore::new(1), declined, alive }
    }
}

impl Lanes {
    /// A part of a connection that has room. Connections fill one after the other, so that those that are needed no
    /// more become empty; of empty ones, one is kept.
    pub(super) fn room(&self) -> Option<Stream> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut has_empty = false;
        open.retain(|lane| {
            let is_empty = lane.streams.load(Relaxed) == 0;
            lane.is_usable() && !(is_empty && std::mem::replace(&mut has_empty, true))
        });
        open.iter().find(|lane| lane.has_room()).map(|lane| Stream::on(lane.clone()))
    }

    /// The same, once the replica has said of the latest connection how many requests it wants on it.
    pub(super) async fn room_at_last(&self) -> Option<Stream> {
        let latest = self.open.lock().unwrap_or_else(PoisonError::into_inner).last().cloned()?;
        // What comes before an answer has come, too: it wants as many as it was thought to want at first.
        if latest.answers.load(Relaxed) > 0 {
            return None;
        }
        let mut has_said = latest.has_said.clone();
        // One that says nothing in time gets no more on it, and another connection is tried.
        let _ = timeout(FIRST_WORD, has_said.wait_for(|has_said| *has_said)).await;
        self.room()
    }

    /// A further connection, where there may be one.
    pub(super) fn one_more(&self) -> Option<Alive> {
        (self.alive.load(Relaxed) < LANES_MAX).then(|| self.counted())
    }

    /// A connection that has to be.
    pub(super) fn counted(&self) -> Alive {
        Alive::new(&self.alive)
    }

    /// Waits until nobody else opens a connection, where that is worthwhile.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        match self.declined.load(Relaxed) {
            true => None,
            false => self.opening.acquire().await.ok(),
        }
    }

    /// The replica has chosen HTTP/1.1: each request needs a connection of its own.
    pub(super) fn declined(&self) {
        self.declined.store(true, Relaxed);
    }

    /// Lets others use that connection, too.
    pub(super) fn share(&self, stream: &Stream) {
        self.declined.store(false, Relaxed);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(stream.lane.clone());
    }

    /// Gives all of them up; what is on them ends as it would.
    pub(super) fn clear(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Lane {
    fn is_usable(&self) -> bool {
        !self.retired.load(Relaxed) && !self.sender.is_closed()
    }

    fn has_room(&self) -> bool {
        self.streams.load(Relaxed) < self.most.load(Relaxed).min(STREAMS)
    }
}

/// Begins HTTP/2 on a connection, for a first request.
pub(super) async fn begin<T>(io: T, scheme: Scheme, alive: Option<Alive>) -> Result<Stream, hyper::Error>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(AT_FIRST)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_send_buf_size(SEND_BUFFER);
    let ((said, has_said), (used, unused)) = (watch::channel(false), oneshot::channel());
    let (wire, greeting) = Wire::new(io, unused, alive);
    let (sender, mut connection) = builder.handshake(wire).await?;
    let most = Arc::new(AtomicUsize::new(AT_FIRST));
    let heard = most.clone();
    tokio::spawn(async move {
        let mut greeting = Some(greeting);
        let driven = std::future::poll_fn(|context| {
            // What the replica says first wakes nobody else who could look at it.
            greeting.take_if(|greeting| Pin::new(greeting).poll(context).is_ready());
            let polled = Pin::new(&mut connection).poll(context);
            if polled.is_pending() {
                hear(connection.current_max_send_streams(), &heard, &said);
            }
            polled
        });
        if let Err(error) = driven.await {
            tracing::debug!(%error, "a connection to a replica ended early");
        }
    });
    let (streams, answers, retired) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
    Ok(Stream::on(Arc::new(Lane { sender, scheme, streams, most, answers, retired, has_said, _used: used })))
}

/// As long as the replica has said nothing, the number is the one with which the connection began.
fn hear(number: usize, most: &AtomicUsize, said: &watch::Sender<bool>) {
    most.store(number, Relaxed);
    said.send_if_modified(|said| number != AT_FIRST && !std::mem::replace(said, true));
}

impl Stream {
    fn on(lane: Arc<Lane>) -> Self {
        lane.streams.fetch_add(1, Relaxed);
        Self { seen: lane.answers.load(Relaxed), lane, answered: false, tape: None }
    }

    /// Sends a request, which is that of HTTP/1.1, and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, SendFailure> {
        let (parts, body) = in_http2(request, &self.lane.scheme).into_parts();
        // With its head all of it has left, perhaps in the moment in which the other end said that it closes.
        let may_be_read = body.is_end_stream() && !parts.method.is_safe();
        let (tape, body) = Tape::of(body);
        let sent = self.lane.sender.clone().try_send_request(Request::from_parts(parts, body)).await;
        match sent {
            Ok(mut response) => {
                tape.stop();
                self.tape = Some(tape);
                self.answered = true;
                self.lane.answers.fetch_add(1, Relaxed);
                // That of the caller's connection is another.
                *response.version_mut() = Version::HTTP_11;
                Ok(response)
            }
            Err(mut error) => {
                let never_left = error.take_message().is_some();
                let refused = Refused::of(error.error());
                if never_left || refused == Refused::WithAll {
                    self.lane.retired.store(true, Relaxed);
                }
                let unread = match refused {
                    _ if never_left => true,
                    Refused::Not => false,
                    Refused::Alone => true,
                    Refused::WithAll => !may_be_read,
                };
                let unsent = if unread { tape.rewound() } else { None };
                let here = refused != Refused::Alone;
                Err(SendFailure { unsent, here, error: error.into_error() })
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Nobody waits any longer, and nobody else was answered meanwhile: the other end may be gone without a word.
        if !self.answered && self.lane.answers.load(Relaxed) == self.seen {
            self.lane.retired.store(true, Relaxed);
        }
        self.lane.streams.fetch_sub(1, Relaxed);
    }
}

/// Whether the other end says that it has not looked at a request (RFC 9113, 8.7).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    Not,
    /// That one.
    Alone,
    /// All further ones on the connection, which it closes.
    WithAll,
}

impl Refused {
    fn of(error: &hyper::Error) -> Self {
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
        match source {
            Some(error) if error.is_go_away() && error.is_remote() => Self::WithAll,
            Some(error) if error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM) => Self::Alone,
            _ => Self::Not,
        }
    }
}

/// The same request as HTTP/2 says it: the host is a part of its target, and no header is the connection's own.
fn in_http2(mut request: Request<Body>, scheme: &Scheme) -> Request<Body> {
    let host = take_host(request.headers_mut());
    let mut target = std::mem::take(request.uri_mut()).into_parts();
    target.scheme = Some(scheme.clone());
    target.authority = host;
    if let Ok(target) = Uri::from_parts(target) {
        *request.uri_mut() = target;
    }
    *request.version_mut() = Version::HTTP_2;
    request
}

fn take_host(headers: &mut HeaderMap) -> Option<Authority> {
    headers.remove(header::CONNECTION);
    headers.remove(header::UPGRADE);
    Authority::try_from(headers.remove(header::HOST)?.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::time::sleep;

    use super::*;
    use crate::endpoint::wire::FAREWELL;

    #[tokio::test(start_paused = true)]
    async fn a_connection_counts_until_it_has_ended() {
        let lanes = Lanes::default();
        // It takes the first bytes, and nothing after them.
        let (near, _far) = tokio::io::duplex(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len());
        let stream = begin(TokioIo::new(near), Scheme::HTTP, lanes.one_more()).await.unwrap();
        lanes.share(&stream);
        let others: Vec<_> = (1..LANES_MAX).map(|_| lanes.one_more().unwrap()).collect();
        // Nobody was answered on it: it takes no more requests.
        drop(stream);
        assert!(lanes.room().is_none() && lanes.one_more().is_none());
        sleep(FAREWELL / 2).await;
        assert!(lanes.one_more().is_none());
        sleep(FAREWELL).await;
        assert!(lanes.one_more().is_some());
        drop(others);
        assert_eq!(lanes.alive.load(Relaxed), 0);
    }
}
