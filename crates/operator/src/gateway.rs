//! What one router of a cluster is made of, beside the router itself.

use std::sync::Arc;

use kea_core::port::RouteFollower;
use kea_http::replica_tls::ReplicaTls;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    deployer::ClusterDeployer,
    mutual_tls,
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
    replica_tls: Option<Arc<ReplicaTls>>,
}

impl ClusterGateway {
    /// A gateway that tells `router` where requests go, and `trials` which of them are to be counted, once it runs.
    pub fn new(client: Client, settings: ClusterSettings, router: Arc<dyn RouteFollower>, trials: Arc<Trials>) -> Self {
        Self { client, view: Arc::new(ClusterView::new(settings, router, trials)), replica_tls: None }
    }

    /// The same, which keeps `tls` as the operator says that replicas are reached.
    #[must_use]
    pub fn with_replica_tls(self, tls: Arc<ReplicaTls>) -> Self {
        Self { replica_tls: Some(tls), ..self }
    }

    /// Watches until `stop` is cancelled. Returns once the router has its whole table.
    pub async fn start(&self, stop: &CancellationToken) {
        if let Some(tls) = &self.replica_tls {
            mutual_tls::follow(&self.client, &self.view.settings.namespace, tls.clone(), stop).await;
        }
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
