//! The Request Router as the management API asks for it.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use axum::body::Body;
use http::{HeaderMap, Request, Response};
use kea_api::Gateway;
use kea_auth::Caller;
use kea_core::{ServiceId, VersionId, port::Traffic, shadow::ShadowCounts};
use kea_http::{ApiError, PeerAddress};
use kea_router::Router;

/// The router of this process.
pub(crate) struct RouterGateway(Arc<Router>);

impl RouterGateway {
    pub(crate) fn new(router: Arc<Router>) -> Self {
        Self(router)
    }
}

#[async_trait]
impl Gateway for RouterGateway {
    async fn handle(&self, _: &str, _: &str, mut request: Request<Body>, peer: SocketAddr) -> Response<Body> {
        request.extensions_mut().insert(PeerAddress(peer));
        self.0.handle(request).await
    }

    async fn cached(&self, caller: &Caller, key: &str, headers: &HeaderMap) -> Option<Response<Body>> {
        self.0.cached(caller, key, headers).await
    }

    async fn clear_cache(&self, service: &str, function: Option<&str>) -> Result<(), ApiError> {
        self.0.clear_cache(service, function).await
    }

    async fn clear_cached(&self, key: &str) -> Result<(), ApiError> {
        self.0.clear_cached(key).await
    }

    fn active_replicas(&self, id: &ServiceId) -> Vec<String> {
        self.0.active_replicas(id)
    }

    fn shadowed(&self, id: &ServiceId, version: &VersionId) -> ShadowCounts {
        self.0.tally(id, version).shadow.counts
    }

    fn validate(
        &self,
        service: &str,
        version: Option<&str>,
        function: &str,
        body: &[u8],
    ) -> Result<VersionId, ApiError> {
        self.0.validate(service, version, Some(function), body)
    }
}
