//! The router's own view of a snapshot: with compiled validators, connections and balancers, which are carried over from
//! the view before wherever they still hold.

use std::{collections::HashMap, sync::Arc};

use http::HeaderValue;
use kea_core::{
    VersionId,
    routing::{RoutingSnapshot, ServiceRoute, VersionRoute},
    service::Engine,
};
use kea_openapi::validate::Validator;

use crate::{balance::Balancer, endpoint::Endpoint, metrics::ServiceMetrics};

/// All services.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) services: HashMap<Arc<str>, Arc<ServiceEntry>>,
}

/// One service.
pub(crate) struct ServiceEntry {
    pub(crate) route: Arc<ServiceRoute>,
    /// The id, as answers name it.
    pub(crate) id_header: HeaderValue,
    pub(crate) versions: Vec<VersionEntry>,
    pub(crate) metrics: Arc<ServiceMetrics>,
}

/// One version of a service.
pub(crate) struct VersionEntry {
    pub(crate) version: VersionId,
    /// The version, as answers name it.
    pub(crate) version_header: HeaderValue,
    pub(crate) made_at: i64,
    pub(crate) engine: Engine,
    /// `None` where the contract is not known, or cannot be compiled.
    pub(crate) validator: Option<Arc<Validator>>,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) balancer: Arc<Balancer>,
}

impl Table {
    /// The view of `snapshot`, with what still holds of this one.
    pub(crate) fn follow(&self, snapshot: &RoutingSnapshot) -> Self {
        let named = |route: &Arc<ServiceRoute>| match self.services.get_key_value(route.id.as_str()) {
            Some((name, same)) if Arc::ptr_eq(&same.route, route) => (name.clone(), same.clone()),
            Some((name, before)) => (name.clone(), Arc::new(ServiceEntry::new(route, Some(before)))),
            None => (Arc::from(route.id.as_str()), Arc::new(ServiceEntry::new(route, None))),
        };
        Self { services: snapshot.services.values().map(named).collect() }
    }
}

impl ServiceEntry {
    fn new(route: &Arc<ServiceRoute>, before: Option<&Self>) -> Self {
        let version = |version: &VersionRoute| {
            let same = before.and_then(|entry| entry.versions.iter().find(|v| v.version == version.version));
            VersionEntry::new(version, route.settings.chosen_replicas(), same)
        };
        Self {
            versions: route.versions.iter().map(version).collect(),
            metrics: before.map_or_else(Arc::default, |entry| entry.metrics.clone()),
            id_header: header(route.id.as_str()),
            route: route.clone(),
        }
    }

    /// The version called `name`, or the live one.
    pub(crate) fn version(&self, name: Option<&str>) -> Option<&VersionEntry> {
        let wanted = name.or_else(|| self.route.live.as_ref().map(VersionId::as_str))?;
        self.versions.iter().find(|entry| entry.version.as_str() == wanted)
    }
}

impl VersionEntry {
    fn new(route: &VersionRoute, only: &[String], before: Option<&Self>) -> Self {
        let endpoint = |replica: &kea_core::service::ReplicaAddress| {
            let same = before.and_then(|entry| {
                let mut endpoints = entry.endpoints.iter();
                endpoints.find(|endpoint| endpoint.name == replica.name && endpoint.address == replica.address)
            });
            same.cloned().unwrap_or_else(|| Arc::new(Endpoint::new(replica.name.clone(), replica.address)))
        };
        let named = |replica: &&kea_core::service::ReplicaAddress| only.iter().any(|name| **name == *replica.name);
        // Named replicas that are all gone, as after an update, restrict nothing: answering is better than refusing.
        let all = !route.replicas.iter().any(|replica| named(&replica));
        let used = route.replicas.iter().filter(|replica| all || named(replica));
        Self {
            version: route.version.clone(),
            version_header: header(route.version.as_str()),
            made_at: route.made_at,
            engine: route.engine,
            validator: validator(route, before),
            endpoints: used.map(endpoint).collect(),
            balancer: before.map_or_else(Arc::default, |entry| entry.balancer.clone()),
        }
    }
}

/// Names and versions hold letters, digits, `-`, `.` and `_` alone.
fn header(name: &str) -> HeaderValue {
    HeaderValue::from_str(name).expect("a checked name is a header value")
}

fn validator(route: &VersionRoute, before: Option<&VersionEntry>) -> Option<Arc<Validator>> {
    let contract = route.contract.as_ref()?;
    let same = before.and_then(|entry| entry.validator.as_ref()).filter(|v| Arc::ptr_eq(v.contract(), contract));
    if let Some(validator) = same {
        return Some(validator.clone());
    }
    match Validator::compile(contract.clone()) {
        Ok(validator) => Some(Arc::new(validator)),
        Err(error) => {
            tracing::error!(version = %route.version, %error, "a contract cannot be compiled; its requests are refused");
            None
        }
    }
}
