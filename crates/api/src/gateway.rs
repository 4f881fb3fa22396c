//! What the management API asks of the Request Router.

use std::net::SocketAddr;

use async_trait::async_trait;
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use kea_auth::Caller;
use kea_core::{ServiceId, VersionId, shadow::ShadowCounts};
use kea_http::ApiError;

/// The Request Router, as the management API sees it.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Answers a call of a service's function. It authenticates, validates and forwards by itself.
    async fn handle(&self, service: &str, function: &str, request: Request<Body>, peer: SocketAddr) -> Response<Body>;

    /// The cached answer of that key, where there is one that `caller` may see.
    /// It is 304 where these headers of a request say that the caller has it.
    async fn cached(&self, caller: &Caller, key: &str, headers: &HeaderMap) -> Option<Response<Body>>;

    /// Removes the answers of a service, or of one of its functions, from the cache.
    ///
    /// # Errors
    /// No such service or function; the answers cannot be reached.
    async fn clear_cache(&self, service: &str, function: Option<&str>) -> Result<(), ApiError>;

    /// Removes the answer of that key from the cache, if there is one.
    ///
    /// # Errors
    /// It is no key; the answers cannot be reached.
    async fn clear_cached(&self, key: &str) -> Result<(), ApiError>;

    /// Names of the replicas of a service that take requests at this moment.
    fn active_replicas(&self, id: &ServiceId) -> Vec<String>;

    /// What became of the copies of requests that a version of a service was to get in shadow.
    fn shadowed(&self, id: &ServiceId, version: &VersionId) -> ShadowCounts;

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
