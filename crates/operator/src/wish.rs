//! What is asked for, checked: the pure step between reading and doing.

use kea_core::{
    Settings, VersionId, change,
    documents::{self, DeploymentDocument, ModelDocument, PodSettings},
    management::DeployRequest,
    port::DeployError,
};

use crate::{
    resources::{MlDeployment, MlModel},
    version::{ModelRecord, VersionRecord},
};

/// What is asked for of one service.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) model_name: String,
    pub(crate) version: VersionId,
    pub(crate) model: ModelRecord,
    pub(crate) replicas: u32,
    pub(crate) settings: Settings,
    pub(crate) request: DeployRequest,
    pub(crate) pod: PodSettings,
    pub(crate) paused: bool,
}

/// Why what is asked for cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// A word for programs.
    pub(crate) reason: &'static str,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl Refusal {
    fn invalid(message: impl Into<String>) -> Self {
        Self { reason: "Invalid", message: message.into() }
    }

    /// What Kubernetes says, under its own word where that is one that conditions know.
    pub(crate) fn of_kubernetes(reason: &str, message: String) -> Self {
        let known = [
            "CrashLoopBackOff",
            "CreateContainerConfigError",
            "CreateContainerError",
            "Evicted",
            "ImagePull",
            "NotReady",
            "OOMKilled",
            "Progressing",
            "ReplicaFailure",
            "RunContainerError",
            "Unschedulable",
        ];
        let reason = known.into_iter().find(|known| *known == reason).unwrap_or("PodFailed");
        Self { reason, message }
    }
}

/// What `deployment` asks for, given its model and the versions that there are.
///
/// # Errors
/// What cannot be read, contradicts itself or conflicts with a version that exists.
pub(crate) fn wish(
    deployment: &MlDeployment,
    model: Option<&MlModel>,
    records: &[VersionRecord],
) -> Result<Wish, Refusal> {
    let spec = deployment.document().map_err(|why| Refusal::invalid(format!("its `spec`: {why}")))?;
    let model_object = spec.model_name.clone().unwrap_or_else(|| deployment.name().into());
    let model = model.ok_or_else(|| Refusal {
        reason: "NoModel",
        message: format!(
            "there is no MLModel `{model_object}` in the namespace: apply it, or name another in `modelName`"
        ),
    })?;
    let of_model = model.document().map_err(|why| Refusal::invalid(format!("MLModel `{model_object}`: {why}")))?;
    let DeploymentDocument { pod, paused, .. } = spec.clone();
    let ModelDocument { port, version: model_version, .. } = of_model.clone();
    let pinned = spec.version.clone();
    let request = documents::request(&model_object, of_model, deployment.name(), spec)
        .map_err(|error| Refusal::invalid(error.to_string()))?;
    let record = ModelRecord {
        source: request.source_code.clone(),
        framework: request.framework,
        requirements: request.requirements.clone().unwrap_or_default(),
        command: request.command.clone().unwrap_or_default(),
        image: request.container_image.clone(),
        port,
    };
    check(&record)?;
    let (version, model) = version(&model_object, record, pinned, model_version, records)?;
    let mut settings = Settings::default();
    change::settings(&mut settings, &request).map_err(refused)?;
    Ok(Wish {
        model_name: request.model_name.clone(),
        version,
        model,
        replicas: change::replicas(request.replicas, 1).map_err(refused)?,
        settings,
        request,
        pod: pod.unwrap_or_default(),
        paused: paused.unwrap_or_default(),
    })
}

fn refused(error: DeployError) -> Refusal {
    match error {
        DeployError::Invalid { pointer, detail } => {
            Refusal::invalid(format!("`spec{}`: {detail}", pointer.replace('/', ".")))
        }
        other => Refusal::invalid(other.to_string()),
    }
}

/// A cluster reads URLs and images, never a path of somebody's machine.
fn check(model: &ModelRecord) -> Result<(), Refusal> {
    if model.source.is_none() && model.image.is_none() {
        return Err(Refusal::invalid("its MLModel names neither a `source` nor an `image`: give one of them"));
    }
    if model.source.is_some() && model.image.is_some() {
        return Err(Refusal::invalid(
            "its MLModel names a `source` and an `image`, which exclude each other: keep one",
        ));
    }
    let path = model.source.as_deref().filter(|source| !source.contains("://") && !source.starts_with("git+"));
    path.map_or(Ok(()), |path| {
        Err(Refusal::invalid(format!(
            "`source: {path}` is a path, which a cluster cannot read: give a URL (`s3://…`, `https://…`, `git+https://…`, \
             `oci://…`), or build the image with `kea build` and name it as `image`"
        )))
    })
}

