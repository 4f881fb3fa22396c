//! What others see of a service: its details and its route, computed from what its loop knows.

mod rollout;

use std::sync::Arc;

use kea_core::{
    contract::DEFAULT_FUNCTION,
    management::{BASE_PATH, KubernetesService, ReplicaStatus, ServiceDetails, Status, StepState, StepStatus},
    routing::{ServiceRoute, VersionRoute},
    service::{Engine, ReplicaAddress},
};

use crate::state::{Phase, Preparation, ReplicaState, ServiceState, VersionState};

/// The address of this KEA, as callers reach it.
#[derive(Clone, Debug)]
pub(crate) struct PublicAddress {
    pub(crate) listen: std::net::SocketAddr,
    pub(crate) url: String,
}

/// The details that the API shows.
pub(crate) fn details(state: &ServiceState, address: &PublicAddress) -> ServiceDetails {
    let service = &state.service;
    let prepared = state.wanted_version().and_then(prepared);
    let status = status(state);
    ServiceDetails {
        service_id: service.id.clone(),
        model_name: service.model_name.clone(),
        status,
        kubernetes_service: KubernetesService {
            name: service.id.to_string(),
            cluster_ip: address.listen.ip().to_string(),
            ports: vec![address.listen.port()],
        },
        version: service.version.clone(),
        live_version: state.live.clone(),
        framework: prepared.map(|prepared| prepared.framework),
        engine: prepared.map(|prepared| prepared.engine),
        image: prepared.and_then(|prepared| prepared.image.clone()),
        replicas: service.replicas,
        ready_replicas: serving(state).map_or(0, VersionState::ready_replicas),
        url: format!("{}{BASE_PATH}/services/{}/{DEFAULT_FUNCTION}", address.url, service.id),
        reason: reason(state, status),
        breaking_changes: state.barred().map_or_else(Vec::new, <[_]>::to_vec),
        incomplete: state.wanted_version().map_or_else(Vec::new, incomplete),
        steps: state.wanted_version().map_or_else(Vec::new, |version| steps(state, version)),
        replica_statuses: state.versions.values().flat_map(replica_statuses).collect(),
        canary: state.share(),
        shadow: state.shadow().map(Into::into),
        rollout: rollout::status(state),
        settings: service.settings.clone(),
        created_at: service.created_at,
        updated_at: service.updated_at,
    }
}

fn incomplete(version: &VersionState) -> Vec<String> {
    version.version.contract.as_ref().map_or_else(Vec::new, |contract| contract.incomplete.clone())
}

/// What the router needs; the same `Arc` as before where nothing of it changed.
pub(crate) fn route(state: &mut ServiceState) -> Arc<ServiceRoute> {
    let route = ServiceRoute {
        id: state.service.id.clone(),
        live: state.live.clone(),
        versions: state.versions.values().filter(|version| takes_requests(state, version)).map(version_route).collect(),
        canary: state.share(),
        shadow: state.shadow(),
        reason: reason(state, status(state)),
        settings: same_settings(state),
    };
    match &state.route {
        Some(before) if before.is_same(&route) => before.clone(),
        _ => {
            let route = Arc::new(route);
            state.route = Some(route.clone());
            route
        }
    }
}

fn prepared(version: &VersionState) -> Option<&kea_core::service::PreparedModel> {
    match &version.preparation {
        Preparation::Done(prepared) => Some(prepared),
        Preparation::No | Preparation::Running(_) | Preparation::Failed => None,
    }
}

/// The version that answers now.
fn serving(state: &ServiceState) -> Option<&VersionState> {
    state.live.as_ref().and_then(|live| state.versions.get(live))
}

fn status(state: &ServiceState) -> Status {
    let is_live = state.live.as_ref() == Some(&state.service.version);
    let version = state.wanted_version();
    let ready = version.map_or(0, VersionState::ready_replicas);
    let is_whole = is_live && ready >= state.service.replicas;
    let is_short = |canary: &VersionState, replicas| canary.is_barred() || canary.ready_replicas() < replicas;
    let canary = state.canary().filter(|(canary, replicas)| is_short(canary, *replicas));
    match (version, canary) {
        _ if state.service.deleted => Status::Terminating,
        _ if rollout::returned(state).is_some() => Status::Failed,
        (Some(_), None) if is_whole => Status::Deployed,
        (Some(version), _) if version.failure.is_some() => Status::Failed,
        (_, Some((canary, _))) if canary.failure.is_some() => Status::Failed,
        _ if state.live.is_some() => Status::Updating,
        _ => Status::Deploying,
    }
}

