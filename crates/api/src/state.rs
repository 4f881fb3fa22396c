//! What the handlers need, wired by the binary.

use std::sync::{Arc, atomic::AtomicBool};

use kea_audit::Trail;
use kea_auth::{Authenticator, Sso, policy::Policies};
use kea_core::port::Deployer;
use kea_logs::ServiceLogs;
use tokio_util::sync::CancellationToken;

use crate::Gateway;

/// Writes all metrics in Prometheus' text format.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the handlers need. A clone is cheap.
#[derive(Clone)]
pub struct ApiState {
    /// The Service Deployer.
    pub deployer: Arc<dyn Deployer>,
    /// The Authenticator.
    pub auth: Arc<Authenticator>,
    /// Providers that people may log in by.
    pub sso: Arc<Sso>,
    /// What callers may do.
    pub policies: Arc<Policies>,
    /// The Logger.
    pub logs: Arc<dyn ServiceLogs>,
    /// The Request Router.
    pub gateway: Arc<dyn Gateway>,
    /// Whether `/readyz` answers 200.
    pub ready: Arc<AtomicBool>,
    /// Cancelled when the server begins to stop: answers without an end then end.
    pub stopping: CancellationToken,
    /// What `/metrics` answers.
    pub metrics: Metrics,
    /// The audit half of the Logger.
    pub audit: Arc<Trail>,
}
