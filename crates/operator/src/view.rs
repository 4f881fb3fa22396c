//! What routers and the API see of a cluster: routes and details, computed from the caches.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kea_core::{
    Contract, ServiceId, Settings, VersionId,
    compare::ContractChange,
    management::{KubernetesService, ReplicaStatus, ServiceDetails, Status, StepState, StepStatus},
    port::RouteFollower,
    rollout::{RolloutStatus, TAKE_THE_REQUESTS},
    routing::{RoutingSnapshot, ServiceRoute, VersionRoute},
    service::{Canary, ReplicaAddress},
    shadow::Shadow,
};
use kube::runtime::reflector::ObjectRef;

use crate::{
    gate, holders, pods,
    resources::{Condition, MlDeployment, ShadowVersion},
    settings::ClusterSettings,
    status, steps,
    trials::Trials,
    version::{ReplicaRecord, VersionRecord},
    watch::{Caches, Change},
    wish::{self, Wish},
};

/// Follows a cluster for one router.
pub(crate) struct ClusterView {
    pub(crate) settings: ClusterSettings,
    router: Arc<dyn RouteFollower>,
    trials: Arc<Trials>,
    caches: OnceLock<Caches>,
    /// Held while the router takes a snapshot, so that it gets them in their order.
    routes: Mutex<RoutingSnapshot>,
    /// Counts changes, for whoever waits for one.
    changes: tokio::sync::watch::Sender<u64>,
}

impl ClusterView {
    pub(crate) fn new(settings: ClusterSettings, router: Arc<dyn RouteFollower>, trials: Arc<Trials>) -> Self {
        let changes = tokio::sync::watch::channel(0).0;
        Self { settings, router, trials, caches: OnceLock::new(), routes: Mutex::default(), changes }
    }

    /// Everything has been seen once: the router gets its table.
    pub(crate) fn complete(&self, caches: Caches) {
        let _ = self.caches.set(caches);
        self.note(&Change::All);
    }

    /// Whether the router has its table.
    pub(crate) fn is_complete(&self) -> bool {
        self.caches.get().is_some()
    }

    /// What is seen; nothing before [`ClusterView::complete`].
    pub(crate) fn caches(&self) -> Option<&Caches> {
        self.caches.get()
    }

    /// Changes whenever anything does.
    pub(crate) fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Something may have changed: the router gets what did.
    pub(crate) fn note(&self, change: &Change) {
        let Some(caches) = self.caches.get() else { return };
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut differs = false;
        if *change == Change::All {
            let gone = |id: &ServiceId| caches.holders(id.as_str()).is_empty();
            let before = routes.services.len();
            routes.services.retain(|id, _| !gone(id));
            self.trials.keep(|id| !gone(id));
            differs = routes.services.len() != before;
        }
        let affected = caches.affected(change);
        for (_, name) in &affected {
            differs |= route_of(caches, name, &mut routes.services);
        }
        if differs {
            self.router.follow(&routes);
        }
        for (_, name) in &affected {
            self.note_trial(caches, name);
        }
        drop(routes);
        self.changes.send_modify(|count| *count += 1);
    }
}

impl ClusterView {
    /// What the router counts of a service begins anew with each step of a rollout.
    fn note_trial(&self, caches: &Caches, name: &str) {
        let Ok(id) = name.parse() else { return };
        let holder = caches.holders(name).into_iter().next();
        let status = holder.as_ref().and_then(|holder| holder.status.as_ref());
        self.trials.follow(&id, status.and_then(|status| status.rollout.as_ref()));
    }
}

/// Brings a service's route up to date; says whether it is another one.
fn route_of(caches: &Caches, name: &str, routes: &mut HashMap<ServiceId, Arc<ServiceRoute>>) -> bool {
    let Ok(id) = name.parse::<ServiceId>() else { return false };
    let Some(deployment) = caches.holders(name).into_iter().next() else { return routes.remove(&id).is_some() };
    let before = routes.get(&id).cloned();
    let route = route(caches, &deployment, id.clone(), before.as_deref());
    if before.is_some_and(|before| before.is_same(&route)) {
        return false;
    }
    routes.insert(id, Arc::new(route));
    true
}

