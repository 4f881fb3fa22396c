//! What a request makes of the documents of a service: which version, and how it is run.

use kea_core::{
    ServiceId, VersionId, change,
    documents::{DeploymentDocument, ModelDocument},
    management::UpdateRequest,
    port::DeployError,
    shadow::Shadow,
};

use crate::{
    check,
    resources::MlDeployment,
    version::{ModelRecord, VersionRecord},
};

pub(super) fn known_version(id: &ServiceId, version: &VersionId, records: &[VersionRecord]) -> Result<(), DeployError> {
    if records.iter().any(|record| record.version == *version) {
        return Ok(());
    }
    let known = records.iter().map(|record| record.version.clone()).collect();
    Err(DeployError::NoSuchVersion { service: id.clone(), version: version.clone(), known })
}

/// A canary or shadow is the version of the model, or one that has run.
pub(super) fn known_beside(
    id: &ServiceId,
    asked: &UpdateRequest,
    model: &ModelDocument,
    records: &[VersionRecord],
) -> Result<(), DeployError> {
    let canary = asked.canary.as_ref().map(|canary| &canary.version);
    match canary.or(asked.shadow.as_ref().map(|shadow| &shadow.version)) {
        Some(version) if model.version.as_ref() != Some(version) => known_version(id, version, records),
        Some(_) | None => Ok(()),
    }
}

/// What is asked for is checked by the rules of every change before anything is written.
pub(super) fn check_settings(request: &UpdateRequest) -> Result<(), DeployError> {
    change::replicas(request.replicas, 1)?;
    change::canary(request.canary.as_ref())?;
    Shadow::check(request.shadow.as_ref(), request.canary.as_ref(), request.rollout.as_ref())?;
    check::shadow(request.shadow.as_ref())?;
    check::env(request.env.as_ref())?;
    change::one_way_of_taking_over(request.canary.as_ref(), request.rollout.as_ref())?;
    check::versions(request.version.as_ref(), request.canary.as_ref())?;
    change::changed_settings(&mut kea_core::Settings::default(), request)
}

/// Takes over what a change says of how a model is run.
///
/// # Errors
/// It asks for a share by hand beside steps, one of which may have been there before.
pub(super) fn changed_deployment(spec: &mut DeploymentDocument, change: &UpdateRequest) -> Result<(), DeployError> {
    let UpdateRequest {
        replicas,
        env,
        resources,
        cache,
        timeout,
        access,
        load_balancer,
        health,
        limits,
        rate_limit,
        ..
    } = change.clone();
    let UpdateRequest { server, canary, shadow, audit, routes, rollout, validation, .. } = change.clone();
    spec.replicas = replicas.or(spec.replicas);
    spec.env = env.or(spec.env.take());
    spec.resources = resources.or(spec.resources.take());
    spec.audit = audit.or(spec.audit.take());
    spec.cache = cache.or(spec.cache.take());
    spec.timeout = timeout.or(spec.timeout.take());
    spec.access = access.or(spec.access.take());
    spec.load_balancer = load_balancer.or(spec.load_balancer.take());
    spec.health = health.or(spec.health.take());
    spec.limits = limits.or(spec.limits.take());
    spec.rate_limit = rate_limit.or(spec.rate_limit.take());
    spec.server = server.or(spec.server.take());
    spec.routes = routes.or(spec.routes.take());
    spec.validation = validation.or(spec.validation);
    // Whoever says which version is to answer has decided about the one beside it, and there is one at a time.
    let (is_kept, has_canary) = (change.version.is_none(), canary.is_some());
    spec.canary = canary.or(spec.canary.take().filter(|_| is_kept && shadow.is_none()));
    spec.shadow = shadow.or(spec.shadow.take().filter(|_| is_kept && !has_canary));
    spec.rollout = rollout.or(spec.rollout.take());
    Shadow::check(spec.shadow.as_ref(), spec.canary.as_ref(), spec.rollout.as_ref())?;
    change::one_way_of_taking_over(spec.canary.as_ref(), spec.rollout.as_ref())
}

/// The version that the MLModel describes, where it does not say so: the one that was wanted last.
pub(super) fn latest(deployment: &MlDeployment) -> Option<VersionId> {
    deployment.status.as_ref()?.version.clone()
}

