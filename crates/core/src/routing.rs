//! What a deployer tells the router: one immutable snapshot of all services.

use std::{collections::HashMap, sync::Arc};

use crate::{
    contract::Contract,
    name::{ServiceId, VersionId},
    service::{Canary, Engine, ReplicaAddress, Settings},
};

/// All services, as the router sees them. Services that have not changed are the same `Arc` as before.
#[derive(Clone, Debug, Default)]
pub struct RoutingSnapshot {
    /// Each service by its name.
    pub services: HashMap<ServiceId, Arc<ServiceRoute>>,
}

/// One service, as the router sees it.
#[derive(Clone, Debug)]
pub struct ServiceRoute {
    /// Its name.
    pub id: ServiceId,
    /// The version that answers where a request names none; `None` until one is ready.
    pub live: Option<VersionId>,
    /// Versions with replicas that may take requests.
    pub versions: Vec<VersionRoute>,
    /// The version that takes a share of the requests, where it may.
    pub canary: Option<Canary>,
    /// Why there is no live version, for the caller.
    pub reason: Option<String>,
    /// Settings of the service.
    pub settings: Arc<Settings>,
}

/// One version of a service, as the router sees it.
#[derive(Clone, Debug)]
pub struct VersionRoute {
    /// Its name.
    pub version: VersionId,
    /// Tells this version from another of the same name, after a service was deleted and deployed again: when it was
    /// made, in microseconds since 1970.
    pub made_at: i64,
    /// What runs it.
    pub engine: Engine,
    /// What it offers; `None` until a replica has told.
    pub contract: Option<Arc<Contract>>,
    /// Replicas that take requests now.
    pub replicas: Vec<ReplicaAddress>,
}

impl ServiceRoute {
    /// The version called `name`, or the live one.
    pub fn version(&self, name: Option<&str>) -> Option<&VersionRoute> {
        let wanted = name.or_else(|| self.live.as_ref().map(VersionId::as_str))?;
        self.versions.iter().find(|route| route.version.as_str() == wanted)
    }
}
