//! Beside an existing web service in a container of its own: tells how it is as any replica does, and passes on all other
//! requests.
//!
//! The service sees a request as it does behind the router of one machine: its own path, its own address as the host.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, Method, StatusCode, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kea_core::{contract::WebProtocol, replica::LINGER_PATH};
use kea_http::{ApiError, REQUEST_ID, RequestId, trailers, upgrade};

use crate::{
    config::ServerConfig, control::Event, listener::Listener, run::ServerError, status::Reporter, status::Status,
    watch::WebService,
};

/// How often a service that has not answered yet is told of: it may take its time, and its own container says when it
/// has taken too long. To end in its place would only add a pause to its start.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// How long a connection may take: the service is in the same pod, or near.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Longest silence of the service on a connection that has changed its protocol, as a WebSocket. The router is as patient.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// How long a connection is kept: shorter than web servers do (2 s and more), which would otherwise close it in the
/// moment of a request.
const KEEP: Duration = Duration::from_secs(1);

/// Bytes of an answer in HTTP/2 that are read ahead, and of all of them: those whose callers do not read must not stop
/// the others.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A web service beside which it runs.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: Authority,
    pub(crate) protocol: WebProtocol,
}

/// Answers for the web service until `stop` resolves.
///
/// # Errors
/// The address to listen on cannot be had.
pub(crate) async fn run(
    config: &ServerConfig,
    upstream: Upstream,
    stop: impl Future<Output = ()>,
    reporter: &mut Reporter,
) -> Result<(), ServerError> {
    let Upstream { address, protocol } = upstream.clone();
    let service = WebService { name: "the web service", address: address.to_string(), protocol, source: None };
    let forwarder = Arc::new(Forwarder::new(upstream, reporter.status().clone(), config.linger));
    let answer = move |request| forwarder.clone().answer(request);
    let refused = |error| ServerError::Listen { address: config.listen, error };
    let listener = Listener::start(config.listen, config.tls.clone(), reporter.status().clone(), answer);
    let listener = listener.await.map_err(refused)?;
    reporter.tell(&Event::Listening { address: listener.address }).await;
    // It is watched to the very end: what is still accepted is still passed on.
    tokio::select! {
        never = watch(&service, reporter) => match never {},
        () = async { stop.await; listener.stop(config.linger).await } => Ok(()),
    }
}

async fn watch(service: &WebService, reporter: &mut Reporter) -> std::convert::Infallible {
    while let Err(error) = service.first_answer(TELL_EVERY).await {
        let reason = format!("{} at {} has not answered yet: {error}", service.name, service.address);
        tracing::info!(reason, "not ready");
        reporter.tell(&Event::Unready { reason }).await;
    }
    tracing::info!(address = service.address, "the web service answers");
    service.watch(reporter).await
}

/// Passes requests on to the web service.
struct Forwarder {
    upstream: Upstream,
    host: HeaderValue,
    status: Arc<Status>,
    linger: Duration,
    client: Client<HttpConnector, Body>,
}

impl Forwarder {
    fn new(upstream: Upstream, status: Arc<Status>, linger: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(KEEP);
        client.http2_only(upstream.protocol == WebProtocol::Http2);
        client.http2_initial_stream_window_size(STREAM_WINDOW).http2_initial_connection_window_size(CONNECTION_WINDOW);
        let host = HeaderValue::from_str(upstream.address.as_str()).expect("an authority is a header value");
        Self { upstream, host, status, linger, client: client.build(connector) }
    }

    async fn answer(self: Arc<Self>, request: Request) -> Response {
        if request.uri().path() == LINGER_PATH {
            tokio::time::sleep(self.linger).await;
            return StatusCode::NO_CONTENT.into_response();
        }
        let own = self.status.answer(request.uri().path());
        let answered = match own {
            Some(answer) => answer,
            None => self.forward(request).await,
        };
        answered.unwrap_or_else(IntoResponse::into_response)
    }

