//! What is seen of a cluster: caches of its objects, kept true by watching.
//!
//! While the API server cannot be reached, they stay as they were.

use std::{fmt::Debug, hash::Hash, sync::Arc};

use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v1::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::DynamicObject,
    core::{ApiResource, NamespaceResourceScope},
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store::Writer},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::{
    holders, names, pods,
    resources::{MlDeployment, MlModel},
    settings::ClusterSettings,
    version::VersionRecord,
};

/// What may have changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    /// A service: its namespace and name.
    Service(String, String),
    /// The MLModel of that namespace and name.
    Model(String, String),
    /// Anything: a watch began anew.
    All,
}

/// Told of each change, at once and in the watching task.
pub(crate) type Listener = Arc<dyn Fn(Change) + Send + Sync>;

/// The objects of a cluster that are watched.
#[derive(Clone)]
pub(crate) struct Caches {
    pub(crate) models: Store<MlModel>,
    pub(crate) deployments: Store<MlDeployment>,
    pub(crate) versions: Store<Deployment>,
    pub(crate) pods: Store<Pod>,
    pub(crate) services: Store<Service>,
    /// What only the operator looks at.
    pub(crate) made: Option<Made>,
}

/// Objects that the operator makes and nobody else reads.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) jobs: Store<Job>,
    pub(crate) accounts: Store<ServiceAccount>,
    pub(crate) policies: Store<NetworkPolicy>,
    pub(crate) autoscalers: Store<HorizontalPodAutoscaler>,
    /// PodDisruptionBudgets, whose API differs by cluster.
    pub(crate) budgets: Store<DynamicObject>,
    /// Pods of KEA's own routers.
    pub(crate) routers: Store<Pod>,
}

impl Caches {
    /// Begins to watch; returns once everything has been seen once. With the cluster's API of PodDisruptionBudgets it
    /// watches what the operator makes, too.
    pub(crate) async fn start(
        client: &Client,
        settings: &ClusterSettings,
        budgets: Option<&ApiResource>,
        listener: &Listener,
        stop: &CancellationToken,
    ) -> Self {
        let watching = Watching { client, settings, listener, stop };
        let managed = watcher::Config::default().labels(&names::managed());
        let any = watcher::Config::default();
        let caches = Self {
            models: watching.follow(any.clone(), |model: &MlModel| Some(of_model(model))),
            deployments: watching.follow(any, |deployment: &MlDeployment| Some(by_name(deployment))),
            versions: watching.follow(managed.clone(), by_label::<Deployment>),
            pods: watching.follow(managed.clone(), by_label::<Pod>),
            services: watching.follow(managed.clone(), by_label::<Service>),
            made: budgets.map(|budgets| Made {
                jobs: watching.follow(managed.clone(), by_label::<Job>),
                accounts: watching.follow(managed.clone(), by_label::<ServiceAccount>),
                policies: watching.follow(managed.clone(), by_label::<NetworkPolicy>),
                autoscalers: watching.follow(managed.clone(), by_label::<HorizontalPodAutoscaler>),
                budgets: watching.follow_dynamic(budgets, managed.clone(), by_label::<DynamicObject>),
                routers: watching.follow_routers(),
            }),
        };
        caches.complete().await;
        caches
    }

    /// Waits until every cache has been filled once. A store whose watch has ended never is, and that is at the stop.
    async fn complete(&self) {
        let _ = self.models.wait_until_ready().await;
        let _ = self.deployments.wait_until_ready().await;
        let _ = self.versions.wait_until_ready().await;
        let _ = self.pods.wait_until_ready().await;
        let _ = self.services.wait_until_ready().await;
        if let Some(made) = &self.made {
            let _ = made.jobs.wait_until_ready().await;
            let _ = made.accounts.wait_until_ready().await;
            let _ = made.policies.wait_until_ready().await;
            let _ = made.autoscalers.wait_until_ready().await;
            let _ = made.budgets.wait_until_ready().await;
            let _ = made.routers.wait_until_ready().await;
        }
    }

