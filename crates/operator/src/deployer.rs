//! The Service Deployer that the API talks to in a cluster: it changes the custom resources, and reads the caches.

mod asked;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kea_containerizer::shown_source;
use kea_core::{
    Contract, ServiceId, VersionId,
    balancing::LoadBalancing,
    change,
    documents::{DeploymentDocument, ModelDocument},
    management::{DeployRequest, ServiceDetails, UpdateRequest, VersionInfo},
    own_route,
    port::{DeployError, Deployer, StoreError},
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use tokio::time::timeout;

use self::asked::{changed_deployment, check_settings, known_beside, known_version, latest, next_version};
use crate::{
    check, gate, names,
    orders::{self, Order},
    resources::{MlDeployment, MlModel},
    version::{ModelRecord, VersionRecord},
    view::{self, ClusterView},
    watch::{self, Caches},
};

/// Who owns fields that the API changes.
const FIELD_MANAGER: &str = "kea-api";

/// Tries of a change that somebody else's overtook.
const TRIES: usize = 5;

/// How long a change may take to come back by the watch.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Changes services by their resources.
pub struct ClusterDeployer {
    client: Client,
    view: Arc<ClusterView>,
}

impl ClusterDeployer {
    pub(crate) fn new(client: Client, view: Arc<ClusterView>) -> Self {
        Self { client, view }
    }

    /// A route is one service's.
    fn check_routes(&self, id: &ServiceId, asked: &UpdateRequest) -> Result<(), DeployError> {
        let Some(routes) = asked.routes.as_deref().filter(|routes| !routes.is_empty()) else { return Ok(()) };
        let services = self.list();
        let others = services.iter().map(|details| (&details.service_id, &details.settings.routes[..]));
        own_route::check_free(id, routes, others)
    }

    fn caches(&self) -> Result<&Caches, DeployError> {
        self.view.caches().ok_or_else(|| unavailable("the cluster has not been seen yet"))
    }

    fn models(&self, namespace: &str) -> Api<MlModel> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn deployments(&self, namespace: &str) -> Api<MlDeployment> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn found(&self, id: &ServiceId) -> Result<Arc<MlDeployment>, DeployError> {
        let found = self.caches()?.holders(id.as_str()).into_iter().next();
        found.ok_or_else(|| DeployError::NotFound(id.clone()))
    }

    /// The documents of a service as the API server has them now, where there is one.
    async fn current(&self, namespace: &str, name: &str) -> Result<Option<Current>, DeployError> {
        let Some(deployment) = self.deployments(namespace).get_opt(name).await.map_err(refused)? else {
            return Ok(None);
        };
        if deployment.is_leaving() {
            return Err(DeployError::Conflict(format!("service `{name}` is being removed: try again in a moment")));
        }
        let model_name = watch::model_name(&deployment).to_string();
        let model = self.models(namespace).get_opt(&model_name).await.map_err(refused)?;
        let unreadable = |why| DeployError::Conflict(format!("the documents of `{name}` cannot be read: {why}"));
        Ok(Some(Current {
            spec: deployment.document().map_err(unreadable)?,
            model_spec: model
                .as_ref()
                .map_or_else(|| Ok(ModelDocument::default()), MlModel::document)
                .map_err(unreadable)?,
            deployment,
            model,
            model_name,
        }))
    }

    /// Writes both documents of a service, the model first, so that a deployment never names one that is not there.
    async fn write(&self, namespace: &str, name: &str, documents: &Documents) -> Result<MlDeployment, Write> {
        let Documents { current, model_name, model, deployment, labels, order, allowed } = documents;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let model_spec = serde_json::to_value(model).expect("documents have a JSON text");
        let models = self.models(namespace);
        let before = match current {
            Some(current) => current.model.clone(),
            None => models.get_opt(model_name).await?,
        };
        match before {
            Some(before) if before.spec == model_spec => {}
            Some(before) => {
                drop(models.replace(model_name, &params, &MlModel { spec: model_spec, ..before }).await?);
            }
            None => {
                let metadata = metadata(namespace, model_name);
                drop(models.create(&params, &MlModel { metadata, spec: model_spec }).await?);
            }
        }
        let spec = serde_json::to_value(deployment).expect("documents have a JSON text");
        let deployments = self.deployments(namespace);
        Ok(match current.as_ref().map(|current| current.deployment.clone()) {
            Some(before) => {
                let metadata = order.note(labelled(before.metadata.clone(), labels.as_ref()));
                let metadata = gate::allow(metadata, allowed);
                if before.spec == spec && before.metadata == metadata {
                    return Ok(before);
                }
                deployments.replace(name, &params, &MlDeployment { metadata, spec, ..before }).await?
            }
            None => {
                let metadata = labelled(metadata(namespace, name), labels.as_ref());
                deployments.create(&params, &MlDeployment { metadata, spec, status: None }).await?
            }
        })
    }

    /// Changes a service's documents, again where somebody else was quicker, and waits until the change is seen.
    async fn change(
        &self,
        namespace: &str,
        name: &str,
        change: impl Fn(Option<Current>) -> Result<Documents, DeployError>,
    ) -> Result<ServiceDetails, DeployError> {
        for _ in 0..TRIES {
            let documents = change(self.current(namespace, name).await?)?;
            match self.write(namespace, name, &documents).await {
                Ok(written) => return self.seen(&written, &documents).await,
                Err(Write::Overtaken) => {}
                Err(Write::Refused(error)) => return Err(error),
            }
        }
        Err(DeployError::Conflict(format!("`{name}` is being changed by others all the time: try again")))
    }

    /// The details once the caches have what was written; from what was written where the watch is late.
    async fn seen(&self, written: &MlDeployment, documents: &Documents) -> Result<ServiceDetails, DeployError> {
        let model = serde_json::to_value(&documents.model).expect("documents have a JSON text");
        let caches = self.caches()?;
        let mut changes = self.view.changes();
        let generation = written.metadata.generation;
        let arrives = async {
            loop {
                let seen = caches.deployment(written.namespace(), written.name());
                let of_model = seen.as_ref().and_then(|seen| caches.model_of(seen));
                let has_model = of_model.is_some_and(|seen| seen.spec == model);
                match seen {
                    Some(seen)
                        if seen.metadata.generation >= generation
                            && orders::are_same(&seen.metadata, &written.metadata)
                            && has_model =>
                    {
                        return seen;
                    }
                    _ => drop(changes.changed().await),
                }
            }
        };
        let seen = timeout(SEEN_WITHIN, arrives).await;
        let details = view::details(caches, seen.as_deref().unwrap_or(written), &self.view.settings);
        details.ok_or_else(|| DeployError::Conflict(format!("`{}` is no name of a service", written.name())))
    }
}

/// A service's documents, as they are.
struct Current {
    deployment: MlDeployment,
    spec: DeploymentDocument,
    model_name: String,
    model: Option<MlModel>,
    model_spec: ModelDocument,
}

/// A service's documents, as they are to be.
struct Documents {
    current: Option<Current>,
    model_name: String,
    model: ModelDocument,
    deployment: DeploymentDocument,
    /// Labels by which roles find the service, in place of those it has; they stay where it is `None`.
    labels: Option<BTreeMap<String, String>>,
    /// What becomes of a rollout.
    order: Order,
    /// Versions that are allowed to break callers from now on.
    allowed: Vec<VersionId>,
}

enum Write {
    /// Somebody else changed it in the meantime.
    Overtaken,
    Refused(DeployError),
}

impl From<kube::Error> for Write {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 409 => Self::Overtaken,
            _ => Self::Refused(refused(error)),
        }
    }
}

