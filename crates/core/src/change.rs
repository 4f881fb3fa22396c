//! What a request changes of a service, checked: the same rules on one machine and in a cluster.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    ServiceId, Settings, VersionId,
    balancing::LoadBalancing,
    management::{DeployRequest, UpdateRequest},
    own_route,
    port::DeployError,
    resilience::{HealthSettings, LimitSettings, check_rate_limits},
    rollout::RolloutRules,
    service::{Access, Canary, PayloadRules, ServerSettings, is_label},
};

/// As many replicas as anyone runs; more is a slip of the keyboard.
const REPLICAS_MAX: u32 = 1000;

/// The shortest time for which a record is kept: what is due is looked for as often.
const SHORTEST_KEEP: Duration = Duration::from_secs(60);

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
    let DeployRequest {
        cache,
        timeout,
        access,
        labels,
        load_balancer,
        health,
        limits,
        rate_limit,
        server,
        audit,
        routes,
        rollout,
        validation,
        ..
    } = request.clone();
    let change = UpdateRequest {
        cache,
        timeout,
        access,
        labels,
        load_balancer,
        health,
        limits,
        rate_limit,
        server,
        audit,
        routes,
        rollout,
        validation,
        ..UpdateRequest::default()
    };
    changed_settings(settings, &change)
}

/// Takes over what an update says of settings.
pub fn changed_settings(settings: &mut Settings, change: &UpdateRequest) -> Result<(), DeployError> {
    let UpdateRequest {
        cache,
        timeout,
        access,
        labels,
        load_balancer,
        health,
        limits,
        rate_limit,
        server,
        audit,
        routes,
        rollout,
        validation,
        ..
    } = change.clone();
    if timeout.is_some_and(|timeout| timeout.0.is_zero()) {
        return Err(invalid("/timeout", "a timeout of 0 answers nothing: give for example `5s`"));
    }
    if let Some(cache) = &cache {
        cache.check()?;
    }
    own_route::check(routes.as_deref().unwrap_or_default())?;
    if let Some(server) = &server {
        check_server(server)?;
    }
    access.as_ref().map_or(Ok(()), check_access)?;
    labels.as_ref().map_or(Ok(()), check_labels)?;
    if let Some(audit) = &audit {
        check_payload(&audit.payload)?;
        if audit.keep.is_some_and(|keep| keep.0 < SHORTEST_KEEP) {
            let detail =
                "a record is kept for a minute at least: give for example `720h`, or `calls: none` for no records";
            return Err(invalid("/audit/keep", detail));
        }
    }
    load_balancer.as_ref().map_or(Ok(()), LoadBalancing::check)?;
    health.as_ref().map_or(Ok(()), HealthSettings::check)?;
    limits.as_ref().map_or(Ok(()), LimitSettings::check)?;
    check_rate_limits(rate_limit.as_deref().unwrap_or_default())?;
    if let Some(rollout) = &rollout {
        rollout.check()?;
    }
    settings.rollout = rollout.unwrap_or_else(|| settings.rollout.clone());
    settings.audit = audit.unwrap_or_else(|| settings.audit.clone());
    settings.cache = cache.unwrap_or_else(|| settings.cache.clone());
    settings.timeout = timeout.or(settings.timeout);
    settings.access = access.unwrap_or_else(|| settings.access.clone());
    settings.labels = labels.unwrap_or_else(|| settings.labels.clone());
    settings.load_balancer = load_balancer.map(LoadBalancing::normalized).or(settings.load_balancer.take());
    settings.health = health.unwrap_or_else(|| settings.health.clone());
    settings.limits = limits.unwrap_or_else(|| settings.limits.clone());
    settings.rate_limit = rate_limit.unwrap_or_else(|| std::mem::take(&mut settings.rate_limit));
    settings.routes = routes.unwrap_or_else(|| std::mem::take(&mut settings.routes));
    settings.server = server.unwrap_or_else(|| settings.server.clone());
    settings.validation = validation.unwrap_or(settings.validation);
    Ok(())
}