    /// One MLDeployment.
    pub(crate) fn deployment(&self, namespace: &str, name: &str) -> Option<Arc<MlDeployment>> {
        self.deployments.get(&ObjectRef::new(name).within(namespace))
    }

    /// Pods of KEA's own routers; only the operator looks at them.
    pub(crate) fn routers(&self) -> Vec<Arc<Pod>> {
        self.made.as_ref().map_or_else(Vec::new, |made| made.routers.state())
    }

    /// The MLModel that a deployment names.
    pub(crate) fn model_of(&self, deployment: &MlDeployment) -> Option<Arc<MlModel>> {
        self.models.get(&ObjectRef::new(model_name(deployment)).within(deployment.namespace()))
    }

    /// The MLDeployments of all namespaces that have this name, the one that holds it first: the oldest.
    pub(crate) fn holders(&self, name: &str) -> Vec<Arc<MlDeployment>> {
        let mut found = self.deployments.state_filter(|deployment| deployment.name() == name);
        found.sort_by_key(|deployment| (created(&**deployment), deployment.namespace().to_string()));
        found
    }

    /// Versions of a service, as its Deployments remember them.
    pub(crate) fn records(&self, deployment: &MlDeployment) -> Vec<VersionRecord> {
        let uid = deployment.metadata.uid.as_deref();
        let of_it = self.versions.state_filter(|version| {
            version.metadata.namespace.as_deref() == Some(deployment.namespace()) && is_owned(version, uid)
        });
        let mut records: Vec<_> = of_it.into_iter().filter_map(VersionRecord::of).collect();
        records.sort_by(|a, b| (a.created_at, &a.version).cmp(&(b.created_at, &b.version)));
        records
    }

    /// Pods of a service that serve its model, by name.
    pub(crate) fn pods_of(&self, deployment: &MlDeployment) -> Vec<Arc<Pod>> {
        let mut found = self.pods.state_filter(|pod| {
            pod.metadata.namespace.as_deref() == Some(deployment.namespace())
                && pods::service(pod) == Some(deployment.name())
                && pods::owner(pod) == deployment.metadata.uid.as_deref()
        });
        found.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        found
    }

    /// The services that a change is about: namespaces and names.
    pub(crate) fn affected(&self, change: &Change) -> Vec<(String, String)> {
        let key = |deployment: &MlDeployment| (deployment.namespace().to_string(), deployment.name().to_string());
        let those = |filter: &dyn Fn(&MlDeployment) -> bool| {
            self.deployments.state_filter(filter).iter().map(|deployment| key(deployment)).collect()
        };
        match change {
            // Who waits for a name or a route hears of it when it becomes free.
            Change::Service(namespace, name) => {
                let waits = |other: &MlDeployment| other.name() == name || other.is_refused(holders::ROUTE_TAKEN);
                let mut affected: Vec<_> =
                    those(&|other| waits(other) && (other.namespace(), other.name()) != (namespace, name));
                affected.push((namespace.clone(), name.clone()));
                affected
            }
            Change::Model(namespace, name) => {
                those(&|deployment| deployment.namespace() == namespace && model_name(deployment) == *name)
            }
            Change::All => those(&|_| true),
        }
    }
}

/// When an object was made, in seconds since 1970.
pub(crate) fn created<K: ResourceExt>(object: &K) -> i64 {
    object.creation_timestamp().map_or(i64::MAX, |time| time.0.as_second())
}

/// Whether the object of that uid is the controller of `object`.
pub(crate) fn is_owned<K: ResourceExt>(object: &K, uid: Option<&str>) -> bool {
    let mut owners = object.owner_references().iter().filter(|owner| owner.controller == Some(true));
    owners.any(|owner| Some(owner.uid.as_str()) == uid)
}

/// The name of the MLModel that a deployment names; its own where it names none.
pub(crate) fn model_name(deployment: &MlDeployment) -> &str {
    deployment.spec.get("modelName").and_then(serde_json::Value::as_str).unwrap_or_else(|| deployment.name())
}

