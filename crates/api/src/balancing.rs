//! Load balancing of a service: which replicas take its requests, by which rule, and with which shares. Every service
//! has one: `peak_ewma` over all replicas until another is asked for, and again once that is deleted.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use http::StatusCode;
use kea_core::{
    balancing::{Algorithm, ExternalAddress, LoadBalancing, check_weights, looks_external},
    management::{
        LoadBalancerConfig, LoadBalancerDetails, LoadBalancerInfo, LoadBalancerResponse, LoadBalancerStatus,
        ReplicaStatus, ServiceDetails, Violation,
    },
    policy::Verb,
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
    let LoadBalancerConfig { service_id, algorithm, replicas, weights, sticky } = config;
    record.service(service_id.as_str());
    permissions::check_service(&state, &caller, Verb::Balance, service_id.as_str())?;
    let details = state.deployer.get(&service_id).ok_or_else(|| errors::no_service(service_id.as_str()))?;
    let replicas = names(&replicas, &details.replica_statuses)?;
    let status = if details.settings.load_balancer.is_none() {
        LoadBalancerStatus::Created
    } else {
        LoadBalancerStatus::Updated
    };
    let weights = shares(&weights, &replicas, &details.replica_statuses)?;
    let rule = LoadBalancing { algorithm: Some(algorithm), replicas, weights, sticky };
    let message = message(&rule, algorithm);
    state.deployer.balance(&service_id, Some(rule)).await.map_err(errors::of_deployer)?;
    Ok((StatusCode::CREATED, Json(LoadBalancerResponse { service_id, status, message })))
}

/// Replicas by their names, whatever the caller called them: an address is another one after each start. An address that
/// no replica of the service has is that of one elsewhere.
fn names(asked: &[String], known: &[ReplicaStatus]) -> Result<Vec<String>, ApiError> {
    let (mut names, mut violations): (Vec<String>, Vec<Violation>) = Default::default();
    for (index, text) in asked.iter().enumerate() {
        match name(text, known) {
            Ok(name) if names.contains(&name) => {}
            Ok(name) => names.push(name),
            Err(detail) => violations.push(Violation {
                pointer: format!("/replicas/{index}"),
                expected: format!("{}, or the address of another, as `host:port`", one_of(known)),
                received: format!("`{text}`"),
                detail,
            }),
        }
    }
    if violations.is_empty() { Ok(names) } else { Err(errors::invalid(violations)) }
}

/// What a replica is called by the router: one of the service's by its name, one elsewhere by its address.
fn name(text: &str, known: &[ReplicaStatus]) -> Result<String, String> {
    let own = known.iter().find(|one| one.name == text || one.address.as_deref() == Some(text));
    match own {
        Some(own) => Ok(own.name.clone()),
        None if looks_external(text) => {
            text.parse::<ExternalAddress>().map(|address| address.to_string()).map_err(|error| error.to_string())
        }
        None => Err(format!("the service has no replica `{text}`")),
    }
}

/// Shares by replica, or by version, of those that there are; one elsewhere is named as in `replicas`.
fn shares(
    asked: &BTreeMap<String, u8>,
    replicas: &[String],
    known: &[ReplicaStatus],
) -> Result<BTreeMap<String, u8>, ApiError> {
    check_weights(asked).map_err(|why| errors::invalid(vec![of_weights("", "100 together", &why)]))?;
    let is_version = |text: &str| known.iter().any(|one| one.version.as_str() == text);
    if asked.keys().all(|text| is_version(text)) {
        return Ok(asked.clone());
    }
    let mut shares = BTreeMap::new();
    let mut violations = Vec::new();
    for (text, weight) in asked {
        match name(text, known).ok().filter(|name| !looks_external(name) || replicas.contains(name)) {
            Some(name) => *shares.entry(name).or_default() += weight,
            None => {
                let expected = format!("{}, an address of `replicas`, or versions alone", one_of(known));
                let why = format!("`{text}` is neither a replica of the service nor one of its running versions");
                violations.push(of_weights(text, &expected, &why));
            }
        }
    }
    if violations.is_empty() { Ok(shares) } else { Err(errors::invalid(violations)) }
}

fn of_weights(name: &str, expected: &str, detail: &str) -> Violation {
    let escaped = name.replace('~', "~0").replace('/', "~1");
    let pointer = if name.is_empty() { "/weights".into() } else { format!("/weights/{escaped}") };
    Violation { pointer, expected: expected.into(), received: format!("`{name}`"), detail: detail.into() }
}

fn one_of(known: &[ReplicaStatus]) -> String {
    let names: Vec<_> = known.iter().map(|one| format!("`{}`", one.name)).collect();
    if names.is_empty() { "no replica, as there is none yet".into() } else { format!("one of {}", names.join(", ")) }
}

fn message(rule: &LoadBalancing, algorithm: Algorithm) -> String {
    let who = if rule.replicas.is_empty() { "all replicas".into() } else { rule.replicas.join(", ") };
    let shares: Vec<_> = rule.weights.iter().map(|(name, weight)| format!("{name} gets {weight} %")).collect();
    let shares = if shares.is_empty() { String::new() } else { format!("; {}", shares.join(", ")) };
    format!("requests are spread over {who} by {}{shares}", algorithm.as_str())
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