    /// Bodies are streamed in both directions. There is no time limit: the router has one, and gives up by closing its
    /// connection, which ends the request here too.
    async fn forward(&self, mut request: Request) -> Result<Response, ApiError> {
        self.status.serving()?;
        let caller = request.extensions_mut().remove::<OnUpgrade>();
        let is_asked = upgrade::asked(request.headers()).is_some();
        let answered = self.client.request(self.outgoing(request)?).await;
        let mut answered = answered.map_err(|error| self.unreachable(&error))?;
        let protocol = upgrade::asked(answered.headers());
        kea_http::drop_hop_by_hop(answered.headers_mut());
        if answered.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(caller), Some(protocol), true) = (caller, protocol, is_asked) else { return Err(self.changed()) };
            tokio::spawn(upgrade::tunnel(caller, hyper::upgrade::on(&mut answered), SILENCE_MAX));
            upgrade::ask(answered.headers_mut(), protocol);
        }
        let (mut parts, body) = answered.into_parts();
        // That of this connection, not of the one behind.
        parts.version = Version::HTTP_11;
        Ok(Response::from_parts(parts, Body::new(body)))
    }

    fn outgoing(&self, request: Request) -> Result<Request, ApiError> {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::CONNECT {
            let detail = "tunnels are not passed on: ask the web service itself";
            return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", detail));
        }
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri =
            Uri::builder().scheme(Scheme::HTTP).authority(self.upstream.address.clone()).path_and_query(path).build();
        parts.uri = uri.map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "bad-path", error.to_string()))?;
        parts.version = Version::HTTP_11;
        let (protocol, takes_trailers) = (upgrade::asked(&parts.headers), trailers::asked(&parts.headers));
        kea_http::drop_hop_by_hop(&mut parts.headers);
        match protocol {
            Some(protocol) => upgrade::ask(&mut parts.headers, protocol),
            None if takes_trailers => trailers::ask(&mut parts.headers),
            None => {}
        }
        // The body says its length itself, where it has one.
        parts.headers.remove(header::CONTENT_LENGTH);
        if self.upstream.protocol == WebProtocol::Http2 {
            // The target says the host, and there is one connection for all.
            parts.headers.remove(header::HOST);
            parts.headers.remove(header::CONNECTION);
        } else {
            parts.headers.insert(header::HOST, self.host.clone());
        }
        if let Some(id) = parts.extensions.get::<RequestId>() {
            parts.headers.insert(REQUEST_ID, id.header_value());
        }
        Ok(Request::from_parts(parts, body))
    }

    fn changed(&self) -> ApiError {
        let address = &self.upstream.address;
        let detail = format!("the web service at {address} changed to a protocol that was not asked for");
        ApiError::new(StatusCode::BAD_GATEWAY, "unreachable", detail)
    }

    fn unreachable(&self, error: &hyper_util::client::legacy::Error) -> ApiError {
        let what = if error.is_connect() { "cannot be reached" } else { "broke off" };
        let detail = format!("the web service at {} {what}: {}", self.upstream.address, root_cause(error));
        ApiError::new(StatusCode::BAD_GATEWAY, "unreachable", detail)
    }
}