/// The version that is asked for, and its model.
fn version(
    object: &str,
    model: ModelRecord,
    pinned: Option<VersionId>,
    of_model: Option<VersionId>,
    records: &[VersionRecord],
) -> Result<(VersionId, ModelRecord), Refusal> {
    let known = |version: &VersionId| records.iter().find(|record| record.version == *version);
    let conflict = |version: &VersionId| Refusal {
        reason: "VersionConflict",
        message: format!(
            "version `{version}` exists with another model: give the changed MLModel `{object}` another `version`; to let \
             an earlier one answer, name that in the MLDeployment"
        ),
    };
    match (pinned, of_model) {
        // Another version than the MLModel's: one that has run, to which a rollback returns.
        (Some(pinned), Some(of_model)) if pinned != of_model => match known(&pinned) {
            Some(record) => Ok((pinned, record.model.clone())),
            None => Err(Refusal {
                reason: "NoVersion",
                message: format!(
                    "it asks for version `{pinned}`, but MLModel `{object}` is version `{of_model}`, and no version \
                     `{pinned}` has run: change one of the two"
                ),
            }),
        },
        (Some(version), _) | (None, Some(version)) => match known(&version) {
            Some(record) if record.model != model => Err(conflict(&version)),
            _ => Ok((version, model)),
        },
        (None, None) => {
            let same = records.iter().filter(|record| record.model == model).max_by_key(|record| record.created_at);
            let latest = records.iter().max_by_key(|record| record.created_at).map(|record| &record.version);
            let taken: Vec<VersionId> = records.iter().map(|record| record.version.clone()).collect();
            let version = same.map(|record| record.version.clone());
            Ok((version.unwrap_or_else(|| change::new_version(None, latest, &taken)), model))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::{Value, json};

    use super::*;

    fn deployment(spec: Value) -> MlDeployment {
        serde_json::from_value(json!({"metadata": {"name": "iris", "namespace": "team"}, "spec": spec})).unwrap()
    }

    fn model(spec: Value) -> MlModel {
        serde_json::from_value(json!({"metadata": {"name": "iris", "namespace": "team"}, "spec": spec})).unwrap()
    }

    fn record(version: &str, source: &str, age: i64) -> VersionRecord {
        VersionRecord {
            version: version.parse().unwrap(),
            model: ModelRecord { source: Some(source.into()), ..ModelRecord::default() },
            image: None,
            replica: None,
            created_at: jiff::Timestamp::from_second(1_000_000 - age).unwrap(),
            replicas: 1,
            deployment: Arc::new(Deployment::default()),
        }
    }

    fn version_of(deployment_spec: Value, model_spec: Value, records: &[VersionRecord]) -> Result<String, String> {
        let wished = wish(&deployment(deployment_spec), Some(&model(model_spec)), records);
        wished
            .map(|wish| wish.version.to_string())
            .map_err(|refusal| format!("{}: {}", refusal.reason, refusal.message))
    }

    #[test]
    fn versions_count_up_with_the_model_where_nobody_names_them() {
        let v1 = "s3://models/1.onnx";
        assert_eq!(version_of(json!({}), json!({"source": v1}), &[]).unwrap(), "1");
        assert_eq!(version_of(json!({}), json!({"source": v1}), &[record("1", v1, 9)]).unwrap(), "1");
        assert_eq!(version_of(json!({}), json!({"source": "s3://models/2.onnx"}), &[record("1", v1, 9)]).unwrap(), "2");
        // The model of before is the version of before.
        let both = [record("1", v1, 9), record("2", "s3://models/2.onnx", 1)];
        assert_eq!(version_of(json!({}), json!({"source": v1}), &both).unwrap(), "1");
    }

    #[test]
    fn another_model_under_the_same_version_is_a_conflict() {
        let records = [record("1", "s3://models/1.onnx", 9)];
        let changed = json!({"source": "s3://models/other.onnx", "version": "1"});
        assert!(
            version_of(json!({}), changed, &records).unwrap_err().starts_with("VersionConflict: version `1` exists")
        );
    }

    #[test]
    fn a_version_that_has_run_can_be_returned_to() {
        let records = [record("1", "s3://models/1.onnx", 9)];
        let two = json!({"source": "s3://models/2.onnx", "version": "2"});
        assert_eq!(version_of(json!({"version": "1"}), two.clone(), &records).unwrap(), "1");
        assert!(version_of(json!({"version": "7"}), two, &records).unwrap_err().starts_with("NoVersion"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_do() {
        let refused = |deployment, model| version_of(deployment, model, &[]).unwrap_err();
        assert!(refused(json!({}), json!({})).contains("neither a `source` nor an `image`"));
        assert!(refused(json!({}), json!({"source": "./iris.joblib"})).contains("a path, which a cluster cannot read"));
        assert!(refused(json!({"canary": {}}), json!({"image": "x"})).contains("`canary` is not supported yet"));
        assert!(refused(json!({"timeout": "0s"}), json!({"image": "x"})).contains("`spec.timeout`"));
        assert!(refused(json!({"relicas": 2}), json!({"image": "x"})).contains("unknown field `relicas`"));
        let no_model = wish(&deployment(json!({"modelName": "other"})), None, &[]).unwrap_err();
        assert!(no_model.message.contains("no MLModel `other`"));
    }
}
