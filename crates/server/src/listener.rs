//! Where a replica listens: connections are answered until it is told to stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{extract::Request, response::Response};
use http::{HeaderValue, header};
use kea_http::Tls;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::status::Status;

/// How long requests under way may take once the replica is told to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// The replica's HTTP server, on a task of its own.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    status: Arc<Status>,
    stopping: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Answers what arrives at `address` by `handler`; within TLS where that is given.
    ///
    /// # Errors
    /// The address cannot be had.
    pub(crate) async fn start<H, F>(
        address: SocketAddr,
        tls: Option<Arc<Tls>>,
        status: Arc<Status>,
        handler: H,
    ) -> io::Result<Self>
    where
        H: Fn(Request) -> F + Clone + Send + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let answer = {
            let status = status.clone();
            move |request| answer(request, handler.clone(), status.clone())
        };
        let (stopping, stopped) = watch::channel(false);
        tracing::info!(%address, tls = tls.is_some(), "listening");
        let task = tokio::spawn(async move {
            match tls {
                None => kea_http::serve(listener, answer, signalled(stopped), DRAIN).await,
                Some(tls) => serve_tls(listener, &tls, answer, signalled(stopped)).await,
            }
        });
        Ok(Self { address, status, stopping, task })
    }

    /// Says that the replica is about to end, and still answers whoever has not heard of it for `linger`; then accepts no
    /// more, and waits for what is under way.
    pub(crate) async fn stop(self, linger: Duration) {
        self.status.stop();
        sleep(linger).await;
        self.stopping.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the listener broke off");
        }
    }
}

/// Serves with the certificates that there are at each new connection.
async fn serve_tls<H, F>(listener: TcpListener, tls: &Tls, handler: H, stop: impl Future<Output = ()>)
where
    H: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let served = CancellationToken::new();
    let serving = async {
        kea_http::serve_tls(listener, || tls.config(), handler, stop, DRAIN).await;
        served.cancel();
    };
    tokio::join!(serving, tls.follow(&served));
}

async fn answer<H, F>(request: Request, handler: H, status: Arc<Status>) -> Response
where
    H: FnOnce(Request) -> F,
    F: Future<Output = Response>,
{
    let mut response = kea_http::rim(request, handler).await;
    // A connection that is kept would be closed at the end in whatever moment, maybe that of the next request on it.
    if status.is_stopping() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn signalled(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone is a stop too.
    let _ = stopped.wait_for(|stop| *stop).await;
}