/// The innermost reason: those around it say only where it happened.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use futures_util::StreamExt;
    use http_body_util::BodyExt;
    use hyper_util::rt::TokioIo;
    use kea_core::{Contract, Engine};
    use tokio::{
        io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
        net::TcpStream,
    };

    use super::*;

    /// A web service that answers each request with its head as it saw it, and then with the request's own body.
    async fn echo() -> Listener {
        let answer = |request: Request| async move {
            let (parts, body) = request.into_parts();
            let headers = parts.headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap()));
            let mut headers: Vec<_> = headers.collect();
            headers.sort();
            let mut response = Response::new(body);
            response.headers_mut().insert("x-head", format!("{} {}", parts.method, parts.uri).parse().unwrap());
            response.headers_mut().insert("x-headers", headers.join(" ").parse().unwrap());
            response.headers_mut().insert("keep-alive", HeaderValue::from_static("timeout=5"));
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response
        };
        let status = Arc::new(Status::new("echo".parse().unwrap(), "1".parse().unwrap(), Engine::External));
        Listener::start(([127, 0, 0, 1], 0).into(), None, status, answer).await.unwrap()
    }

    fn upstream(address: SocketAddr, protocol: WebProtocol) -> Upstream {
        Upstream { address: address.to_string().parse().unwrap(), protocol }
    }

    /// A sidecar of what is at `address`.
    fn beside(address: SocketAddr, ready: bool) -> Arc<Forwarder> {
        let status = Status::new("app".parse().unwrap(), "1".parse().unwrap(), Engine::External);
        if ready {
            status.note(&Event::Ready { contract: Arc::new(Contract::default()) });
        }
        Arc::new(Forwarder::new(upstream(address, WebProtocol::Http1), Arc::new(status), Duration::ZERO))
    }

    fn request(method: &str, path: &str, body: Body) -> Request {
        let builder = Request::builder().method(method).uri(path).header("host", "elsewhere").header("x-mine", "1");
        builder.header("connection", "close, x-hop").header("x-hop", "2").body(body).unwrap()
    }

    #[tokio::test]
    async fn a_request_reaches_the_service_as_it_was_sent() {
        let echo = echo().await;
        let sidecar = beside(echo.address, true);
        let response = sidecar.answer(request("PATCH", "/a/b%20c?q=1&q=2", Body::from("abc"))).await;
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-head"), "PATCH /a/b%20c?q=1&q=2");
        assert_eq!(header("x-headers"), format!("content-length=3 host={} x-mine=1", echo.address));
        assert!(!response.headers().contains_key("keep-alive"));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abc");
    }

    #[tokio::test]
    async fn a_connection_that_changes_its_protocol_is_passed_on() {
        let answer = |mut request: Request| async move {
            let changed = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(TokioIo::new(changed.await.unwrap()));
                tokio::io::copy(&mut read, &mut write).await
            });
            let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
            upgrade::ask(response.headers_mut(), request.headers()[header::UPGRADE].clone());
            response
        };
        let status = Arc::new(Status::new("echo".parse().unwrap(), "1".parse().unwrap(), Engine::External));
        let echo = Listener::start(([127, 0, 0, 1], 0).into(), None, status.clone(), answer).await.unwrap();
        let forwarder = beside(echo.address, true);
        let forward = move |request| forwarder.clone().answer(request);
        let sidecar = Listener::start(([127, 0, 0, 1], 0).into(), None, status, forward).await.unwrap();

        let mut caller = BufStream::new(TcpStream::connect(sidecar.address).await.unwrap());
        let asked = b"GET / HTTP/1.1\r\nhost: app\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
        caller.write_all(asked).await.unwrap();
        caller.flush().await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(caller.read_line(&mut head).await.unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 101") && head.contains("upgrade: websocket"), "{head}");
        for word in ["ping", "pong"] {
            caller.write_all(word.as_bytes()).await.unwrap();
            caller.flush().await.unwrap();
            let mut heard = [0; 4];
            caller.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, word.as_bytes());
        }
    }

    #[tokio::test]
    async fn trailers_go_both_ways_in_either_protocol() {
        let answer = |request: Request| async move {
            let version = format!("{:?}", request.version());
            let te = request.headers().get(header::TE).cloned();
            let mut response = Response::new(request.into_body());
            response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("checksum"));
            response.headers_mut().insert("x-version", version.parse().unwrap());
            response.headers_mut().extend(te.map(|te| (http::HeaderName::from_static("x-te"), te)));
            response
        };
        let status = Arc::new(Status::new("echo".parse().unwrap(), "1".parse().unwrap(), Engine::External));
        let echo = Listener::start(([127, 0, 0, 1], 0).into(), None, status.clone(), answer).await.unwrap();
        status.note(&Event::Ready { contract: Arc::new(Contract::default()) });
        for (protocol, version) in [(WebProtocol::Http1, "HTTP/1.1"), (WebProtocol::Http2, "HTTP/2.0")] {
            let forwarder = Forwarder::new(upstream(echo.address, protocol), status.clone(), Duration::ZERO);
            let sent = http::HeaderMap::from_iter([(
                http::HeaderName::from_static("checksum"),
                HeaderValue::from_static("7"),
            )]);
            let parts = futures_util::stream::iter([Ok::<_, std::convert::Infallible>("abc")]);
            let body = Body::from_stream(parts).with_trailers(std::future::ready(Some(Ok(sent.clone()))));
            let request = Request::post("/x").header("trailer", "checksum").header("te", "trailers");
            let answered = Arc::new(forwarder).answer(request.body(Body::new(body)).unwrap()).await;
            assert_eq!(answered.headers()["x-version"], version);
            assert_eq!(answered.headers()["x-te"], "trailers");
            assert_eq!(answered.headers()["trailer"], "checksum");
            let whole = answered.into_body().collect().await.unwrap();
            assert_eq!(whole.trailers(), Some(&sent), "{version}");
            assert_eq!(whole.to_bytes(), "abc");
        }
    }

    #[tokio::test]
    async fn a_body_is_passed_on_part_by_part_in_both_directions() {
        let echo = echo().await;
        let (send, receive) = async_channel::unbounded();
        let body = Body::from_stream(receive.map(Ok::<&'static str, std::convert::Infallible>));
        let response = beside(echo.address, true).answer(request("POST", "/", body)).await;
        let mut answer = response.into_body();
        for part in ["one", "two"] {
            send.send(part).await.unwrap();
            assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), part);
        }
        drop(send);
        assert!(answer.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_service_that_is_gone_is_a_bad_gateway_and_one_that_never_came_is_not_ready() {
        let echo = echo().await;
        let address = echo.address;
        echo.stop(Duration::ZERO).await;
        let get = || request("GET", "/", Body::empty());
        assert_eq!(beside(address, true).answer(get()).await.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(beside(address, false).answer(get()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn the_paths_of_a_replica_are_its_own() {
        let echo = echo().await;
        let sidecar = beside(echo.address, true);
        for path in ["/healthz", "/readyz", kea_core::replica::REPORT_PATH] {
            assert_eq!(sidecar.clone().answer(request("GET", path, Body::empty())).await.status(), StatusCode::OK);
        }
        let lingered = sidecar.clone().answer(request("GET", LINGER_PATH, Body::empty())).await;
        assert_eq!(lingered.status(), StatusCode::NO_CONTENT);
        let tunnel = Request::builder().method("CONNECT").uri("elsewhere:1").body(Body::empty()).unwrap();
        assert_eq!(sidecar.answer(tunnel).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
