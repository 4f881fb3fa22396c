//! What a deployer tells the router: one immutable snapshot of all services.

use std::{collections::HashMap, sync::Arc};

use crate::{
    contract::Contract,
    name::{ServiceId, VersionId},
    service::{Canary, Engine, ReplicaAddress, Settings},
    shadow::Shadow,
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
    /// The version that gets copies of requests, where there is one.
    pub shadow: Option<Shadow>,
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

    /// Whether a router that follows `self` need not be told of `other`. Settings and contracts are compared by their
    /// `Arc`, by which the router tells them apart, too.
    pub fn is_same(&self, other: &Self) -> bool {
        // Whole, so that no field is forgotten.
        let Self { id, live, versions, canary, shadow, reason, settings } = self;
        *id == other.id
            && *live == other.live
            && *canary == other.canary
            && *shadow == other.shadow
            && *reason == other.reason
            && Arc::ptr_eq(settings, &other.settings)
            && versions.len() == other.versions.len()
            && versions.iter().zip(&other.versions).all(|(a, b)| a.is_same(b))
    }
}

impl VersionRoute {
    fn is_same(&self, other: &Self) -> bool {
        let Self { version, made_at, engine, contract, replicas } = self;
        let same_contract = match (contract, &other.contract) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        *version == other.version
            && *made_at == other.made_at
            && *engine == other.engine
            && *replicas == other.replicas
            && same_contract
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> ServiceRoute {
        let version = VersionRoute {
            version: VersionId::first(),
            made_at: 7,
            engine: Engine::Onnx,
            contract: Some(Arc::default()),
            replicas: vec![ReplicaAddress {
                name: "iris-1-x".into(),
                address: "10.0.0.7:8080".parse().unwrap(),
                tls_name: None,
            }],
        };
        ServiceRoute {
            id: "iris".parse().unwrap(),
            live: Some(VersionId::first()),
            versions: vec![version],
            canary: None,
            shadow: None,
            reason: None,
            settings: Arc::default(),
        }
    }

    #[test]
    fn a_route_is_the_same_as_its_clone() {
        let before = route();
        assert!(before.is_same(&before.clone()));
    }

    #[test]
    fn each_change_makes_another_route() {
        let changes: [fn(&mut ServiceRoute); 15] = [
            |route| route.id = "other".parse().unwrap(),
            |route| route.live = None,
            |route| route.versions.clear(),
            |route| route.versions.push(route.versions[0].clone()),
            |route| route.canary = Some(Canary { version: VersionId::first(), weight: 1 }),
            |route| route.shadow = Some(Shadow { version: VersionId::first(), percent: None, tolerance: None }),
            |route| route.reason = Some("it waits".into()),
            |route| route.settings = Arc::default(),
            |route| route.versions[0].version = "2".parse().unwrap(),
            |route| route.versions[0].made_at += 1,
            |route| route.versions[0].engine = Engine::Python,
            |route| route.versions[0].contract = None,
            |route| route.versions[0].contract = Some(Arc::default()),
            |route| route.versions[0].replicas.clear(),
            |route| route.versions[0].replicas[0].tls_name = Some("iris.models.svc".into()),
        ];
        let before = route();
        for (at, change) in changes.into_iter().enumerate() {
            let mut after = before.clone();
            change(&mut after);
            assert!(!before.is_same(&after), "change {at}");
        }
    }
}
