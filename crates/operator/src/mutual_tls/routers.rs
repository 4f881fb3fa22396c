//! What routers show to replicas, and believe of them: as the operator's Secret says, and again whenever it changes.

use std::sync::Arc;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kea_http::replica_tls::{ReplicaIdentity, ReplicaTls};
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{CA, CERTIFICATE, GATEWAY_SECRET, KEY};
use crate::watch::watch;

/// Follows the Secret until `stop` is cancelled. Returns once it was looked for, whether it is there or not: without
/// mutual TLS there is none.
pub(crate) async fn follow(client: &Client, namespace: &str, tls: Arc<ReplicaTls>, stop: &CancellationToken) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={GATEWAY_SECRET}"));
    let (looked, seen) = oneshot::channel();
    let stop = stop.clone();
    tokio::spawn(async move {
        let mut looked = Some(looked);
        let mut events = std::pin::pin!(watch(secrets, config).default_backoff().take_until(stop.cancelled_owned()));
        while let Some(event) = events.next().await {
            let is_first = !matches!(event, Ok(watcher::Event::Init | watcher::Event::InitApply(_)));
            take(event, &tls);
            if is_first {
                looked.take().map(|looked: oneshot::Sender<()>| looked.send(()));
            }
        }
    });
    // One that is dropped is a stop.
    let _ = seen.await;
}

fn take(event: watcher::Result<watcher::Event<Secret>>, tls: &ReplicaTls) {
    match event {
        Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret)) => put(&secret, tls),
        // Without it replicas are reached as before: those that speak TLS are there for a while longer.
        Ok(watcher::Event::Delete(_) | watcher::Event::Init | watcher::Event::InitDone) => {}
        Err(error) => tracing::warn!("Secret `{GATEWAY_SECRET}` cannot be watched; it is tried again: {error}"),
    }
}

fn put(secret: &Secret, tls: &ReplicaTls) {
    if secret.name_any() != GATEWAY_SECRET {
        return;
    }
    let part = |name: &str| secret.data.as_ref()?.get(name).map(|part| part.0.clone());
    let (Some(ca), Some(certificate), Some(key)) = (part(CA), part(CERTIFICATE), part(KEY)) else {
        return tracing::error!("Secret `{GATEWAY_SECRET}` lacks `{CA}`, `{CERTIFICATE}` or `{KEY}`: delete it");
    };
    match tls.put(&ReplicaIdentity { ca, certificate, key }) {
        Ok(()) => tracing::info!("took the certificate for replicas"),
        Err(error) => tracing::error!(%error, "Secret `{GATEWAY_SECRET}` cannot be used; delete it"),
    }
}
