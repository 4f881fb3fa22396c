//! What the management API asks of the Request Router.

use std::net::SocketAddr;

use async_trait::async_trait;
use axum::body::Body;
use http::{Request, Response};
use kea_auth::Caller;
use kea_core::{ServiceId, VersionId};
use kea_http::ApiError;

/// The Request Router, as the management API sees it.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Answers a call of a service's function. It authenticates, validates and forwards by itself.
    async fn handle(&self, service: &str, function: &str, request: Request<Body>, peer: SocketAddr) -> Response<Body>;

    /// The cached answer of that key, where there is one that `caller` may see.
    async fn cached(&self, caller: &Caller, key: &str) -> Option<Response<Body>>;

    /// Names of the replicas of a service that take requests at this moment.
    fn active_replicas(&self, id: &ServiceId) -> Vec<String>;

    /// Checks the body of a call without calling the model, and tells whose version's schema was used.
    ///
    /// # Errors
    /// What the call itself would be answered with: no such service, version or function; a body that does not fit.
    fn validate(
        &self,
        service: &str,
        version: Option<&str>,
        function: &str,
        body: &[u8],
    ) -> Result<VersionId, ApiError>;
}