fn metadata(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(namespace.into()),
        labels: Some([(names::MANAGED_BY.0.to_string(), FIELD_MANAGER.to_string())].into()),
        ..ObjectMeta::default()
    }
}

/// Gives an object these labels in place of those it has, but for those of Kubernetes' tools.
fn labelled(mut metadata: ObjectMeta, labels: Option<&BTreeMap<String, String>>) -> ObjectMeta {
    if let Some(labels) = labels {
        let before = metadata.labels.take().unwrap_or_default();
        let kept = before.into_iter().filter(|(name, _)| name.starts_with("app.kubernetes.io/"));
        metadata.labels = Some(labels.clone().into_iter().chain(kept).collect());
    }
    metadata
}

fn unavailable(why: &str) -> DeployError {
    DeployError::Store(StoreError::Unavailable(why.into()))
}

#[allow(clippy::needless_pass_by_value, reason = "used in map_err")]
fn refused(error: kube::Error) -> DeployError {
    match &error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => DeployError::Invalid {
            pointer: String::new(),
            detail: format!("Kubernetes refuses it: {}", status.message),
        },
        _ => unavailable(&crate::error::said(&error)),
    }
}

#[async_trait]
impl Deployer for ClusterDeployer {
    async fn deploy(&self, request: DeployRequest) -> Result<ServiceDetails, DeployError> {
        let id = change::service_id(&request)?;
        let name_field = if request.service_id.is_some() { "serviceId" } else { "modelName" };
        check::service_name(name_field, id.as_str())?;
        let caches = self.caches()?;
        let holder = caches.holders(id.as_str()).into_iter().next();
        let namespace = holder.as_ref().map_or(&*self.view.settings.namespace, |holder| holder.namespace()).to_string();
        let records = holder.map_or_else(Vec::new, |holder| caches.records(&holder));
        let asked = UpdateRequest {
            replicas: request.replicas,
            env: request.env.clone(),
            resources: request.resources.clone(),
            audit: request.audit.clone(),
            cache: request.cache.clone(),
            timeout: request.timeout,
            access: request.access.clone(),
            labels: request.labels.clone(),
            load_balancer: request.load_balancer.clone(),
            health: request.health.clone(),
            limits: request.limits.clone(),
            rate_limit: request.rate_limit.clone(),
            server: request.server.clone(),
            routes: request.routes.clone(),
            canary: request.canary.clone(),
            shadow: request.shadow.clone(),
            rollout: request.rollout.clone(),
            validation: request.validation,
            version: request.version.clone(),
            ..UpdateRequest::default()
        };
        check_settings(&asked)?;
        self.check_routes(&id, &asked)?;
        self.change(&namespace, id.as_str(), |current| {
            let before = current.as_ref().map(|current| current.model_spec.clone()).unwrap_or_default();
            let mut model = ModelDocument {
                model_name: Some(request.model_name.clone()),
                model_framework: request.framework,
                source: request.source_code.clone(),
                requirements: request.requirements.clone(),
                command: request.command.clone(),
                functions: request.functions.clone(),
                image: request.container_image.clone(),
                port: before.port,
                version: None,
                ..ModelDocument::default()
            };
            check::model(&ModelRecord::of(&model), &check::API)?;
            model.version = Some(next_version(&id, request.version.as_ref(), &model, &before, &records)?);
            known_beside(&id, &asked, &model, &records)?;
            let mut deployment = current.as_ref().map(|current| current.spec.clone()).unwrap_or_default();
            deployment.version = None;
            changed_deployment(&mut deployment, &asked)?;
            let found = current.as_ref().map(|current| &current.deployment);
            let order = Order::of_model(found, model.version.as_ref(), Timestamp::now());
            let model_name = current.as_ref().map_or_else(|| id.to_string(), |current| current.model_name.clone());
            let named = gate::named(model.version.as_ref(), &asked);
            let allow_breaking = request.allow_breaking;
            let change = gate::Change { service: &id, owner: found, records: &records, named, allow_breaking };
            let allowed = change.allowed()?;
            Ok(Documents { current, model_name, model, deployment, labels: asked.labels.clone(), order, allowed })
        })
        .await
    }

