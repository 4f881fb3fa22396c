//! The port at which a router tells the operator what it has counted. No Service publishes it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::Args;
use kea_operator::Trials;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::listen;

/// How long the operator's questions may take once the router stops.
const DRAIN: Duration = Duration::from_secs(1);

/// Where the operator asks, and what it shows.
#[derive(Debug, Args)]
pub(crate) struct PeersArgs {
    /// Address and port at which the operator asks what new versions answered
    #[arg(long, env = "KEA_PEERS_LISTEN", default_value = "0.0.0.0:8082", value_name = "ADDRESS")]
    peers_listen: SocketAddr,
    /// Token that the operator shows there; from the Secret `kea-peers` [default: that port is closed]
    #[arg(long, env = "KEA_PEERS_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    peers_token: Option<String>,
}

/// The open port.
pub(crate) struct Peers {
    listener: TcpListener,
    token: Arc<str>,
}

impl PeersArgs {
    /// Opens the port, where there is a token.
    pub(crate) async fn open(&self) -> anyhow::Result<Option<Peers>> {
        let Some(token) = self.peers_token.as_deref().filter(|token| !token.is_empty()) else {
            tracing::warn!(
                "without `--peers-token` new versions cannot take over step by step: nobody hears what is counted"
            );
            return Ok(None);
        };
        Ok(Some(Peers { listener: listen(self.peers_listen).await?, token: token.into() }))
    }
}

/// Answers the operator until `stopping` is cancelled.
pub(crate) async fn serve(peers: Option<Peers>, trials: Arc<Trials>, stopping: CancellationToken) {
    let Some(Peers { listener, token }) = peers else { return };
    let handler = move |request| {
        let (trials, token) = (trials.clone(), token.clone());
        kea_http::rim(request, move |request| std::future::ready(trials.answer(&token, &request)))
    };
    kea_http::serve(listener, handler, stopping.cancelled_owned(), DRAIN).await;
}
