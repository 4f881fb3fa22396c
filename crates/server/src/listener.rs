//! Where a replica listens: connections are answered until it is told to stop.

use std::{io, net::SocketAddr, time::Duration};

use axum::{extract::Request, response::Response};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// How long requests under way may take once the replica is told to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// The replica's HTTP server, on a task of its own.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    stopping: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Answers what arrives at `address` by `handler`.
    ///
    /// # Errors
    /// The address cannot be had.
    pub(crate) async fn start<H, F>(address: SocketAddr, handler: H) -> io::Result<Self>
    where
        H: Fn(Request) -> F + Clone + Send + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let answer = move |request| kea_http::rim(request, handler.clone());
        let (stopping, stopped) = watch::channel(false);
        let task = tokio::spawn(kea_http::serve(listener, answer, signalled(stopped), DRAIN));
        tracing::info!(%address, "listening");
        Ok(Self { address, stopping, task })
    }

    /// Accepts no more, and waits for what is under way.
    pub(crate) async fn stop(self) {
        self.stopping.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the listener broke off");
        }
    }
}

async fn signalled(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone is a stop too.
    let _ = stopped.wait_for(|stop| *stop).await;
}
