//! What one router of a cluster is made of, beside the router itself.

use std::sync::Arc;

use kea_core::port::RouteFollower;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    deployer::ClusterDeployer,
    pod_logs::PodLogs,
    settings::ClusterSettings,
    trials::Trials,
    view::ClusterView,
    watch::{Caches, Listener},
};

/// Follows a cluster for one router and its API.
pub struct ClusterGateway {
    client: Client,
    view: Arc<ClusterView>,
}

impl ClusterGateway {
    /// A gateway that tells `router` where requests go, and `trials` which of them are to be counted, once it runs.
    pub fn new(client: Client, settings: ClusterSettings, router: Arc<dyn RouteFollower>, trials: Arc<Trials>) -> Self {
        Self { client, view: Arc::new(ClusterView::new(settings, router, trials)) }
    }

    /// Watches until `stop` is cancelled. Returns once the router has its whole table.
    pub async fn start(&self, stop: &CancellationToken) {
        let view = self.view.clone();
        let listener: Listener = Arc::new(move |change| view.note(&change));
        let caches = Caches::start(&self.client, &self.view.settings, None, &listener, stop).await;
        self.view.complete(caches);
    }

    /// Whether the router has its whole table.
    pub fn is_complete(&self) -> bool {
        self.view.is_complete()
    }

    /// The Service Deployer of the API.
    pub fn deployer(&self) -> ClusterDeployer {
        ClusterDeployer::new(self.client.clone(), self.view.clone())
    }

    /// The Logger of the API.
    pub fn logs(&self) -> PodLogs {
        PodLogs::new(self.client.clone(), self.view.clone())
    }
}
