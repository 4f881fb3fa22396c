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
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// Longest time that a caller may take to send a request's head: a slow one must not hold a connection for ever.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// Longest time that a caller may take to agree on keys, for the same reason.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

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

/// The same over TLS, as `tls` says.
pub async fn serve_tls<H, F>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    handler: H,
    stop: impl Future<Output = ()>,
    drain: Duration,
) where
    H: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(tls);
    let connect = move |stream, peer, watcher| {
        let (acceptor, handler) = (acceptor.clone(), handler.clone());
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
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
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

    #[tokio::test]
    async fn what_is_no_http_is_refused() {
        assert!(ask("nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    }
}
