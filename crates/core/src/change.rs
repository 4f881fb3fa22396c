//! What a request changes of a service, checked: the same rules on one machine and in a cluster.

use crate::{
    ServiceId, Settings, VersionId,
    management::{DeployRequest, UpdateRequest},
    port::DeployError,
    service::{Canary, ServerSettings},
};

/// As many replicas as anyone runs; more is a slip of the keyboard.
const REPLICAS_MAX: u32 = 1000;

/// A request that cannot be met: the JSON pointer to its field, and what to do.
pub fn invalid(pointer: &str, detail: impl Into<String>) -> DeployError {
    DeployError::Invalid { pointer: pointer.into(), detail: detail.into() }
}

/// The service's name: the one given, or one made of the model's.
pub fn service_id(request: &DeployRequest) -> Result<ServiceId, DeployError> {
    match &request.service_id {
        Some(id) => Ok(id.clone()),
        None => ServiceId::derive(&request.model_name)
            .map_err(|error| invalid("/modelName", format!("{error}; or give a `serviceId`"))),
    }
}

/// Takes over what a deploy request says of settings.
pub fn settings(settings: &mut Settings, request: &DeployRequest) -> Result<(), DeployError> {
    let DeployRequest { cache, timeout, access, load_balancer, server, .. } = request.clone();
    let change = UpdateRequest { cache, timeout, access, load_balancer, server, ..UpdateRequest::default() };
    changed_settings(settings, &change)
}

/// Takes over what an update says of settings.
pub fn changed_settings(settings: &mut Settings, change: &UpdateRequest) -> Result<(), DeployError> {
    let UpdateRequest { cache, timeout, access, load_balancer, server, .. } = change.clone();
    if timeout.is_some_and(|timeout| timeout.0.is_zero()) {
        return Err(invalid("/timeout", "a timeout of 0 answers nothing: give for example `5s`"));
    }
    if let Some(cache) = &cache {
        cache.check()?;
    }
    if let Some(server) = &server {
        check_server(server)?;
    }
    settings.cache = cache.unwrap_or_else(|| settings.cache.clone());
    settings.timeout = timeout.or(settings.timeout);
    settings.access = access.unwrap_or_else(|| settings.access.clone());
    settings.load_balancer = load_balancer.or(settings.load_balancer.take());
    settings.server = server.unwrap_or_else(|| settings.server.clone());
    Ok(())
}

/// A share of the requests is one.
pub fn canary(asked: Option<&Canary>) -> Result<(), DeployError> {
    match asked {
        Some(canary) if canary.weight > 100 => {
            Err(invalid("/canary/weight", "the weight is the canary's share of the requests in percent: 0 to 100"))
        }
        _ => Ok(()),
    }
}

/// How many replicas are asked for.
pub fn replicas(asked: Option<u32>, otherwise: u32) -> Result<u32, DeployError> {
    match asked {
        Some(replicas) if replicas > REPLICAS_MAX => {
            Err(invalid("/replicas", format!("{replicas} replicas are too many: at most {REPLICAS_MAX}")))
        }
        asked => Ok(asked.unwrap_or(otherwise)),
    }
}

/// The version that a new model gets: the one asked for, or the number that follows `current` and is not `taken`.
pub fn new_version(asked: Option<&VersionId>, current: Option<&VersionId>, taken: &[VersionId]) -> VersionId {
    match (asked, current) {
        (Some(version), _) => version.clone(),
        (None, Some(current)) => current.successor(taken),
        (None, None) => VersionId::first(),
    }
}

fn check_server(server: &ServerSettings) -> Result<(), DeployError> {
    let fields = [
        ("workers", server.workers, 64),
        ("maxBatchRows", server.max_batch_rows, 65_536),
        ("queueLimit", server.queue_limit, 1_000_000),
    ];
    let outside = fields.iter().find(|(_, value, most)| value.is_some_and(|value| value == 0 || value > *most));
    outside.map_or(Ok(()), |(name, _, most)| {
        Err(invalid(&format!("/server/{name}"), format!("`{name}` is from 1 to {most}")))
    })
}
