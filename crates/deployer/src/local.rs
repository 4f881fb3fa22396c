//! The Service Deployer as the rest of KEA sees it: requests in, a service loop for each service.

use std::{
    collections::HashMap,
    num::NonZero,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;
use kea_containerizer::{ImageSettings, Workspace, shown_source};
use kea_core::{
    Contract, ServiceId, Settings, VersionId,
    balancing::LoadBalancing,
    change,
    management::{DeployRequest, ServiceDetails, UpdateRequest, VersionInfo},
    own_route,
    port::{DeployError, Deployer, RouteFollower, ServiceStore, StoreError, Traffic},
    service::{ModelSpec, Service, Version},
    shadow::Shadow,
};
use kea_logs::LogBook;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    choice::{self, Asked},
    directory::Directory,
    gate,
    images::Images,
    request::{self, Content},
    service_loop::{self, Shared, Wish},
    view::PublicAddress,
};

/// Preparations at the same time. More than there are cores, since most of them wait for downloads.
const PREPARATIONS: usize = 8;

/// What a deployer is made of.
pub struct LocalOptions {
    /// Whom to tell where requests go.
    pub router: Arc<dyn RouteFollower>,
    /// Who counts what versions answer.
    pub traffic: Arc<dyn Traffic>,
    /// Where wanted state is kept.
    pub store: Arc<dyn ServiceStore>,
    /// Where logs of replicas go.
    pub logs: Arc<LogBook>,
    /// Folder for models, environments and working folders.
    pub folder: PathBuf,
    /// The program of which `model-server` is a role: KEA's own.
    pub program: PathBuf,
    /// Where this KEA listens.
    pub listen: std::net::SocketAddr,
    /// Where callers reach it, as `https://models.example`.
    pub url: String,
    /// Largest body of a model's request, in bytes: replicas take what the gateway takes.
    pub body_limit: usize,
    /// How images of versions are made, and the registry that they are sent to; none are where it is not given.
    pub images: Option<(ImageSettings, String)>,
}

/// Runs services as processes of this machine.
pub struct LocalDeployer {
    shared: Arc<Shared>,
    /// The wish of each service, to its loop. Held for a look-up alone.
    wishes: Mutex<HashMap<ServiceId, watch::Sender<Wish>>>,
    loops: TaskTracker,
}

impl LocalDeployer {
    /// Brings every service of the store back as it is wanted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn start(options: LocalOptions) -> Result<Arc<Self>, StoreError> {
        let LocalOptions { router, traffic, store, logs, folder, program, listen, url, body_limit, images } = options;
        let registries = images.as_ref().map_or_else(Default::default, |(settings, _)| settings.registries.clone());
        let workspace = Arc::new(Workspace::new(folder.clone()).with_registries(registries));
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let shared = Shared {
            traffic,
            images: images.map(|(settings, registry)| Images::new(workspace.clone(), settings, &registry)),
            workspace,
            directory: Arc::new(Directory::new(router)),
            address: PublicAddress { listen, url },
            run_folder: folder.join("run"),
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            shutdown: CancellationToken::new(),
            changing: tokio::sync::Mutex::default(),
            preparing: tokio::sync::Semaphore::new(PREPARATIONS),
            store,
            logs,
            program,
            body_limit,
        };
        let deployer = Arc::new(Self { shared: Arc::new(shared), wishes: Mutex::default(), loops: TaskTracker::new() });
        for service in deployer.shared.store.services().await? {
            let versions = deployer.shared.store.versions(&service.id).await?;
            deployer.wish(Wish { service, versions });
        }
        Ok(deployer)
    }

    /// Stops all replicas; what is wanted stays in the store.
    pub async fn stop(&self) {
        self.shared.shutdown.cancel();
        self.loops.close();
        self.loops.wait().await;
    }

    /// Tells a service's loop what is wanted, and starts it where there is none.
    fn wish(&self, wish: Wish) {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        let id = wish.service.id.clone();
        match wishes.get(&id).filter(|sender| !sender.is_closed()) {
            Some(sender) => drop(sender.send_replace(wish)),
            None => {
                let (sender, receiver) = watch::channel(wish);
                wishes.insert(id, sender);
                self.loops.spawn(service_loop::run(self.shared.clone(), receiver));
            }
        }
    }

    /// A service and its versions, as the store has them.
    async fn stored(&self, id: &ServiceId) -> Result<Option<(Service, Vec<Version>)>, DeployError> {
        let services = self.shared.store.services().await?;
        let Some(service) = services.into_iter().find(|service| service.id == *id) else { return Ok(None) };
        Ok(Some((service, self.shared.store.versions(id).await?)))
    }

    /// Whether a model holds what the version of that name does, where there is one.
    async fn content(&self, model: &ModelSpec, known: Option<&Version>) -> Content {
        match known {
            Some(known) => Content::of(&self.shared.workspace, model, known).await,
            None => Content::Unknown,
        }
    }

    async fn existing(&self, id: &ServiceId) -> Result<(Service, Vec<Version>), DeployError> {
        match self.stored(id).await? {
            Some((service, _)) if service.deleted => Err(being_removed(id)),
            Some(found) => Ok(found),
            None => Err(DeployError::NotFound(id.clone())),
        }
    }

    /// A route is one service's.
    async fn check_routes(&self, id: &ServiceId, settings: &Settings) -> Result<(), DeployError> {
        let services = self.shared.store.services().await?;
        let others = services.iter().map(|service| (&service.id, &service.settings.routes[..]));
        own_route::check_free(id, &settings.routes, others)
    }

    /// Keeps a change and makes it the loop's wish. Answers with the service as it is from now on.
    async fn change(
        &self,
        mut service: Service,
        mut versions: Vec<Version>,
        new: Option<Version>,
    ) -> Result<ServiceDetails, DeployError> {
        service.updated_at = Timestamp::now();
        match new {
            Some(version) => {
                self.shared.store.put_service_and_version(&service, &version).await?;
                versions.push(version);
            }
            None => self.shared.store.put_service(&service).await?,
        }
        let id = service.id.clone();
        let updated_at = service.updated_at;
        let mut published = self.shared.directory.publications();
        self.wish(Wish { service, versions });
        // The loop publishes what it was told at once; the caller is to see it.
        loop {
            match self.get(&id) {
                Some(details) if details.updated_at >= updated_at => return Ok(details),
                _ => {}
            }
            tokio::select! {
                _ = published.changed() => {}
                () = self.shared.shutdown.cancelled() => {
                    return Err(DeployError::Conflict("this KEA is stopping: ask again once it runs".into()));
                }
            }
        }
    }
}

