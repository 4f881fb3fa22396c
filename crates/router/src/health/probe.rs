//! Probes: asking replicas how they are, and names where they lead, beside the path of requests.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderValue, Method, Request, Uri, header};
use kea_core::service::Engine;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    clock,
    endpoint::Endpoint,
    health::{HealthRule, grpc},
    table::{Table, VersionEntry},
};

/// How often it is looked whose turn it is.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Probes under way at once; others wait.
const AT_ONCE: usize = 64;

/// Most probes a second: of thousands of replicas each is asked more seldom.
const A_SECOND: u64 = 200;

/// Asks what is due of `table`. Each probe is a task of its own, so that one that hangs delays none.
pub(crate) fn tend(table: &Table, places: &Arc<Semaphore>) {
    let now = clock::now();
    let versions = || table.services.values().flat_map(|service| &service.versions);
    let replicas: usize = versions().map(|version| version.pool.len()).sum();
    let pace = replicas as u64 * (1_000_000_000 / A_SECOND);
    for version in versions() {
        for endpoint in version.pool.endpoints() {
            if endpoint.target.claim_lookup(now) {
                let endpoint = endpoint.clone();
                tokio::spawn(async move { endpoint.look_up().await });
            }
            if endpoint.condition.claim_probe(now, version.pool.health(), pace) {
                let (endpoint, rule, places) = (endpoint.clone(), version.pool.health().clone(), places.clone());
                let path = path(version, &endpoint, &rule);
                tokio::spawn(async move {
                    let Ok(_place) = places.acquire().await else { return };
                    let healthy = timeout(rule.timeout, ask(&endpoint, path)).await.unwrap_or(false);
                    endpoint.condition.probed(healthy, clock::now(), &rule);
                });
            }
        }
    }
}

/// As many places as there may be probes at once.
pub(crate) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE))
}

/// What is asked for: of a model server of our own that it is ready; of others that they take a connection, where
/// nothing else is said.
fn path(version: &VersionEntry, endpoint: &Endpoint, rule: &HealthRule) -> Option<Arc<str>> {
    let own = version.engine != Engine::External && !endpoint.target.is_external();
    rule.path.clone().or_else(|| own.then(|| "/readyz".into()))
}

async fn ask(endpoint: &Endpoint, path: Option<Arc<str>>) -> bool {
    let Ok(mut link) = endpoint.connect_alone().await else { return false };
    let Some(path) = path else { return true };
    let Ok(uri) = path.parse::<Uri>() else { return false };
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri;
    request.headers_mut().insert(header::HOST, endpoint.host.clone());
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    if !grpc::is_check(&path) {
        return link.send(request).await.is_ok_and(|response| response.status().is_success());
    }
    grpc::ask(&mut request);
    match link.send(request).await {
        Ok(answer) => grpc::serves(answer).await,
        Err(_) => false,
    }
}