fn of_model(model: &MlModel) -> Change {
    Change::Model(model.namespace().unwrap_or_default(), model.name_any())
}

fn by_name(deployment: &MlDeployment) -> Change {
    Change::Service(deployment.namespace().into(), deployment.name().into())
}

fn by_label<K: ResourceExt>(object: &K) -> Option<Change> {
    let service = object.labels().get(names::SERVICE)?;
    Some(Change::Service(object.namespace()?, service.clone()))
}

struct Watching<'a> {
    client: &'a Client,
    settings: &'a ClusterSettings,
    listener: &'a Listener,
    stop: &'a CancellationToken,
}

impl Watching<'_> {
    /// Follows all objects of a kind.
    fn follow<K>(&self, config: watcher::Config, change: impl Fn(&K) -> Option<Change> + Send + 'static) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let api: Api<K> = match self.settings.all_namespaces {
            true => Api::all(self.client.clone()),
            false => Api::namespaced(self.client.clone(), &self.settings.namespace),
        };
        self.keep(api, (), config, change)
    }

    /// Follows the pods of KEA's own routers, whose changes change no service.
    fn follow_routers(&self) -> Store<Pod> {
        let api = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let labels = format!("app.kubernetes.io/name=kea,{}=router", names::COMPONENT);
        self.keep(api, (), watcher::Config::default().labels(&labels), |_| None)
    }

    /// Follows all objects of a kind whose type this program does not have.
    fn follow_dynamic(
        &self,
        resource: &ApiResource,
        config: watcher::Config,
        change: impl Fn(&DynamicObject) -> Option<Change> + Send + 'static,
    ) -> Store<DynamicObject> {
        let api = match self.settings.all_namespaces {
            true => Api::all_with(self.client.clone(), resource),
            false => Api::namespaced_with(self.client.clone(), &self.settings.namespace, resource),
        };
        self.keep(api, resource.clone(), config, change)
    }

    /// Keeps a store as `api` has it.
    fn keep<K>(
        &self,
        api: Api<K>,
        kind: K::DynamicType,
        config: watcher::Config,
        change: impl Fn(&K) -> Option<Change> + Send + 'static,
    ) -> Store<K>
    where
        K: Resource<DynamicType: Eq + Hash + Clone + Send + Sync + Unpin>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let writer = Writer::new(kind.clone());
        let reader = writer.as_reader();
        let events = watch(api, config)
            .default_backoff()
            // Who owns which field is nothing that anybody here asks, and half of an object.
            .modify(|object| object.managed_fields_mut().clear())
            .reflect(writer);
        let (listener, stop) = (self.listener.clone(), self.stop.clone());
        tokio::spawn(async move {
            let mut events = std::pin::pin!(events.take_until(stop.cancelled_owned()));
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Apply(object) | watcher::Event::Delete(object)) => {
                        change(&object).into_iter().for_each(|change| listener(change));
                    }
                    // What went while nobody watched is told by no event.
                    Ok(watcher::Event::InitDone) => listener(Change::All),
                    Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                    Err(error) => {
                        tracing::warn!(kind = %K::kind(&kind), "the watch broke off and begins anew: {error}")
                    }
                }
            }
        });
        reader
    }
}

/// Watches all objects of a kind. Where the API server has forgotten the version from which it is to go on, it begins
/// anew: by itself where an event says so, but not where the request is refused with 410, which would be asked for ever.
pub(crate) fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let begin = move || watcher(api.clone(), config.clone()).boxed();
    stream::unfold((begin(), begin), |(mut events, begin)| async move {
        let event = events.next().await?;
        if is_refused_as_forgotten(&event) {
            events = begin();
        }
        Some((event, (events, begin)))
    })
}

fn is_refused_as_forgotten<K>(event: &watcher::Result<watcher::Event<K>>) -> bool {
    matches!(event, Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) if status.code == 410)
}