/// Notes what is allowed to break callers, and refuses what is known to do so and is not.
async fn through_the_gate(
    service: &mut Service,
    versions: &[Version],
    new: Option<&Version>,
    named: &[VersionId],
    allow_breaking: Option<bool>,
) -> Result<(), DeployError> {
    if allow_breaking == Some(true) {
        gate::allow(service, named);
    }
    gate::check(service, versions, new, named).await
}

fn being_removed(id: &ServiceId) -> DeployError {
    DeployError::Conflict(format!("service `{id}` is being removed: try again in a moment"))
}

#[async_trait]
impl Deployer for LocalDeployer {
    async fn deploy(&self, request: DeployRequest) -> Result<ServiceDetails, DeployError> {
        let id = change::service_id(&request)?;
        let model = request::model(&request)?;
        request::borne_out_by_source(&model).await?;
        change::canary(request.canary.as_ref())?;
        change::one_way_of_taking_over(request.canary.as_ref(), request.rollout.as_ref())?;
        Shadow::check(request.shadow.as_ref(), request.canary.as_ref(), request.rollout.as_ref())?;
        let _one_at_a_time = self.shared.changing.lock().await;
        let stored = self.stored(&id).await?;
        if stored.as_ref().is_some_and(|(service, _)| service.deleted) {
            return Err(being_removed(&id));
        }
        let now = Timestamp::now();
        let (before, versions) = stored.map_or((None, Vec::new()), |(service, versions)| (Some(service), versions));
        let current = before.as_ref().map(|service| &service.version);
        let known = versions.iter().find(|known| request::named(&request) == Some(&known.id));
        let content = self.content(&model, known).await;
        let (version, new) = request::version(&id, &request, (model, content), current, &versions)?;
        let mut service = before.unwrap_or_else(|| request::first(id, version.clone(), now));
        service.replicas = change::replicas(request.replicas, service.replicas)?;
        change::settings(&mut service.settings, &request)?;
        self.check_routes(&service.id, &service.settings).await?;
        service.model_name = request.model_name;
        let (canary, shadow) = (request.canary, request.shadow);
        let asked = Asked { model: Some(version), version: request.version, canary, shadow };
        let named = asked.named();
        asked.apply(&mut service, now)?;
        through_the_gate(&mut service, &versions, new.as_ref(), &named, request.allow_breaking).await?;
        self.change(service, versions, new).await
    }

