//! Load balancing of a service: which replicas take its requests, and by which rule. Every service has one: round robin
//! over all replicas until another is asked for, and again once that is deleted.

use axum::{Json, extract::State};
use http::StatusCode;
use kea_core::{
    management::{
        LoadBalancerConfig, LoadBalancerDetails, LoadBalancerInfo, LoadBalancerResponse, LoadBalancerStatus,
        ReplicaStatus, ServiceDetails, Violation,
    },
    policy::Verb,
    service::LoadBalancing,
};
use kea_http::ApiError;

use crate::{ApiState, audit::Recorded, errors, extract::ServiceName, guard::Session, payload::Payload, permissions};

/// `POST /router/loadbalancer`
pub(crate) async fn configure(
    State(state): State<ApiState>,
    Recorded(record): Recorded,
    Session(caller): Session,
    Payload(config): Payload<LoadBalancerConfig>,
) -> Result<(StatusCode, Json<LoadBalancerResponse>), ApiError> {
    let LoadBalancerConfig { service_id, algorithm, replicas } = config;
    record.service(service_id.as_str());
    permissions::check_service(&state, &caller, Verb::Balance, service_id.as_str())?;
    let details = state.deployer.get(&service_id).ok_or_else(|| errors::no_service(service_id.as_str()))?;
    let replicas = names(&replicas, &details.replica_statuses)?;
    let status = if details.settings.load_balancer.is_none() {
        LoadBalancerStatus::Created
    } else {
        LoadBalancerStatus::Updated
    };
    let rule = LoadBalancing { algorithm, replicas };
    let message = message(&rule);
    state.deployer.balance(&service_id, Some(rule)).await.map_err(errors::of_deployer)?;
    Ok((StatusCode::CREATED, Json(LoadBalancerResponse { service_id, status, message })))
}

/// Replicas by their names, whatever the caller called them: an address is another one after each start.
fn names(asked: &[String], known: &[ReplicaStatus]) -> Result<Vec<String>, ApiError> {
    let find = |text: &String| known.iter().find(|one| one.name == *text || one.address.as_ref() == Some(text));
    let unknown = |(index, text): (usize, &String)| Violation {
        pointer: format!("/replicas/{index}"),
        expected: one_of(known),
        received: format!("`{text}`"),
        detail: format!("the service has no replica `{text}`"),
    };
    let violations: Vec<_> = asked.iter().enumerate().filter(|(_, text)| find(text).is_none()).map(unknown).collect();
    if !violations.is_empty() {
        return Err(errors::invalid(violations));
    }
    let mut names: Vec<String> = Vec::new();
    for replica in asked.iter().filter_map(find) {
        if !names.contains(&replica.name) {
            names.push(replica.name.clone());
        }
    }
    Ok(names)
}

fn one_of(known: &[ReplicaStatus]) -> String {
    let names: Vec<_> = known.iter().map(|one| format!("`{}`", one.name)).collect();
    if names.is_empty() { "no replica, as there is none yet".into() } else { format!("one of {}", names.join(", ")) }
}

fn message(rule: &LoadBalancing) -> String {
    let algorithm = word(rule);
    match rule.replicas.as_slice() {
        [] => format!("requests are spread over all replicas by {algorithm}"),
        names => format!("requests are spread over {} by {algorithm}", names.join(", ")),
    }
}

fn word(rule: &LoadBalancing) -> &'static str {
    use kea_core::service::Algorithm::{IpHash, LeastConnections, RoundRobin};
    match rule.algorithm {
        RoundRobin => "round_robin",
        LeastConnections => "least_connections",
        IpHash => "ip_hash",
    }
}

/// `GET /router/loadbalancer`
pub(crate) async fn list(
    State(state): State<ApiState>,
    Session(caller): Session,
) -> Result<Json<Vec<LoadBalancerInfo>>, ApiError> {
    let info = |details: ServiceDetails| LoadBalancerInfo {
        algorithm: details.settings.algorithm(),
        replicas: in_use(&details),
        service_id: details.service_id,
    };
    Ok(Json(permissions::seen(&state, &caller)?.into_iter().map(info).collect()))
}

/// `GET /router/loadbalancer/{serviceId}`
pub(crate) async fn get(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
) -> Result<Json<LoadBalancerDetails>, ApiError> {
    let details = state.deployer.get(&id).ok_or_else(|| errors::no_service(id.as_str()))?;
    let replicas = in_use(&details);
    let active = state.gateway.active_replicas(&id);
    Ok(Json(LoadBalancerDetails {
        algorithm: details.settings.algorithm(),
        active_replica_count: active.iter().filter(|name| replicas.contains(name)).count(),
        service_id: id,
        replicas,
    }))
}

/// The replicas that are configured, or all of them.
fn in_use(details: &ServiceDetails) -> Vec<String> {
    let configured = details.settings.chosen_replicas();
    if configured.is_empty() {
        details.replica_statuses.iter().map(|replica| replica.name.clone()).collect()
    } else {
        configured.to_vec()
    }
}

/// `DELETE /router/loadbalancer/{serviceId}`
pub(crate) async fn reset(State(state): State<ApiState>, ServiceName(id): ServiceName) -> Result<StatusCode, ApiError> {
    state.deployer.balance(&id, None).await.map(|()| StatusCode::NO_CONTENT).map_err(errors::of_deployer)
}