    async fn update(&self, id: &ServiceId, asked: UpdateRequest) -> Result<ServiceDetails, DeployError> {
        check_settings(&asked)?;
        self.check_routes(id, &asked)?;
        let found = self.found(id)?;
        let records = self.caches()?.records(&found);
        self.change(found.namespace(), id.as_str(), |current| {
            let current = current.ok_or_else(|| DeployError::NotFound(id.clone()))?;
            let mut model = current.model_spec.clone();
            let UpdateRequest { source_code, container_image, framework, command, requirements, functions, .. } =
                asked.clone();
            let is_new = source_code.is_some() || container_image.is_some();
            let is_changed = framework.is_some() || command.is_some() || requirements.is_some() || functions.is_some();
            let names_a_model = is_new || is_changed;
            if is_new {
                (model.source, model.s3_path, model.image) = (source_code, None, container_image);
                model.model_framework = None;
            }
            model.model_framework = framework.or(model.model_framework);
            model.command = command.or(model.command.take());
            model.requirements = requirements.or(model.requirements.take());
            if functions.is_some() {
                (model.input_type, model.output_type, model.functions) = (None, None, functions);
            }
            let mut deployment = current.spec.clone();
            changed_deployment(&mut deployment, &asked)?;
            let order = match (names_a_model, &asked.version) {
                (true, version) => {
                    check::model(&ModelRecord::of(&model), &check::API)?;
                    model.version = Some(next_version(id, version.as_ref(), &model, &current.model_spec, &records)?);
                    deployment.version = None;
                    Order::of_model(Some(&current.deployment), model.version.as_ref(), Timestamp::now())
                }
                (false, Some(version)) => {
                    if model.version.as_ref() != Some(version) {
                        known_version(id, version, &records)?;
                        // The model is to stay the version that it is, whichever answers.
                        model.version = model.version.or_else(|| latest(&found));
                    }
                    deployment.version =
                        Some(version.clone()).filter(|version| model.version.as_ref() != Some(version));
                    Order::of_name(&current.deployment, version)
                }
                (false, None) => Order::Keep,
            };
            known_beside(id, &asked, &model, &records)?;
            let change = gate::Change {
                service: id,
                owner: Some(&current.deployment),
                records: &records,
                named: gate::named(model.version.as_ref().filter(|_| names_a_model), &asked),
                allow_breaking: asked.allow_breaking,
            };
            let (allowed, labels) = (change.allowed()?, asked.labels.clone());
            let model_name = current.model_name.clone();
            Ok(Documents { current: Some(current), model_name, model, deployment, labels, order, allowed })
        })
        .await
    }

