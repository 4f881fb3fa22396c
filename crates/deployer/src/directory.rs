//! What the service loops publish: the details that the API shows, and the snapshot that the router follows.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use kea_core::{
    ServiceId,
    management::ServiceDetails,
    routing::{RoutingSnapshot, ServiceRoute},
};
use tokio::sync::watch;

/// The published state of all services.
pub(crate) struct Directory {
    /// Held for a look-up or a change alone, never across an await.
    details: RwLock<BTreeMap<ServiceId, Arc<ServiceDetails>>>,
    snapshot: watch::Sender<Arc<RoutingSnapshot>>,
    /// Counts publications, for whoever waits for one.
    published: watch::Sender<u64>,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self { details: RwLock::default(), snapshot: watch::channel(Arc::default()).0, published: watch::channel(0).0 }
    }

    /// The snapshots, as they change.
    pub(crate) fn follow(&self) -> watch::Receiver<Arc<RoutingSnapshot>> {
        self.snapshot.subscribe()
    }

    /// Changes whenever anything is published.
    pub(crate) fn publications(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Publishes a service's state. Routes that are the same as before stay the same `Arc`.
    pub(crate) fn publish(&self, details: ServiceDetails, route: Arc<ServiceRoute>) {
        let id = details.service_id.clone();
        self.details.write().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Arc::new(details));
        self.snapshot.send_if_modified(|snapshot| {
            let same = snapshot.services.get(&id).is_some_and(|before| Arc::ptr_eq(before, &route));
            if !same {
                Arc::make_mut(snapshot).services.insert(id, route);
            }
            !same
        });
        self.published.send_modify(|count| *count += 1);
    }

    /// Forgets a service.
    pub(crate) fn forget(&self, id: &ServiceId) {
        self.details.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.snapshot.send_if_modified(|snapshot| Arc::make_mut(snapshot).services.remove(id).is_some());
    }

    pub(crate) fn get(&self, id: &ServiceId) -> Option<ServiceDetails> {
        let details = self.details.read().unwrap_or_else(PoisonError::into_inner);
        details.get(id).map(|details| ServiceDetails::clone(details))
    }

    pub(crate) fn list(&self) -> Vec<ServiceDetails> {
        let details = self.details.read().unwrap_or_else(PoisonError::into_inner);
        details.values().map(|details| ServiceDetails::clone(details)).collect()
    }
}
