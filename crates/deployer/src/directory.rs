//! What the service loops publish: the details that the API shows, and the snapshot that the router follows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use kea_core::{
    Contract, ServiceId, VersionId,
    management::ServiceDetails,
    port::RouteFollower,
    routing::{RoutingSnapshot, ServiceRoute},
};
use tokio::sync::watch;

/// The published state of all services.
pub(crate) struct Directory {
    /// Held for a look-up or a change alone, never across an await.
    services: RwLock<BTreeMap<ServiceId, Published>>,
    /// Held while the router takes a snapshot, so that it gets them in their order.
    snapshot: Mutex<RoutingSnapshot>,
    router: Arc<dyn RouteFollower>,
    /// Counts publications, for whoever waits for one.
    published: watch::Sender<u64>,
}

/// What is published of one service.
struct Published {
    details: Arc<ServiceDetails>,
    contract: Option<Arc<Contract>>,
}

impl Directory {
    pub(crate) fn new(router: Arc<dyn RouteFollower>) -> Self {
        Self { services: RwLock::default(), snapshot: Mutex::default(), router, published: watch::channel(0).0 }
    }

    /// Changes whenever anything is published.
    pub(crate) fn publications(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Publishes a service's state, with the contract that is known of its [`answering`] version. Routes that are the same as
    /// before stay the same `Arc`.
    ///
    /// The router has the route before anybody sees the details: who reads `deployed` is answered.
    pub(crate) fn publish(&self, details: ServiceDetails, contract: Option<Arc<Contract>>, route: Arc<ServiceRoute>) {
        let id = details.service_id.clone();
        self.route(|services| {
            let same = services.get(&id).is_some_and(|before| Arc::ptr_eq(before, &route));
            if !same {
                services.insert(id.clone(), route);
            }
            !same
        });
        let published = Published { details: Arc::new(details), contract };
        self.services.write().unwrap_or_else(PoisonError::into_inner).insert(id, published);
        self.published.send_modify(|count| *count += 1);
    }

    /// Forgets a service.
    pub(crate) fn forget(&self, id: &ServiceId) {
        self.route(|services| services.remove(id).is_some());
        self.services.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Changes the routes, and gives them to the router where `change` says that they are others now.
    fn route(&self, change: impl FnOnce(&mut HashMap<ServiceId, Arc<ServiceRoute>>) -> bool) {
        let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        if change(&mut snapshot.services) {
            self.router.follow(&snapshot);
        }
    }

    pub(crate) fn get(&self, id: &ServiceId) -> Option<ServiceDetails> {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        services.get(id).map(|service| ServiceDetails::clone(&service.details))
    }

    /// The version by which a service answers, and its contract where that is known.
    pub(crate) fn contract(&self, id: &ServiceId) -> Option<(VersionId, Option<Arc<Contract>>)> {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        services.get(id).map(|service| (answering(&service.details).clone(), service.contract.clone()))
    }

    pub(crate) fn list(&self) -> Vec<ServiceDetails> {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        services.values().map(|service| ServiceDetails::clone(&service.details)).collect()
    }
}

/// The version that is meant where none is named: the live one, or the wanted one where none is live.
pub(crate) fn answering(details: &ServiceDetails) -> &VersionId {
    details.live_version.as_ref().unwrap_or(&details.version)
}