fn route(caches: &Caches, deployment: &MlDeployment, id: ServiceId, before: Option<&ServiceRoute>) -> ServiceRoute {
    let records = caches.records(deployment);
    let status = deployment.status.as_ref();
    let told = status.and_then(|status| status.live_version.clone());
    let pods = caches.pods_of(deployment);
    let live = servable(told, before, &records, &pods);
    let (settings, canary, shadow) = settings(caches, deployment, &records, before);
    let takes_requests = |record: &&VersionRecord| {
        let is_canary = canary.as_ref().is_some_and(|canary| canary.version == record.version);
        let is_shadow = shadow.as_ref().is_some_and(|shadow| shadow.version == record.version);
        Some(&record.version) == live.as_ref() || (is_canary || is_shadow) && record.replica.is_some()
    };
    let versions = records.iter().filter(takes_requests).map(|record| version_route(record, &pods, &settings, before));
    let versions = versions.collect();
    let reason = status.and_then(|status| status.reason.clone());
    ServiceRoute { id, live, versions, canary, shadow, reason, settings }
}

/// The version to send requests to. Status, Deployments and pods come by watches of their own: until all of a new live
/// version has come, the one before it goes on, as long as it has pods.
fn servable(
    told: Option<VersionId>,
    before: Option<&ServiceRoute>,
    records: &[VersionRecord],
    pods: &[Arc<Pod>],
) -> Option<VersionId> {
    let has_pods = |version: &VersionId| status::ready(pods, version) > 0;
    let is_known = |version: &VersionId| {
        records.iter().any(|record| record.version == *version && record.replica.is_some()) && has_pods(version)
    };
    let earlier = before.and_then(|before| before.live.clone());
    match (told, earlier) {
        (Some(told), Some(earlier)) if told != earlier && !is_known(&told) && has_pods(&earlier) => Some(earlier),
        (told, _) => told,
    }
}

/// The settings, and the canary or shadow. While what is asked for cannot be read, or is paused, they are those of before: as
/// this router has them, else as the operator has noted them.
fn settings(
    caches: &Caches,
    deployment: &MlDeployment,
    records: &[VersionRecord],
    before: Option<&ServiceRoute>,
) -> (Arc<Settings>, Option<Canary>, Option<Shadow>) {
    let wish = match holders::refusal(deployment, caches) {
        Some(refusal) => Err(refusal),
        None => wish::wish(deployment, caches.model_of(deployment).as_deref(), records),
    };
    let (settings, canary, shadow) = match (wish, before) {
        (Ok(wish), _) if !wish.paused => {
            let canary = wish.canary().or_else(|| steps::share(deployment, &wish.version));
            // The operator ends its pods, but they may be here longer than what one of them told.
            let is_barred = |version: &VersionId| {
                let barred = gate::barred(deployment, &wish, deployment.live(records).as_ref(), records);
                barred.iter().any(|barred| barred.version == *version)
            };
            let canary = canary.filter(|canary| !is_barred(&canary.version));
            let shadow = wish.shadow().or_else(|| steps::copies(deployment, &wish));
            let shadow = shadow.filter(|shadow| !is_barred(&shadow.version));
            (wish.settings, canary, shadow)
        }
        (_, Some(before)) => return (before.settings.clone(), before.canary.clone(), before.shadow.clone()),
        (_, None) => {
            let noted = deployment.status.as_ref();
            let canary = noted.and_then(|status| status.canary.as_ref());
            let canary = canary.map(|noted| Canary { version: noted.version.clone(), weight: noted.weight });
            let shadow = noted.and_then(|status| status.shadow.as_ref()).map(ShadowVersion::wish);
            (noted.and_then(|status| status.settings.clone()).unwrap_or_default(), canary, shadow)
        }
    };
    let same = before.map(|before| &before.settings).filter(|before| ***before == settings);
    (same.cloned().unwrap_or_else(|| Arc::new(settings)), canary, shadow)
}

fn version_route(
    record: &VersionRecord,
    pods: &[Arc<Pod>],
    settings: &Settings,
    before: Option<&ServiceRoute>,
) -> VersionRoute {
    let of_version =
        pods.iter().filter(|pod| pods::version(pod).as_ref() == Some(&record.version) && pods::is_ready(pod));
    let replicas = of_version.filter_map(|pod| {
        let (name, address) = (pod.metadata.name.as_deref()?, pods::address(pod)?);
        Some(ReplicaAddress { name: name.into(), address, tls_name: pods::tls_name(pod).map(Into::into) })
    });
    let replica = record.replica.as_ref();
    VersionRoute {
        version: record.version.clone(),
        made_at: record.created_at.as_microsecond(),
        engine: replica.map_or(kea_core::Engine::Python, |replica| replica.engine),
        contract: replica.map(|replica| kept_contract(&spoken(replica, settings), &record.version, before)),
        replicas: replicas.collect(),
    }
}

