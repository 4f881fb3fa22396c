//! Web services, the servers behind them, and callers who stream.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kea_core::{
    Contract, Engine, Settings,
    contract::WebProtocol,
    routing::{ServiceRoute, VersionRoute},
    service::ReplicaAddress,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::harness::{BASE, Gateway};

/// The web service `app` with replicas at these addresses.
pub(crate) fn app(protocol: WebProtocol, replicas: &[SocketAddr], settings: serde_json::Value) -> ServiceRoute {
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let replica = |(at, address): (usize, &SocketAddr)| ReplicaAddress {
        name: format!("app-1-{at}").into(),
        address: *address,
        tls_name: None,
    };
    ServiceRoute {
        id: "app".parse().unwrap(),
        live: Some("1".parse().unwrap()),
        versions: vec![VersionRoute {
            version: "1".parse().unwrap(),
            made_at: 7,
            engine: Engine::External,
            contract: Some(Arc::new(Contract { protocol, ..Contract::default() })),
            replicas: replicas.iter().enumerate().map(replica).collect(),
        }],
        canary: None,
        shadow: None,
        reason: None,
        settings: Arc::new(settings),
    }
}

/// What a server does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Does {
    /// Sends back what it gets, part by part, with its trailers.
    Echo,
    /// Answers, and then sends more than anybody reads.
    Flood,
    /// Begins an answer, and reads what is sent as long as it comes.
    Listen,
    /// Begins an answer, and hangs up.
    BreakOff,
    /// Says that its answer has more bytes than it sends.
    Shorten,
    /// Sends trailers that are larger than any need.
    Bloat,
    /// Says nothing.
    Hang,
    /// Hangs up without an answer.
    Kill,
    /// Says that it has not looked at it.
    Refuse,
}

/// A server of HTTP/2 without TLS.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    cuts: AtomicUsize,
}

impl Server {
    /// One that does so with each request, counted from 1.
    pub(crate) async fn that(does: impl Fn(usize) -> Does + Send + Sync + Copy + 'static) -> Self {
        Self::start(0, None, does).await
    }

    /// One that takes no more requests than that on a connection.
    pub(crate) async fn wanting(most: u32, does: impl Fn(usize) -> Does + Send + Sync + Copy + 'static) -> Self {
        Self::start(0, Some(most), does).await
    }

    /// One that closes its first connections as soon as there is a request on them, of which it reads nothing.
    pub(crate) async fn after(farewells: usize, does: impl Fn(usize) -> Does + Send + Sync + Copy + 'static) -> Self {
        Self::start(farewells, None, does).await
    }

    async fn start(
        farewells: usize,
        most: Option<u32>,
        does: impl Fn(usize) -> Does + Send + Sync + Copy + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let state = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = state.clone();
                let is_farewell = seen.connections.fetch_add(1, Ordering::SeqCst) < farewells;
                tokio::spawn(async move {
                    if is_farewell { farewell(stream).await } else { serve(stream, most, does, &seen).await }
                });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Requests that ended before their bodies did.
    pub(crate) fn cuts(&self) -> usize {
        self.seen.cuts.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, most: Option<u32>, does: impl Fn(usize) -> Does, seen: &Arc<Seen>) {
    let mut builder = h2::server::Builder::new();
    if let Some(most) = most {
        builder.max_concurrent_streams(most);
    }
    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
    let mut hung = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        match does(seen.requests.fetch_add(1, Ordering::SeqCst) + 1) {
            Does::Echo => drop(tokio::spawn(echo(request, respond))),
            Does::Flood => drop(tokio::spawn(flood(respond))),
            Does::Listen => drop(tokio::spawn(listen(request, respond, seen.clone()))),
            Does::BreakOff => {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from("part"), false).unwrap();
                // What was begun leaves before the connection ends.
                let _ = tokio::time::timeout(std::time::Duration::from_millis(100), connection.accept()).await;
                return;
            }
            Does::Shorten => {
                let head = Response::builder().header("content-length", "100").body(()).unwrap();
                let mut body = respond.send_response(head, false).unwrap();
                body.send_data(Bytes::from("part"), true).unwrap();
            }
            Does::Bloat => {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                let large = http::HeaderValue::from_str(&"x".repeat(1 << 20)).unwrap();
                let name = http::HeaderName::from_static("x-large");
                body.send_trailers(HeaderMap::from_iter([(name, large)])).unwrap();
            }
            Does::Hang => hung.push(respond),
            Does::Kill => return,
            Does::Refuse => respond.send_reset(h2::Reason::REFUSED_STREAM),
        }
    }
}

/// Tells of the request's head in the answer's, and sends the body back.
async fn echo(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let (head, mut body) = request.into_parts();
    let mut response = Response::builder().header("x-target", head.uri.to_string()).header("trailer", "checksum");
    for (name, value) in &head.headers {
        response = response.header(format!("x-sent-{name}"), value);
    }
    let mut answer = respond.send_response(response.body(()).unwrap(), false).unwrap();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        answer.send_data(data, false).unwrap();
    }
    match body.trailers().await {
        Ok(trailers) => answer.send_trailers(trailers.unwrap_or_default()).unwrap(),
        Err(_) => answer.send_reset(h2::Reason::CANCEL),
    }
}

/// Begins an answer, and reads on.
async fn listen(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>, seen: Arc<Seen>) {
    let _answer = respond.send_response(Response::new(()), false).unwrap();
    let mut body = request.into_body();
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => body.flow_control().release_capacity(data.len()).unwrap(),
            Err(error) => {
                assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
                seen.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }
}

async fn flood(mut respond: h2::server::SendResponse<Bytes>) {
    let mut answer = respond.send_response(Response::new(()), false).unwrap();
    answer.reserve_capacity(usize::MAX >> 33);
    while let Some(Ok(room)) = std::future::poll_fn(|context| answer.poll_capacity(context)).await {
        if answer.send_data(Bytes::from(vec![b'x'; room]), false).is_err() {
            return;
        }
        answer.reserve_capacity(usize::MAX >> 33);
    }
}

/// Waits for the head of a request, and says that it has not looked at it and will look at no other.
async fn farewell(mut stream: TcpStream) {
    const HEADERS: u8 = 1;
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    stream.write_all(SETTINGS).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == HEADERS {
            break;
        }
    }
    // Some of the body has come, too.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    stream.write_all(GOAWAY).await.unwrap();
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

/// A request of `app` in HTTP/2.
pub(crate) fn request(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::post(format!("{BASE}/app/{path}")).version(Version::HTTP_2);
    request = request.header("authorization", format!("Bearer {}", gateway.ada));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

/// A body of these parts, with these trailers.
pub(crate) fn streamed(parts: &[&'static str], trailers: HeaderMap) -> Body {
    let parts = parts.iter().map(|part| Frame::data(Bytes::from(*part)));
    let frames: Vec<_> = parts.chain([Frame::trailers(trailers)]).map(Ok::<_, std::convert::Infallible>).collect();
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

/// The text of a body, and its trailers.
pub(crate) async fn whole(response: Response<Body>) -> (String, HeaderMap) {
    let all = response.into_body().collect().await.unwrap();
    let trailers = all.trailers().cloned().unwrap_or_default();
    (String::from_utf8(all.to_bytes().to_vec()).unwrap(), trailers)
}