/// Why a service is not deployed, in one sentence.
fn reason(state: &ServiceState, status: Status) -> Option<String> {
    if matches!(status, Status::Deployed | Status::Terminating) {
        return None;
    }
    let wanted = &state.service.version;
    let version = state.wanted_version()?;
    if let Some(told) = rollout::returned(state).or_else(|| rollout::on_trial(state)) {
        return Some(told);
    }
    let is_whole = state.live.as_ref() == Some(wanted) && version.ready_replicas() >= state.service.replicas;
    if let Some((canary, replicas)) = state.canary().filter(|_| is_whole) {
        let role = if state.shadow().is_some() { "shadow" } else { "canary" };
        return Some(format!("{role} {}: {}", canary.version.id, waiting(canary, replicas)));
    }
    let why = waiting(version, state.service.replicas);
    Some(match &state.live {
        Some(live) if live != wanted => format!("version {wanted}: {why}; version {live} keeps serving"),
        _ => why,
    })
}

/// What a version that is to have so many replicas waits for.
fn waiting(version: &VersionState, replicas: u32) -> String {
    let running = version.steps.iter().find(|step| step.state == StepState::Running);
    let replica = version.replicas.values().find_map(|replica| Some((&replica.name, replica.reason.as_ref()?)));
    match (&version.failure, running, replica) {
        (Some(failure), _, _) => failure.clone(),
        (None, Some(step), _) if step.detail.is_empty() => step.name.clone(),
        (None, Some(step), _) => format!("{}: {}", step.name, step.detail),
        (None, None, Some((name, reason))) => format!("replica {name}: {reason}"),
        (None, None, None) => format!("{} of {replicas} replicas are ready", version.ready_replicas()),
    }
}

fn steps(state: &ServiceState, version: &VersionState) -> Vec<StepStatus> {
    let started = started(state, version);
    version.steps.iter().cloned().chain([started, rollout::taking(state, version)]).collect()
}

/// How many of its replicas are ready.
fn started(state: &ServiceState, version: &VersionState) -> StepStatus {
    let is_prepared = matches!(version.preparation, Preparation::Done(_));
    let of_trial = state.canary().filter(|(trial, _)| trial.version.id == version.version.id);
    let (ready, wanted) = (version.ready_replicas(), of_trial.map_or(state.service.replicas, |(_, replicas)| replicas));
    let counted = || format!("{ready} of {wanted} ready");
    let (state, detail) = match &version.failure {
        _ if !is_prepared => (StepState::Pending, counted()),
        _ if ready >= wanted => (StepState::Done, counted()),
        Some(failure) => (StepState::Failed, failure.clone()),
        None if rollout::returned(state).is_some() => (StepState::Done, "stopped again".into()),
        None => (StepState::Running, counted()),
    };
    StepStatus { name: "start the replicas".into(), state, detail }
}

fn replica_statuses(version: &VersionState) -> impl Iterator<Item = ReplicaStatus> {
    version.replicas.values().map(|replica| ReplicaStatus {
        name: replica.name.to_string(),
        version: version.version.id.clone(),
        state: replica.phase.as_str().into(),
        address: replica.address.map(|address| address.to_string()),
        pid: replica.pid,
        restarts: replica.restarts,
        reason: replica.reason.clone(),
    })
}

/// Requests go to the live version, and to the canary or shadow once it has told what it takes.
fn takes_requests(state: &ServiceState, version: &VersionState) -> bool {
    let id = &version.version.id;
    let is_canary = state.share().is_some_and(|canary| canary.version == *id);
    let is_shadow = state.shadow().is_some_and(|shadow| shadow.version == *id);
    state.live.as_ref() == Some(id) || (is_canary || is_shadow) && version.version.contract.is_some()
}

fn version_route(version: &VersionState) -> VersionRoute {
    let address = |replica: &ReplicaState| {
        let address = replica.address.filter(|_| replica.phase == Phase::Ready)?;
        Some(ReplicaAddress { name: replica.name.clone(), address, tls_name: None })
    };
    VersionRoute {
        version: version.version.id.clone(),
        made_at: version.version.created_at.as_microsecond(),
        engine: prepared(version).map_or(Engine::Python, |prepared| prepared.engine),
        contract: version.version.contract.clone(),
        replicas: version.replicas.values().filter_map(address).collect(),
    }
}

fn same_settings(state: &ServiceState) -> Arc<kea_core::Settings> {
    match &state.route {
        Some(before) if *before.settings == state.service.settings => before.settings.clone(),
        _ => Arc::new(state.service.settings.clone()),
    }
}