/// What a replica told, and the protocol that is asked for now: what stands beside a web service speaks either.
fn spoken(replica: &ReplicaRecord, settings: &Settings) -> Arc<Contract> {
    let protocol = settings.server.protocol.unwrap_or_default();
    match &replica.contract {
        told if replica.engine != kea_core::Engine::External || told.protocol == protocol => told.clone(),
        told => Arc::new(Contract { protocol, ..(**told).clone() }),
    }
}

/// The same contract stays the same `Arc`, so that the router need not compile it again.
fn kept_contract(
    contract: &Arc<Contract>,
    version: &kea_core::VersionId,
    before: Option<&ServiceRoute>,
) -> Arc<Contract> {
    let before = before.and_then(|before| before.version(Some(version.as_str()))?.contract.as_ref());
    before.filter(|before| before == &contract).unwrap_or(contract).clone()
}

/// All that the API shows of a service.
pub(crate) fn details(caches: &Caches, deployment: &MlDeployment, cluster: &ClusterSettings) -> Option<ServiceDetails> {
    let id: ServiceId = deployment.name().parse().ok()?;
    let records = caches.records(deployment);
    let wish = wish::wish(deployment, caches.model_of(deployment).as_deref(), &records);
    let told = deployment.status.as_ref();
    let generation = deployment.metadata.generation.unwrap_or_default();
    // What the operator said is about an earlier wish: the new one is on its way.
    let rollout = told.and_then(|told| told.rollout.as_ref());
    let is_current = told.is_some_and(|told| {
        let is_wished = |wish: &Wish| {
            let is_told = rollout.is_none_or(|record| steps::is_about(record, deployment, wish));
            Some(&wish.version) == told.version.as_ref() && is_told
        };
        told.observed_generation == generation && wish.as_ref().map_or(true, is_wished)
    });
    let rollout = rollout.filter(|_| is_current).map(|record| &record.told);
    let live = told.and_then(|told| told.live_version.clone());
    let state = match told {
        _ if deployment.is_leaving() => Status::Terminating,
        Some(told) if is_current => told.state,
        _ if live.is_some() => Status::Updating,
        _ => Status::Deploying,
    };
    let version = wish.as_ref().map(|wish| wish.version.clone()).ok();
    let version = version.or_else(|| told?.version.clone()).unwrap_or_else(kea_core::VersionId::first);
    let created = deployment.metadata.creation_timestamp.as_ref().map_or_else(Default::default, |time| time.0);
    let conditions = told.map(|told| &told.conditions[..]).unwrap_or_default();
    let reason = match is_current {
        true => told.and_then(|told| told.reason.clone()),
        false => Some("the operator has not looked at it yet".into()),
    };
    let steps = steps(conditions, is_current, told.map_or("0/0", |told| &told.ready));
    let shadow = wish.as_ref().ok().and_then(|wish| wish.shadow().or_else(|| steps::copies(deployment, wish)));
    let taking = rollout.map(|rollout| match &shadow {
        Some(shadow) if shadow.version == rollout.version => rollout.copying(),
        _ => taking(rollout, live.as_ref()),
    });
    Some(ServiceDetails {
        model_name: wish.as_ref().map_or_else(|_| deployment.name().to_string(), |wish| wish.model_name.clone()),
        status: state,
        kubernetes_service: kubernetes_service(caches, deployment),
        live_version: live,
        framework: told.and_then(|told| told.framework),
        engine: told.and_then(|told| told.engine),
        image: told.filter(|_| is_current).and_then(|told| told.image.clone()),
        canary: wish.as_ref().ok().and_then(|wish| wish.canary().or_else(|| steps::share(deployment, &wish.version))),
        shadow: shadow.map(Into::into),
        rollout: rollout.cloned(),
        replicas: wish.as_ref().map_or_else(|_| deployment.replicas(), |wish| wish.replicas),
        ready_replicas: told.map_or(0, |told| told.ready_replicas),
        url: status::url(cluster, deployment.name()),
        reason: reason.filter(|_| state != Status::Deployed),
        breaking_changes: wish.as_ref().map_or_else(|_| Vec::new(), |wish| breaking(deployment, wish, &records)),
        incomplete: incomplete(&version, &records),
        steps: steps.into_iter().chain(taking).collect(),
        replica_statuses: caches.pods_of(deployment).iter().filter_map(|pod| replica(pod)).collect(),
        settings: wish.map(|wish| wish.settings).unwrap_or_default(),
        created_at: created,
        updated_at: conditions.iter().map(|condition| condition.last_transition_time).max().unwrap_or(created),
        version,
        service_id: id,
    })
}