/// The version that a changed model gets: that of before where it is the same model.
pub(super) fn next_version(
    id: &ServiceId,
    asked: Option<&VersionId>,
    model: &ModelDocument,
    before: &ModelDocument,
    records: &[VersionRecord],
) -> Result<VersionId, DeployError> {
    let (model, of_before) = (ModelRecord::of(model), ModelRecord::of(before));
    // What has run comes first: the document of before may contradict it.
    let versions = records.iter().map(|record| (&record.version, &record.model));
    let taken: Vec<_> = versions.chain(before.version.as_ref().map(|version| (version, &of_before))).collect();
    match (asked, &before.version) {
        (Some(asked), _) => match taken.iter().find(|(version, _)| *version == asked) {
            Some((_, other)) if **other != model => Err(DeployError::Conflict(format!(
                "version `{asked}` of `{id}` exists with another model: leave `version` out to get the next one"
            ))),
            _ => Ok(asked.clone()),
        },
        (None, Some(version)) if of_before == model => Ok(version.clone()),
        (None, _) => {
            let names: Vec<VersionId> = taken.iter().map(|(version, _)| (*version).clone()).collect();
            Ok(change::new_version(None, names.last(), &names))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::{Value, json};

    use super::*;

    const ONE: &str = "s3://models/1.onnx";
    const TWO: &str = "s3://models/2.onnx";

    fn model(source: &str, version: Value) -> ModelDocument {
        serde_json::from_value(json!({"source": source, "version": version})).unwrap()
    }

    fn record(version: &str, source: &str) -> VersionRecord {
        VersionRecord {
            version: version.parse().unwrap(),
            model: ModelRecord::of(&model(source, Value::Null)),
            image: None,
            replica: None,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            replicas: 0,
            deployment: Arc::new(Deployment::default()),
        }
    }

    /// The version of a request with `source`, where `before` is the document and versions 1 and 2 have run.
    fn version(asked: Option<&str>, source: &str, before: &ModelDocument) -> Result<String, DeployError> {
        let asked = asked.map(|asked| asked.parse().unwrap());
        let records = [record("1", ONE), record("2", TWO)];
        let next =
            next_version(&"iris".parse().unwrap(), asked.as_ref(), &model(source, Value::Null), before, &records);
        next.map(|version| version.to_string())
    }

    #[test]
    fn a_version_of_the_same_model_is_taken_again_and_one_of_another_is_a_conflict() {
        let two = model(TWO, json!("2"));
        assert_eq!(version(Some("2"), TWO, &two).unwrap(), "2");
        assert_eq!(version(Some("1"), ONE, &two).unwrap(), "1");
        for (asked, source) in [("1", TWO), ("2", ONE), ("2", "s3://models/3.onnx")] {
            assert!(matches!(version(Some(asked), source, &two), Err(DeployError::Conflict(_))), "{asked} {source}");
        }
        // The document's own version need not have run.
        let three = model("s3://models/3.onnx", json!("3"));
        assert_eq!(version(Some("3"), "s3://models/3.onnx", &three).unwrap(), "3");
        assert!(matches!(version(Some("3"), ONE, &three), Err(DeployError::Conflict(_))));
    }

    #[test]
    fn a_new_model_is_the_next_version() {
        let two = model(TWO, json!("2"));
        assert_eq!(version(None, TWO, &two).unwrap(), "2");
        assert_eq!(version(None, "s3://models/3.onnx", &two).unwrap(), "3");
        assert_eq!(version(Some("beta"), "s3://models/3.onnx", &two).unwrap(), "beta");
    }

    #[test]
    fn a_shadow_and_steps_exclude_each_other_whichever_was_there_before() {
        let rollout = || json!({"steps": [{"weight": 10}]});
        let shadow = || json!({"version": "2"});
        let refused = |before: Value, asked: Value| {
            let mut spec: DeploymentDocument = serde_json::from_value(before).unwrap();
            let asked: UpdateRequest = serde_json::from_value(asked).unwrap();
            changed_deployment(&mut spec, &asked).is_err()
        };
        assert!(refused(json!({"rollout": rollout()}), json!({"shadow": shadow()})));
        assert!(refused(json!({"shadow": shadow()}), json!({"rollout": rollout()})));
        assert!(refused(json!({"rollout": rollout()}), json!({"canary": {"version": "2", "weight": 10}})));
        assert!(!refused(json!({"rollout": rollout()}), json!({"shadow": shadow(), "rollout": {}})));
        assert!(!refused(json!({"shadow": shadow()}), json!({"version": "1", "rollout": rollout()})), "it ends");
    }
}