    async fn update(&self, id: &ServiceId, change: UpdateRequest) -> Result<ServiceDetails, DeployError> {
        let _one_at_a_time = self.shared.changing.lock().await;
        let (mut service, versions) = self.existing(id).await?;
        service.replicas = change::replicas(change.replicas, service.replicas)?;
        change::canary(change.canary.as_ref())?;
        change::one_way_of_taking_over(change.canary.as_ref(), change.rollout.as_ref())?;
        Shadow::check(change.shadow.as_ref(), change.canary.as_ref(), change.rollout.as_ref())?;
        change::changed_settings(&mut service.settings, &change)?;
        self.check_routes(id, &service.settings).await?;
        let base = versions.iter().find(|version| version.id == service.version);
        let (model, new) = match base {
            Some(base) if change.names_a_model() || change.container_image.is_some() => {
                let version =
                    change::new_version(change.version.as_ref(), Some(&service.version), &request::ids(&versions));
                let model = request::changed_model(base, &change)?;
                // What runs as it was stated is not looked at again because something else changes.
                if change.functions.is_some() || change.source_code.is_some() {
                    request::borne_out_by_source(&model).await?;
                }
                let content = self.content(&model, versions.iter().find(|known| known.id == version)).await;
                let new = request::updated_version(id, version.clone(), (model, content), &versions)?;
                (Some(version), new)
            }
            _ => (None, None),
        };
        let canary = change.canary.as_ref().map(|canary| &canary.version);
        let shadow = change.shadow.as_ref().map(|shadow| &shadow.version);
        request::all_known(id, [change.version.as_ref(), canary, shadow], model.as_ref(), &versions)?;
        let UpdateRequest { version, canary, shadow, allow_breaking, .. } = change;
        let asked = Asked { model, version, canary, shadow };
        let named = asked.named();
        asked.apply(&mut service, Timestamp::now())?;
        through_the_gate(&mut service, &versions, new.as_ref(), &named, allow_breaking).await?;
        self.change(service, versions, new).await
    }

    async fn rollback(&self, id: &ServiceId) -> Result<ServiceDetails, DeployError> {
        let _one_at_a_time = self.shared.changing.lock().await;
        let (mut service, versions) = self.existing(id).await?;
        choice::go_back(&mut service)?;
        self.change(service, versions, None).await
    }

    async fn delete(&self, id: &ServiceId) -> Result<(), DeployError> {
        let _one_at_a_time = self.shared.changing.lock().await;
        let (mut service, versions) = match self.stored(id).await? {
            Some((service, _)) if service.deleted => return Ok(()),
            Some(found) => found,
            None => return Err(DeployError::NotFound(id.clone())),
        };
        service.deleted = true;
        service.updated_at = Timestamp::now();
        self.shared.store.put_service(&service).await?;
        self.wish(Wish { service, versions });
        Ok(())
    }

    async fn balance(&self, id: &ServiceId, rule: Option<LoadBalancing>) -> Result<(), DeployError> {
        let _one_at_a_time = self.shared.changing.lock().await;
        let (mut service, versions) = self.existing(id).await?;
        service.settings.load_balancer = rule;
        self.change(service, versions, None).await.map(drop)
    }

    fn list(&self) -> Vec<ServiceDetails> {
        self.shared.directory.list()
    }

    fn get(&self, id: &ServiceId) -> Option<ServiceDetails> {
        self.shared.directory.get(id)
    }

    async fn versions(&self, id: &ServiceId) -> Result<Vec<VersionInfo>, DeployError> {
        let details = self.get(id).ok_or_else(|| DeployError::NotFound(id.clone()))?;
        let (service, versions) = self.stored(id).await?.ok_or_else(|| DeployError::NotFound(id.clone()))?;
        let info = |version: Version| VersionInfo {
            live: details.live_version.as_ref() == Some(&version.id),
            was_live: service.live_history.contains(&version.id),
            framework: version.prepared.as_ref().map(|prepared| prepared.framework).or(version.model.framework),
            image: version.prepared.and_then(|prepared| prepared.image),
            source: version.model.source.as_deref().map(shown_source),
            created_at: version.created_at,
            version: version.id,
        };
        Ok(versions.into_iter().map(info).collect())
    }

    async fn contract(
        &self,
        id: &ServiceId,
        version: Option<&VersionId>,
    ) -> Result<(VersionId, Option<Arc<Contract>>), DeployError> {
        let published = self.shared.directory.contract(id).ok_or_else(|| DeployError::NotFound(id.clone()))?;
        let Some(wanted) = version.filter(|wanted| **wanted != published.0) else { return Ok(published) };
        let versions = self.shared.store.versions(id).await?;
        request::known(id, wanted, &versions)?;
        let contract = versions.into_iter().find(|version| version.id == *wanted).and_then(|version| version.contract);
        Ok((wanted.clone(), contract))
    }
}

#[cfg(test)]
mod tests;