fn incomplete(version: &VersionId, records: &[VersionRecord]) -> Vec<String> {
    let replica = records.iter().find(|record| record.version == *version).and_then(|record| record.replica.as_ref());
    replica.map_or_else(Vec::new, |replica| replica.contract.incomplete.clone())
}

/// What a version that is asked for would break for callers of the live one, where it is held back for that.
fn breaking(deployment: &MlDeployment, wish: &Wish, records: &[VersionRecord]) -> Vec<ContractChange> {
    let live = deployment.live(records);
    let barred = gate::barred(deployment, wish, live.as_ref(), records);
    barred.into_iter().next().map_or_else(Vec::new, |barred| barred.changes)
}

fn kubernetes_service(caches: &Caches, deployment: &MlDeployment) -> KubernetesService {
    let service = caches.services.get(&ObjectRef::new(deployment.name()).within(deployment.namespace()));
    let spec = service.as_ref().and_then(|service| service.spec.as_ref());
    let ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    KubernetesService {
        name: deployment.name().into(),
        cluster_ip: spec.and_then(|spec| spec.cluster_ip.clone()).unwrap_or_default(),
        ports: ports.filter_map(|port| u16::try_from(port.port).ok()).collect(),
    }
}

/// How far a version is that takes over step by step, as the last step of `kea status`.
fn taking(rollout: &RolloutStatus, live: Option<&VersionId>) -> StepStatus {
    if live != Some(&rollout.version) {
        return rollout.taking();
    }
    let (name, detail) = (TAKE_THE_REQUESTS.into(), format!("version {}", rollout.version));
    StepStatus { name, state: StepState::Done, detail }
}

/// The conditions as the steps of `kea status`.
fn steps(conditions: &[Condition], is_current: bool, ready: &str) -> Vec<StepStatus> {
    let condition = |kind: &str| conditions.iter().find(|condition| condition.kind == kind).filter(|_| is_current);
    let degraded = condition("Degraded").is_some_and(|condition| condition.status == "True");
    let mut failed_before = false;
    [("Built", "have the image"), ("Ready", "start the replicas"), ("Documented", "know what it offers")]
        .into_iter()
        .map(|(kind, name)| {
            let found = condition(kind);
            let done = found.is_some_and(|condition| condition.status == "True");
            let state = match (done, degraded && !failed_before, found) {
                (true, ..) => StepState::Done,
                (false, true, Some(_)) => StepState::Failed,
                (false, false, Some(condition)) if condition.status == "False" && !failed_before => StepState::Running,
                _ => StepState::Pending,
            };
            failed_before |= !done;
            let message = found.map_or_else(String::new, |condition| condition.message.clone());
            let detail = if kind == "Ready" && done { format!("{ready} ready") } else { message };
            StepStatus { name: name.into(), state, detail }
        })
        .collect()
}

fn replica(pod: &Pod) -> Option<ReplicaStatus> {
    Some(ReplicaStatus {
        name: pod.metadata.name.clone()?,
        version: pods::version(pod)?,
        state: pods::state(pod).into(),
        address: pods::address(pod).map(|address| address.to_string()),
        pid: None,
        restarts: pods::restarts(pod),
        reason: pods::trouble(pod).map(|trouble| trouble.message),
    })
}

#[cfg(test)]
mod tests {
    use kea_core::{Engine, contract::WebProtocol};

    use super::*;

    #[test]
    fn a_web_service_is_spoken_to_as_is_asked_for_now() {
        let asked = |engine, protocol| {
            let mut settings = Settings::default();
            settings.server.protocol = protocol;
            spoken(&ReplicaRecord { engine, contract: Arc::default() }, &settings).protocol
        };
        assert_eq!(asked(Engine::External, Some(WebProtocol::Http2)), WebProtocol::Http2);
        assert_eq!(asked(Engine::External, None), WebProtocol::Http1);
        assert_eq!(asked(Engine::Onnx, Some(WebProtocol::Http2)), WebProtocol::Http1);
    }
}