fn check_payload(PayloadRules { sample, max_bytes, mask }: &PayloadRules) -> Result<(), DeployError> {
    if !(0.0..=1.0).contains(sample) {
        return Err(invalid("/audit/payload/sample", "it is a share of the calls: give for example 0.1, or 1 for all"));
    }
    if max_bytes.is_some_and(|most| most.bytes > PayloadRules::MAX_BYTES) {
        return Err(invalid("/audit/payload/maxBytes", "at most `64Ki` of a body are kept"));
    }
    if mask.len() > PayloadRules::MASKS {
        return Err(invalid("/audit/payload/mask", format!("there are at most {} masks", PayloadRules::MASKS)));
    }
    match mask.iter().position(|pointer| !pointer.starts_with('/')) {
        Some(index) => Err(invalid(
            &format!("/audit/payload/mask/{index}"),
            "a mask is a JSON pointer from the body's root: write for example `/inputs/ssn` or `/predictions/*/name`",
        )),
        None => Ok(()),
    }
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

/// Whoever sets a share by hand does not let it rise by itself.
pub fn one_way_of_taking_over(canary: Option<&Canary>, rollout: Option<&RolloutRules>) -> Result<(), DeployError> {
    match (canary, rollout) {
        (Some(_), Some(rules)) if rules.is_asked() => Err(invalid(
            "/canary",
            "`rollout` sets the share of a new version by itself, `canary` sets it by hand: keep one of the two",
        )),
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

/// Whoever names roles does not mean everybody.
fn check_access(access: &Access) -> Result<(), DeployError> {
    let both = |pointer: &str| {
        let detail = "`public` lets everybody call, `roles` only some: keep one of the two";
        Err(invalid(pointer, detail))
    };
    if access.public && !access.roles.is_empty() {
        return both("/access/roles");
    }
    let function = access.functions.iter().find(|(_, of)| of.public == Some(true) && !of.roles.is_empty());
    function.map_or(Ok(()), |(name, _)| both(&format!("/access/functions/{name}/roles")))
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), DeployError> {
    let wrong = labels.iter().find(|(name, value)| !is_label(name, value));
    wrong.map_or(Ok(()), |(name, value)| {
        Err(invalid("/labels", format!("`{name}={value}` is no label of Kubernetes: write for example `team=risk`")))
    })
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Where the change is refused.
    fn pointer(change: Value) -> Option<String> {
        let change = serde_json::from_value(change).unwrap();
        match changed_settings(&mut Settings::default(), &change) {
            Ok(()) => None,
            Err(DeployError::Invalid { pointer, .. }) => Some(pointer),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn nobody_is_named_where_everybody_may() {
        let access = |access: Value| pointer(json!({"access": access}));
        assert_eq!(access(json!({"public": true})), None);
        assert_eq!(access(json!({"roles": ["a"], "functions": {"f": {"public": true}}})), None);
        assert_eq!(access(json!({"public": true, "functions": {"f": {"roles": ["a"]}}})), None);
        assert_eq!(access(json!({"public": true, "roles": ["a"]})).as_deref(), Some("/access/roles"));
        let both = access(json!({"functions": {"f": {"public": true, "roles": ["a"]}}}));
        assert_eq!(both.as_deref(), Some("/access/functions/f/roles"));
    }

    #[test]
    fn labels_are_those_that_kubernetes_takes() {
        let label = |name: &str, value: &str| pointer(json!({"labels": {name: value}}));
        for (name, value) in [("team", "risk"), ("example.org/team", ""), ("a_b.c-d", "V1.0")] {
            assert_eq!(label(name, value), None, "{name}={value}");
        }
        for (name, value) in
            [("", "a"), ("a b", "c"), ("-a", "b"), ("a/b/c", "d"), ("a", "b c"), ("a", "-"), ("/a", "b")]
        {
            assert_eq!(label(name, value).as_deref(), Some("/labels"), "{name}={value}");
        }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let mut settings = Settings::default();
        let mut change = |change: Value| {
            changed_settings(&mut settings, &serde_json::from_value(change).unwrap()).unwrap();
            (settings.labels.len(), settings.access.roles.len())
        };
        assert_eq!(change(json!({"labels": {"a": "b"}, "access": {"roles": ["r"]}})), (1, 1));
        assert_eq!(change(json!({"replicas": 2})), (1, 1));
        assert_eq!(change(json!({"labels": {}})), (0, 1));
        assert_eq!(change(json!({"access": {}})), (0, 0));
    }
}
