//! What each test begins with: a cluster with a registry, operators that can be killed, and what is asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue};
use kea_operator::{Client, ClusterSettings, Operator};
use kube::Config;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::{
    mock::{
        controllers,
        faults::{Asked, EVENTS, LEASES},
        http::ApiServer,
        objects::{Key, Part},
    },
    peers::{Registry, Replicas},
};

pub(crate) const NAMESPACE: &str = "team";
pub(crate) const MODELS: &str = "ml.kea-project.io/mlmodels";
pub(crate) const SERVICES: &str = "ml.kea-project.io/mldeployments";
pub(crate) const DEPLOYMENTS: &str = "apps/deployments";

/// Replicas of each service.
pub(crate) const REPLICAS: u64 = 2;

/// Longest wait for anything: machines of tests are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that there is, without what differs from run to run.
pub(crate) type Outcome = BTreeMap<Key, Value>;

/// How often is looked whether something has come.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A cluster for one test.
pub(crate) struct Scene {
    pub(crate) server: Arc<ApiServer>,
    registry: Arc<Registry>,
    replicas: Arc<Replicas>,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(Arc::new(Registry::start().await), Arc::default()).await
    }

    /// A cluster of its own with the same images and replicas.
    pub(crate) async fn another(&self) -> Self {
        Self::with(self.registry.clone(), self.replicas.clone()).await
    }

    async fn with(registry: Arc<Registry>, replicas: Arc<Replicas>) -> Self {
        let server = ApiServer::start().await;
        controllers::run(server.clone(), replicas.clone());
        Self { server, registry, replicas }
    }

    /// Starts an operator in a runtime of its own, so that nothing of it is left when it is killed.
    pub(crate) fn operator(&self, identity: &str) -> Running {
        self.operator_with(identity, settings())
    }

    /// The same with other settings.
    pub(crate) fn operator_with(&self, identity: &str, settings: ClusterSettings) -> Running {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (stop, identity) = (CancellationToken::new(), identity.to_owned());
        let (stopped, config) = (stop.clone(), self.config(&identity));
        let task = runtime.spawn(async move {
            let client = Client::try_from(config).expect("a client without TLS can be made");
            let operator = Operator::new(client, settings, Default::default(), identity);
            // As a pod is started again.
            while let Err(error) = Box::pin(operator.run(None, &stopped)).await {
                eprintln!("the operator ends: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Running { runtime: Some(runtime), task: Some(task), stop }
    }

    /// A client that `identity` is known by.
    pub(crate) fn client(&self, identity: &str) -> Client {
        Client::try_from(self.config(identity)).expect("a client without TLS can be made")
    }

    fn config(&self, identity: &str) -> Config {
        let mut config = Config::new(self.server.uri());
        let header = HeaderValue::from_str(identity).expect("tests choose plain names");
        config.headers.push((HeaderName::from_static("x-client"), header));
        config
    }

    /// From its first replica on, a version has that function in place of `predict`.
    pub(crate) fn replicas_have(&self, version: &'static str, function: &'static str) {
        self.replicas.have(version, function);
    }

    /// Asks for a service.
    pub(crate) fn deploy(&self, name: &str) {
        self.model(name, "1");
        let spec = json!({"replicas": REPLICAS});
        self.server.objects.create(&service(name), resource("MLDeployment", &spec)).unwrap();
    }

    /// Makes the image of `tag` the model of a service.
    pub(crate) fn model(&self, name: &str, tag: &str) {
        let object = resource("MLModel", &json!({"image": self.registry.image(name, tag)}));
        self.server.objects.apply(&Key::new(MODELS, NAMESPACE, name), Part::Whole, "somebody", &object).unwrap();
    }

    pub(crate) fn get(&self, resource: &str, name: &str) -> Option<Value> {
        self.server.objects.get(&Key::new(resource, NAMESPACE, name))
    }

    /// What the operator says of a service.
    pub(crate) fn status(&self, name: &str) -> Value {
        self.get(SERVICES, name).map_or(Value::Null, |service| service["status"].clone())
    }

    /// Whether a version is live, and nothing is left to do, neither for the operator nor for Kubernetes' own controllers.
    pub(crate) fn runs(&self, name: &str, version: &str) -> bool {
        let status = self.status(name);
        let history = status["liveHistory"].as_array().cloned().unwrap_or_default();
        let has = |version: &Value, replicas: u64| {
            let deployment = self.get(DEPLOYMENTS, &format!("{name}-{}", version.as_str().unwrap_or_default()));
            deployment.is_some_and(|it| it["spec"]["replicas"] == replicas && it["status"]["replicas"] == replicas)
        };
        status["state"] == "deployed"
            && status["liveVersion"] == version
            && history.iter().all(|known| has(known, if known == version { REPLICAS } else { 0 }))
            && self.get("secrets", "kea-admin").is_some()
    }

    /// Waits until a version is live, and nothing is left to do.
    pub(crate) async fn until_runs(&self, name: &str, version: &str) {
        self.until(&format!("version {version} of {name} runs"), || self.runs(name, version)).await;
    }

    /// Waits for something; says what there is if it does not come.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        assert!(becomes(is_so).await, "not in {PATIENCE:?}: {what}\n{:#?}", self.told());
    }

    /// Waits until what there is is what there was in the end of another run, or before.
    pub(crate) async fn until_same(&self, other: &Outcome) {
        let is_same = becomes(|| self.outcome() == *other).await;
        assert!(is_same, "not in {PATIENCE:?}: {:#?}", difference(&self.outcome(), other));
    }

    /// The statuses of all services.
    fn told(&self) -> BTreeMap<String, String> {
        let services = self.server.objects.list(SERVICES).0.into_iter();
        services.map(|(key, service)| (key.name, format!("{:#}", service["status"]))).collect()
    }

    /// Deletes the Lease of an operator that was killed, for which another one would wait.
    pub(crate) fn drop_lease(&self) {
        // One that was killed at once has none.
        let _ = self.server.objects.delete(&lease());
    }

    /// The writes that matter, in their order.
    pub(crate) fn work(&self) -> Vec<Asked> {
        let mut asked = self.server.asked();
        asked.retain(Asked::is_work);
        asked
    }

    /// Everything but what differs from run to run.
    pub(crate) fn outcome(&self) -> Outcome {
        let mut all = self.server.objects.all();
        let is_by_chance = |key: &Key| matches!(&*key.resource, EVENTS | LEASES);
        all.retain(|key, _| !is_by_chance(key));
        for (key, object) in &mut all {
            if key.resource == "secrets" {
                // Passwords are made by chance.
                object["data"] = object["data"].as_object().map(|data| data.keys().cloned().collect::<Vec<_>>()).into();
            }
            if key.resource == "pods" {
                object["metadata"]["uid"].take();
            }
            forget_times(object);
        }
        all
    }

    /// Changes a service in a way that asks for nothing, so that the operator looks at it now.
    pub(crate) fn touch(&self, name: &str) {
        let noted = json!({"metadata": {"labels": {"noted": "true"}}});
        self.server.objects.merge(&service(name), Part::Whole, &noted).unwrap();
    }
}

/// Looks until something is so; says whether it was in time.
async fn becomes(is_so: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > PATIENCE {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    true
}

/// The objects that two outcomes do not share, as they are in each.
fn difference(a: &Outcome, b: &Outcome) -> Vec<(Key, Option<Value>, Option<Value>)> {
    let keys: BTreeSet<&Key> = a.keys().chain(b.keys()).collect();
    let differ = keys.into_iter().filter(|key| a.get(key) != b.get(key));
    differ.map(|key| (key.clone(), a.get(key).cloned(), b.get(key).cloned())).collect()
}

/// Removes times and counts of changes.
fn forget_times(value: &mut Value) {
    const FIELDS: [&str; 5] =
        ["creationTimestamp", "generation", "lastTransitionTime", "observedGeneration", "resourceVersion"];
    match value {
        Value::Object(fields) => {
            fields.retain(|field, _| !FIELDS.contains(&field.as_str()));
            fields.values_mut().for_each(forget_times);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

/// The MLDeployment of that name.
pub(crate) fn service(name: &str) -> Key {
    Key::new(SERVICES, NAMESPACE, name)
}

/// The Lease of the operators.
pub(crate) fn lease() -> Key {
    Key::new(LEASES, NAMESPACE, "kea-operator")
}

fn resource(kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": "ml.kea-project.io/v1alpha1", "kind": kind, "spec": spec})
}

pub(crate) fn settings() -> ClusterSettings {
    ClusterSettings {
        namespace: NAMESPACE.into(),
        all_namespaces: true,
        image: "registry.example/kea:1".into(),
        builder_image: "registry.example/python:3.11".into(),
        registry: None,
        url: None,
        replica_mtls: false,
        body_limit: 1 << 20,
    }
}

/// An operator that runs.
pub(crate) struct Running {
    runtime: Option<Runtime>,
    task: Option<tokio::task::JoinHandle<()>>,
    stop: CancellationToken,
}

impl Running {
    /// Ends it as a node that loses its power does.
    pub(crate) fn kill(self) {}

    /// Lets it end by itself.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.task.take().expect("it is stopped once").await.expect("it does not panic");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runtime.take().expect("it has one until here").shutdown_background();
    }
}
