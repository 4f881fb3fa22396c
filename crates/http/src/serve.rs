//! Serving connections until told to stop, then letting those under way finish.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{extract::Request, response::Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::Secure;

/// Longest time that a caller may take to send a request's head: a slow one must not hold a connection for ever.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// Longest time that a caller may take to agree on keys, for the same reason.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Longest time that a caller may take to read on: one that stops would hold its answer, and the replica's, for ever.
const READS_WITHIN: Duration = Duration::from_secs(30);

/// Largest head of a request in HTTP/1.1, and what is read ahead of its body: above it the answer is 431.
const HEAD_BYTES: usize = 128 * 1024;

/// Largest head of a request in HTTP/2, as its headers are counted there.
const HEADER_LIST_BYTES: u32 = 64 * 1024;

/// Requests under way on one connection of HTTP/2; further ones wait with the caller.
const STREAMS: u32 = 256;

/// Bytes of a body, and of all bodies of a connection, that a caller of HTTP/2 may send ahead of being asked: enough
/// that one body fills a fast network, and bounded for each connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// When a silent connection of HTTP/2 is asked whether it is still there, and how long it may take to say so: nothing
/// else ends one whose caller is gone.
const PING_AFTER: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// Pause after the system refused a connection (too many open files): others are closed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The address of the connection's other end; a request extension.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddress(pub SocketAddr);

/// Answers each request of `listener` by `handler` until `stop` resolves; then accepts no more, and waits for requests
/// under way, at most `drain`.
pub async fn serve<H, F>(listener: TcpListener, handler: H, stop: impl Future<Output = ()>, drain: Duration)
where
    H: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let connect = move |stream, peer, watcher| connection(stream, peer, handler.clone(), watcher);
    accept(listener, connect, stop, drain).await;
}

/// The same over TLS, as `tls` says at each new connection.
pub async fn serve_tls<T, H, F>(
    listener: TcpListener,
    tls: T,
    handler: H,
    stop: impl Future<Output = ()>,
    drain: Duration,
) where
    T: Fn() -> Arc<ServerConfig>,
    H: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let connect = move |stream, peer, watcher| {
        let (acceptor, handler) = (TlsAcceptor::from(tls()), handler.clone());
        let handler = move |mut request: Request| {
            request.extensions_mut().insert(Secure);
            handler(request)
        };
        async move {
            match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => connection(stream, peer, handler, watcher).await,
                Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS was agreed upon"),
                Err(_elapsed) => tracing::debug!(%peer, "no TLS was agreed upon in time"),
            }
        }
    };
    accept(listener, connect, stop, drain).await;
}

/// Hands each connection to `connect`, in a task of its own.
async fn accept<C, F>(listener: TcpListener, connect: C, stop: impl Future<Output = ()>, drain: Duration)
where
    C: Fn(TcpStream, SocketAddr, Watcher) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Answers are small and whole: waiting to fill a packet only delays them.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "no TCP_NODELAY");
                    }
                    tokio::spawn(connect(stream, peer, graceful.watcher()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = &mut stop => break,
        }
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(seconds = drain.as_secs(), "requests were still under way when the time to drain was over");
    }
}

/// Answers the requests of one connection.
async fn connection<S, H, F>(stream: S, peer: SocketAddr, handler: H, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(PeerAddress(peer));
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(READS_WITHIN));
    let stream = TokioIo::new(Box::pin(stream));
    let connection = protocols().serve_connection_with_upgrades(stream, service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}

/// HTTP/1.1 and HTTP/2, whichever the caller speaks, within limits.
fn protocols() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN).max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_WITHIN);
    builder
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http::{HeaderValue, StatusCode, header};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{ApiError, rim};

    /// Sends `request` to a server that answers everything with 404, and gives what comes back before it closes.
    async fn ask(request: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let refuse = |request| {
            rim(request, |_| async {
                let mut response = ApiError::new(StatusCode::NOT_FOUND, "no-path", "nothing here").into_response();
                // As a framework's router does with an empty body.
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
                response
            })
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, refuse, async { drop(stopped.await) }, Duration::from_secs(1)));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        stop.send(()).unwrap();
        server.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn an_error_reaches_the_caller_whole() {
        let answer = ask("GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found"), "{answer}");
        assert!(answer.contains("nothing here"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_does_not_read_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (dropped, cut_off) = tokio::sync::mpsc::channel::<()>(1);
        let endless = move |_| {
            let kept = dropped.clone();
            let chunks = futures_util::stream::repeat_with(move || {
                let _kept = &kept;
                Ok::<_, Infallible>(bytes::Bytes::from_static(&[0; 65536]))
            });
            std::future::ready(Response::new(axum::body::Body::from_stream(chunks)))
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, endless, async { drop(stopped.await) }, Duration::from_secs(1)));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        stop.send(()).unwrap();
        server.await.unwrap();
        // The handler is gone with the server, the body with the connection.
        let mut cut_off = cut_off;
        assert!(cut_off.recv().await.is_none());
    }

    /// How many answers come on one connection, and with which statuses.
    fn statuses(answers: &str) -> Vec<&str> {
        answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
    }

    const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

    #[tokio::test]
    async fn nothing_follows_a_request_with_two_lengths() {
        for lengths in
            ["content-length: 5\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 5"]
        {
            let answer = ask(&format!("POST /x HTTP/1.1\r\nhost: x\r\n{lengths}\r\n\r\n0\r\n\r\n{SMUGGLED}")).await;
            assert_eq!(statuses(&answer), ["404"], "{answer}");
        }
    }

    #[tokio::test]
    async fn a_length_that_can_be_read_in_two_ways_is_refused() {
        for lengths in [
            "content-length: 5\r\ncontent-length: 6",
            "content-length: +5",
            "content-length: 5,6",
            "transfer-encoding: chunked, identity",
            "transfer-encoding: xchunked",
            "transfer-encoding : chunked",
            "content-length: 5\r\n transfer-encoding: chunked",
        ] {
            let answer = ask(&format!("POST /x HTTP/1.1\r\nhost: x\r\n{lengths}\r\n\r\n0\r\n\r\n{SMUGGLED}")).await;
            assert_eq!(statuses(&answer), ["400"], "{lengths}: {answer}");
        }
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let value = "x".repeat(HEAD_BYTES);
        let answer = ask(&format!("GET /x HTTP/1.1\r\nhost: x\r\nx-large: {value}\r\n\r\n")).await;
        assert_eq!(statuses(&answer), ["431"], "{answer}");
        let many = "x-many: x\r\n".repeat(200);
        let answer = ask(&format!("GET /x HTTP/1.1\r\nhost: x\r\n{many}\r\n")).await;
        assert_eq!(statuses(&answer), ["431"], "{answer}");
    }

    #[tokio::test]
    async fn what_is_no_http_is_refused() {
        assert!(ask("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    }
}
