//! What is asked of the store, counted.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use kea_core::{
    Function, Layout,
    port::RouteFollower,
    routing::RoutingSnapshot,
    service::{PreparedModel, Resources},
    tally::Tally,
};

use super::*;

/// Services that want no replica, and how often their versions were read.
struct Counting {
    services: Vec<Service>,
    reads: AtomicUsize,
}

impl Counting {
    fn reads(&self) -> usize {
        self.reads.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl ServiceStore for Counting {
    async fn services(&self) -> Result<Vec<Service>, StoreError> {
        Ok(self.services.clone())
    }

    async fn put_service(&self, _: &Service) -> Result<(), StoreError> {
        Ok(())
    }

    async fn delete_service(&self, _: &ServiceId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn versions(&self, id: &ServiceId) -> Result<Vec<Version>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(["1", "2"].map(|version| known(id, version)).into())
    }

    async fn put_version(&self, _: &ServiceId, _: &Version) -> Result<(), StoreError> {
        Ok(())
    }

    async fn put_service_and_version(&self, _: &Service, _: &Version) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Nobody's traffic.
struct Nowhere;

impl RouteFollower for Nowhere {
    fn follow(&self, _: &RoutingSnapshot) {}
}

impl Traffic for Nowhere {
    fn tally(&self, _: &ServiceId, _: &VersionId) -> Tally {
        Tally::default()
    }
}

/// A version with a function that is called as it is.
fn known(service: &ServiceId, id: &str) -> Version {
    let function = Function {
        name: format!("{service}_{id}"),
        description: String::new(),
        layout: Layout::Arguments,
        inputs: Vec::new(),
        outputs: Vec::new(),
        idempotent: false,
        deterministic: true,
    };
    let model = ModelSpec {
        source: Some("/nowhere/model.py".into()),
        framework: None,
        requirements: Vec::new(),
        command: Vec::new(),
        functions: Vec::new(),
        env: BTreeMap::new(),
        resources: Resources::default(),
    };
    Version {
        id: id.parse().unwrap(),
        model,
        contract: Some(Arc::new(Contract { functions: vec![function], ..Contract::default() })),
        prepared: Some(PreparedModel::default()),
        created_at: Timestamp::UNIX_EPOCH,
    }
}

async fn deployer(folder: &std::path::Path, store: Arc<Counting>) -> Arc<LocalDeployer> {
    let logs = LogBook::open(folder.join("logs"), kea_logs::Limits::default()).unwrap();
    let options = LocalOptions {
        router: Arc::new(Nowhere),
        traffic: Arc::new(Nowhere),
        store: store.clone(),
        logs: Arc::new(logs),
        folder: folder.to_owned(),
        program: "/nowhere/kea".into(),
        listen: ([127, 0, 0, 1], 8080).into(),
        url: String::new(),
        body_limit: 1,
        images: None,
    };
    let deployer = LocalDeployer::start(options).await.unwrap();
    let mut published = deployer.shared.directory.publications();
    while deployer.list().len() < store.services.len() {
        published.changed().await.unwrap();
    }
    deployer
}

#[tokio::test]
async fn contracts_of_versions_that_answer_are_known_without_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let name = |number: usize| format!("service-{number}").parse::<ServiceId>().unwrap();
    let service =
        |number| Service { replicas: 0, ..request::first(name(number), "2".parse().unwrap(), Timestamp::UNIX_EPOCH) };
    let store = Arc::new(Counting { services: (0..50).map(service).collect(), reads: AtomicUsize::new(0) });
    let deployer = deployer(folder.path(), store.clone()).await;
    assert_eq!(store.reads(), 50);
    for service in deployer.list() {
        let (version, contract) = deployer.contract(&service.service_id, None).await.unwrap();
        let expected = format!("{}_2", service.service_id);
        assert_eq!((version.as_str(), contract.unwrap().function_names()), ("2", vec![&*expected]));
    }
    assert_eq!(store.reads(), 0);
    let earlier = "1".parse().unwrap();
    let (version, contract) = deployer.contract(&name(7), Some(&earlier)).await.unwrap();
    assert_eq!((version, contract.unwrap().function_names()), (earlier, vec!["service-7_1"]));
    assert_eq!(store.reads(), 1);
    let error = deployer.contract(&name(7), Some(&"9".parse().unwrap())).await.unwrap_err();
    assert!(matches!(error, DeployError::NoSuchVersion { .. }), "{error}");
    deployer.stop().await;
}