    async fn rollback(&self, id: &ServiceId) -> Result<ServiceDetails, DeployError> {
        let found = self.found(id)?;
        let details = view::details(self.caches()?, &found, &self.view.settings);
        let details = details.ok_or_else(|| DeployError::NotFound(id.clone()))?;
        // A version that has a share or gets copies, or had a share and went back, is what there is to go back from.
        let is_beside = |live: &VersionId| {
            let is_returned = details.rollout.is_some() && *live != details.version;
            details.canary.is_some() || details.shadow.is_some() || is_returned
        };
        if let Some(live) = details.live_version.clone().filter(is_beside) {
            return self.update(id, UpdateRequest { version: Some(live), ..UpdateRequest::default() }).await;
        }
        let wanted = details.version;
        let history = found.status.as_ref().map(|status| &status.live_history[..]).unwrap_or_default();
        let earlier = history.iter().rev().find(|version| **version != wanted).cloned();
        let nothing = || DeployError::Conflict(format!("no version of `{id}` was live before {wanted}"));
        let version = Some(earlier.ok_or_else(nothing)?);
        self.update(id, UpdateRequest { version, ..UpdateRequest::default() }).await
    }

    async fn delete(&self, id: &ServiceId) -> Result<(), DeployError> {
        let found = self.found(id)?;
        let gone = |answer: Result<(), kube::Error>| match answer {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map_err(refused),
        };
        let params = DeleteParams::background();
        gone(self.deployments(found.namespace()).delete(found.name(), &params).await.map(drop))?;
        // The model goes, too, where the API made it and nobody else runs it.
        let caches = self.caches()?;
        let model_name = watch::model_name(&found);
        let used = caches.deployments.find(|other| {
            other.namespace() == found.namespace()
                && other.name() != found.name()
                && watch::model_name(other) == model_name
        });
        let is_ours = caches.model_of(&found).is_some_and(|model| {
            let labels = model.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(names::MANAGED_BY.0)).is_some_and(|by| by == FIELD_MANAGER)
        });
        if is_ours && used.is_none() {
            gone(self.models(found.namespace()).delete(model_name, &params).await.map(drop))?;
        }
        let mut changes = self.view.changes();
        let disappears = async {
            while caches.deployment(found.namespace(), found.name()).is_some_and(|there| !there.is_leaving()) {
                let _ = changes.changed().await;
            }
        };
        let _ = timeout(SEEN_WITHIN, disappears).await;
        Ok(())
    }

    async fn balance(&self, id: &ServiceId, rule: Option<LoadBalancing>) -> Result<(), DeployError> {
        let found = self.found(id)?;
        let changed = self.change(found.namespace(), id.as_str(), |current| {
            let current = current.ok_or_else(|| DeployError::NotFound(id.clone()))?;
            let mut deployment = current.spec.clone();
            deployment.load_balancer.clone_from(&rule);
            let (model_name, model) = (current.model_name.clone(), current.model_spec.clone());
            let (current, order) = (Some(current), Order::Keep);
            Ok(Documents { current, model_name, model, deployment, labels: None, order, allowed: Vec::new() })
        });
        changed.await.map(drop)
    }

    fn list(&self) -> Vec<ServiceDetails> {
        let Ok(caches) = self.caches() else { return Vec::new() };
        let mut names: Vec<String> = caches.deployments.state().iter().map(|found| found.name().to_string()).collect();
        names.sort();
        names.dedup();
        names.iter().filter_map(|name| self.get(&name.parse().ok()?)).collect()
    }

    fn get(&self, id: &ServiceId) -> Option<ServiceDetails> {
        let found = self.found(id).ok()?;
        view::details(self.caches().ok()?, &found, &self.view.settings)
    }

    async fn versions(&self, id: &ServiceId) -> Result<Vec<VersionInfo>, DeployError> {
        let found = self.found(id)?;
        let live = found.status.as_ref().and_then(|status| status.live_version.clone());
        let history = found.status.as_ref().map(|status| &status.live_history[..]).unwrap_or_default();
        let info = |record: VersionRecord| VersionInfo {
            live: live.as_ref() == Some(&record.version),
            was_live: live.as_ref() == Some(&record.version) || history.contains(&record.version),
            framework: record.model.framework.or(record.image.as_ref().and_then(|image| image.framework)),
            source: record.model.source.as_deref().map(shown_source),
            image: record.image.map(|image| image.reference),
            created_at: record.created_at,
            version: record.version,
        };
        Ok(self.caches()?.records(&found).into_iter().map(info).collect())
    }

    async fn contract(
        &self,
        id: &ServiceId,
        version: Option<&VersionId>,
    ) -> Result<(VersionId, Option<Arc<Contract>>), DeployError> {
        let found = self.found(id)?;
        let records = self.caches()?.records(&found);
        let live = found.status.as_ref().and_then(|status| status.live_version.clone());
        let wanted = match version.cloned().or(live) {
            Some(version) => version,
            None => self.get(id).ok_or_else(|| DeployError::NotFound(id.clone()))?.version,
        };
        let record = records.iter().find(|record| record.version == wanted);
        if record.is_none() && version.is_some() {
            known_version(id, &wanted, &records)?;
        }
        let contract = record.and_then(|record| record.replica.as_ref()).map(|replica| replica.contract.clone());
        Ok((wanted, contract))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_replace_each_other_but_for_those_of_kubernetes_tools() {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let before = metadata("team", "iris");
        let asked = labelled(before.clone(), Some(&[label("team", "risk")].into()));
        assert_eq!(asked.labels.as_ref().unwrap()["team"], "risk");
        assert!(asked.labels.as_ref().unwrap().contains_key(names::MANAGED_BY.0));
        assert_eq!(labelled(asked.clone(), None), asked);
        assert_eq!(labelled(asked, Some(&BTreeMap::new())), before);
    }
}
