//! What is asked for, checked: the pure step between reading and doing.

use kea_core::{
    Settings, VersionId, change,
    documents::{self, DeploymentDocument, ModelDocument, PodSettings},
    management::DeployRequest,
    port::DeployError,
    service::{Autoscaling, Canary},
    shadow::Shadow,
};

use crate::{
    check::{self, Fault},
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
    pub(crate) canary: Option<CanaryWish>,
    pub(crate) autoscaling: Option<Autoscaling>,
    /// Whether the version is an earlier one that the MLDeployment names, which takes over at once.
    pub(crate) is_named: bool,
}

/// The version that is to run beside the one that answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CanaryWish {
    pub(crate) version: VersionId,
    pub(crate) model: ModelRecord,
    pub(crate) role: Role,
}

/// What it gets of the requests: a share, or copies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Role {
    Canary(Canary),
    Shadow(Shadow),
}

impl Role {
    fn version(&self) -> &VersionId {
        match self {
            Self::Canary(canary) => &canary.version,
            Self::Shadow(shadow) => &shadow.version,
        }
    }

    fn replicas(&self, replicas: u32) -> u32 {
        match self {
            Self::Canary(canary) => canary.replicas(replicas),
            Self::Shadow(shadow) => shadow.replicas(replicas),
        }
    }

    /// The word of the documents.
    fn name(&self) -> &'static str {
        match self {
            Self::Canary(_) => "canary",
            Self::Shadow(_) => "shadow",
        }
    }
}

impl Wish {
    /// What is asked for of the canary or shadow: the same but for its version, with replicas for its share.
    pub(crate) fn of_canary(&self) -> Option<Self> {
        let CanaryWish { version, model, role } = self.canary.clone()?;
        Some(Self { version, model, replicas: role.replicas(self.replicas), canary: None, ..self.clone() })
    }

    /// What the gateway is told of the canary.
    pub(crate) fn canary(&self) -> Option<Canary> {
        match &self.canary.as_ref()?.role {
            Role::Canary(canary) => Some(canary.clone()),
            Role::Shadow(_) => None,
        }
    }

    /// What the gateway is told of the shadow.
    pub(crate) fn shadow(&self) -> Option<Shadow> {
        match &self.canary.as_ref()?.role {
            Role::Canary(_) => None,
            Role::Shadow(shadow) => Some(shadow.clone()),
        }
    }

    /// What the version beside the one that answers is called.
    pub(crate) fn role(&self) -> &'static str {
        self.canary.as_ref().map_or("canary", |beside| beside.role.name())
    }
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
    let DeploymentDocument { pod, paused, canary, shadow, autoscaling, .. } = spec.clone();
    let ModelDocument { version: model_version, .. } = of_model.clone();
    let record = ModelRecord::of(&of_model);
    let pinned = spec.version.clone();
    let request = documents::request(&model_object, of_model, deployment.name(), spec)
        .map_err(|error| Refusal::invalid(error.to_string()))?;
    // Roles find the service by its document's labels.
    let request = DeployRequest { labels: deployment.metadata.labels.clone(), ..request };
    let of_object = |fault: Fault| Refusal::invalid(format!("MLModel `{model_object}`: {}", fault.detail));
    check::model(&record, &check::DOCUMENT).map_err(of_object)?;
    check::env(request.env.as_ref()).map_err(|fault| refused(fault.into()))?;
    check::service_name("metadata/name", deployment.name()).map_err(|fault| Refusal::invalid(fault.detail))?;
    check::versions(pinned.as_ref(), canary.as_ref()).map_err(|fault| refused(fault.into()))?;
    check::versions(model_version.as_ref(), None).map_err(of_object)?;
    check::shadow(shadow.as_ref()).map_err(|fault| refused(fault.into()))?;
    change::canary(canary.as_ref()).map_err(refused)?;
    Shadow::check(shadow.as_ref(), canary.as_ref(), request.rollout.as_ref()).map_err(refused)?;
    change::one_way_of_taking_over(canary.as_ref(), request.rollout.as_ref()).map_err(refused)?;
    let is_named = matches!((&pinned, &model_version), (Some(pinned), Some(of_model)) if pinned != of_model);
    let asked = Asked { object: &model_object, model: record, pinned, of_model: model_version };
    let (version, model, canary) = match canary.map(Role::Canary).or(shadow.map(Role::Shadow)) {
        None => version(asked, records).map(|(version, model)| (version, model, None))?,
        Some(role) => with_canary(asked, role, deployment.live(records), records)?,
    };
    let mut settings = Settings::default();
    change::settings(&mut settings, &request).map_err(refused)?;
    Ok(Wish {
        model_name: request.model_name.clone(),
        version,
        model,
        replicas: replicas(request.replicas, autoscaling.as_ref(), &request)?,
        settings,
        request,
        pod: pod.unwrap_or_default(),
        paused: paused.unwrap_or_default(),
        canary,
        autoscaling,
        is_named,
    })
}

/// How many replicas are to be: what is asked for, within the bounds between which an autoscaler may ask.
fn replicas(asked: Option<u32>, scaling: Option<&Autoscaling>, request: &DeployRequest) -> Result<u32, Refusal> {
    let Some(Autoscaling { min_replicas, max_replicas, target_cpu_utilization }) = scaling else {
        return change::replicas(asked, 1).map_err(refused);
    };
    let (fewest, most) = (min_replicas.unwrap_or(1), *max_replicas);
    change::replicas(Some(most), 1).map_err(refused)?;
    if fewest == 0 || fewest > most || *target_cpu_utilization == Some(0) {
        return Err(Refusal::invalid(format!(
            "`spec.autoscaling` asks for {fewest} to {most} replicas: `minReplicas` is at least 1 and at most \
             `maxReplicas`, and `targetCpuUtilization` at least 1"
        )));
    }
    let requests = request.resources.as_ref().and_then(|resources| resources.requests.cpu);
    if requests.is_none() {
        return Err(Refusal::invalid(
            "`spec.autoscaling` compares the CPU time used with the one requested: give `resources.requests.cpu`",
        ));
    }
    // Without replicas nothing can be measured: that is how Kubernetes turns an autoscaler off.
    Ok(asked.map_or(fewest, |asked| if asked == 0 { 0 } else { asked.clamp(fewest, most) }))
}

fn refused(error: DeployError) -> Refusal {
    match error {
        DeployError::Invalid { pointer, detail } => {
            Refusal::invalid(format!("`spec{}`: {detail}", pointer.replace('/', ".")))
        }
        other => Refusal::invalid(other.to_string()),
    }
}

/// What the documents say of the version.
struct Asked<'a> {
    /// Name of the MLModel.
    object: &'a str,
    /// The model in it.
    model: ModelRecord,
    /// The version that the MLDeployment names.
    pinned: Option<VersionId>,
    /// The version that the MLModel names.
    of_model: Option<VersionId>,
}

/// The version that is to be live and the canary or shadow beside it. One that is the MLModel's own version leaves the one
/// that is live in its place.
fn with_canary(
    asked: Asked<'_>,
    role: Role,
    live: Option<VersionId>,
    records: &[VersionRecord],
) -> Result<(VersionId, ModelRecord, Option<CanaryWish>), Refusal> {
    let Asked { object, model, pinned, of_model } = asked;
    let (name, word) = (role.version().clone(), role.name());
    if pinned.as_ref() == Some(&name) {
        return Err(Refusal::invalid(format!(
            "`spec.version` and `spec.{word}.version` are both `{name}`: the {word} is another version beside the one \
             that answers; keep one of the two"
        )));
    }
    // A changed MLModel without a version of its own is the canary or shadow, by the name that this has.
    let is_new = records.iter().all(|record| record.model != model);
    let of_model = of_model.or_else(|| is_new.then(|| name.clone()));
    let candidate = version(Asked { object, model, pinned: None, of_model: of_model.clone() }, records)?;
    let known = |version: &VersionId| records.iter().find(|record| record.version == *version);
    let of_canary = match known(&name) {
        _ if candidate.0 == name => candidate.1.clone(),
        Some(record) => record.model.clone(),
        None => {
            return Err(Refusal {
                reason: "NoVersion",
                message: format!(
                    "`spec.{word}` asks for version `{name}`, but MLModel `{object}` is version `{}`, and no version \
                     `{name}` has run: change one of the two",
                    candidate.0
                ),
            });
        }
    };
    let stable = match pinned {
        Some(pinned) => {
            version(Asked { object, model: candidate.1, pinned: Some(pinned), of_model: Some(candidate.0) }, records)?
        }
        None if candidate.0 != name => candidate,
        None => {
            let live = live.filter(|live| *live != name).and_then(|live| known(&live));
            let record = live.ok_or_else(|| Refusal {
                reason: "NoVersion",
                message: format!(
                    "`spec.{word}` gives version `{name}` {} of the requests beside the version that is live, and \
                     there is no other that is: remove `{word}`, and set it again with the next version",
                    if word == "canary" { "a share" } else { "copies" }
                ),
            })?;
            (record.version.clone(), record.model.clone())
        }
    };
    Ok((stable.0, stable.1, Some(CanaryWish { version: name, model: of_canary, role })))
}

/// The version that is asked for, and its model.
fn version(asked: Asked<'_>, records: &[VersionRecord]) -> Result<(VersionId, ModelRecord), Refusal> {
    let Asked { object, model, pinned, of_model } = asked;
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
    fn a_share_by_hand_and_steps_exclude_each_other() {
        let both = json!({"rollout": {"steps": [{"weight": 10}]}, "canary": {"version": "2", "weight": 10}});
        let told = version_of(both, json!({"source": "s3://models/1.onnx"}), &[]).unwrap_err();
        assert!(told.starts_with("Invalid: `spec.canary`: `rollout` sets"), "{told}");
        let of = |rollout: Value| version_of(json!({"rollout": rollout}), json!({"source": "s3://models/1.onnx"}), &[]);
        assert_eq!(of(json!({"steps": [{"weight": 10}]})).unwrap(), "1");
        assert!(of(json!({"maxErrorRate": 0.1})).unwrap_err().contains("`spec.rollout.steps`"));
    }

    #[test]
    fn access_and_labels_reach_the_settings_as_on_one_machine() {
        let access = json!({"roles": ["student"], "functions": {"set_grades": {"roles": ["teacher"]}}});
        let mut asked = deployment(json!({"access": access}));
        asked.metadata.labels = Some([("team".to_owned(), "school".to_owned())].into());
        let model = model(json!({"source": "s3://models/1.onnx"}));
        let settings = wish(&asked, Some(&model), &[]).unwrap().settings;
        assert_eq!(settings.access, serde_json::from_value(access).unwrap());
        assert_eq!(settings.labels["team"], "school");
        let both = deployment(json!({"access": {"public": true, "roles": ["student"]}}));
        let refused = wish(&both, Some(&model), &[]).unwrap_err();
        assert!(refused.message.contains("`spec.access.roles`"), "{}", refused.message);
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
        assert!(refused(json!({}), json!({})).contains("MLModel `iris`: neither `source`"));
        assert!(refused(json!({}), json!({"source": "./iris.joblib"})).contains("a path, which a cluster cannot read"));
        assert!(refused(json!({"canary": {}}), json!({"image": "x"})).contains("missing field `version`"));
        assert!(refused(json!({"timeout": "0s"}), json!({"image": "x"})).contains("`spec.timeout`"));
        assert!(refused(json!({"relicas": 2}), json!({"image": "x"})).contains("unknown field `relicas`"));
        assert!(
            refused(json!({}), json!({"image": "x", "version": "2."}))
                .contains("Invalid: MLModel `iris`: version `2.`")
        );
        assert!(refused(json!({"version": "2_"}), json!({"image": "x"})).contains("`spec.version`: version `2_`"));
        let no_model = wish(&deployment(json!({"modelName": "other"})), None, &[]).unwrap_err();
        assert!(no_model.message.contains("no MLModel `other`"));
        for name in ["9iris".to_string(), "a".repeat(64), "iris.eu".to_string()] {
            let mut named = deployment(json!({}));
            named.metadata.name = Some(name.clone());
            let refusal = wish(&named, Some(&model(json!({"image": "x"}))), &[]).unwrap_err();
            assert!(refusal.reason == "Invalid" && refusal.message.contains(&format!("`{name}`")), "{refusal:?}");
        }
    }

    fn live(version: &str, spec: Value) -> MlDeployment {
        let mut deployment = deployment(spec);
        deployment.status =
            serde_json::from_value(json!({"state": "deployed", "version": version, "liveVersion": version})).unwrap();
        deployment
    }

    /// The version that is to be live, and the canary and its source, while version 1 is live.
    fn canary_of(
        spec: Value,
        model_spec: Value,
        records: &[VersionRecord],
    ) -> Result<(String, String, String), String> {
        let wished = wish(&live("1", spec), Some(&model(model_spec)), records);
        let wished = wished.map_err(|refusal| format!("{}: {}", refusal.reason, refusal.message))?;
        let canary = wished.canary.unwrap();
        Ok((wished.version.to_string(), canary.version.to_string(), canary.model.source.unwrap()))
    }

    #[test]
    fn a_canary_leaves_the_live_version_in_its_place() {
        let records = [record("1", "s3://models/1.onnx", 9)];
        let (two, ten) = ("s3://models/2.onnx", json!({"canary": {"version": "2", "weight": 10}}));
        let expected = ("1".to_string(), "2".to_string(), two.to_string());
        for model_spec in [json!({"source": two, "version": "2"}), json!({"source": two})] {
            assert_eq!(canary_of(ten.clone(), model_spec.clone(), &records).unwrap(), expected);
            let pinned = json!({"version": "1", "canary": {"version": "2", "weight": 10}});
            assert_eq!(canary_of(pinned, model_spec, &records).unwrap(), expected);
        }
        // An earlier version can have a share, too.
        let both = [record("2", two, 9), record("1", "s3://models/1.onnx", 1)];
        assert_eq!(canary_of(ten, json!({"source": "s3://models/1.onnx"}), &both).unwrap(), expected);
    }

    #[test]
    fn a_canary_that_cannot_be_is_refused() {
        let one = [record("1", "s3://models/1.onnx", 9)];
        let of = |version: &str, weight: u32| json!({"canary": {"version": version, "weight": weight}});
        let refused = |spec, model_spec| canary_of(spec, model_spec, &one).unwrap_err();
        let (model_1, model_2) =
            (json!({"source": "s3://models/1.onnx"}), json!({"source": "s3://models/2.onnx", "version": "2"}));
        assert!(refused(of("1", 10), model_1.clone()).starts_with("NoVersion: `spec.canary` gives version `1`"));
        assert!(refused(of("3", 10), model_2).contains("no version `3` has run"));
        assert!(refused(of("2", 101), model_1.clone()).contains("`spec.canary.weight`"));
        let both = json!({"version": "1", "canary": {"version": "1", "weight": 10}});
        assert!(refused(both, model_1).contains("are both `1`"));
        // Another model under the name of a version that has run.
        let changed = json!({"source": "s3://models/other.onnx", "version": "1"});
        assert!(refused(of("1", 10), changed).starts_with("VersionConflict"));
        let first = wish(&deployment(of("2", 10)), Some(&model(json!({"source": "s3://models/2.onnx"}))), &[]);
        assert_eq!(first.unwrap_err().reason, "NoVersion");
    }

    #[test]
    fn a_shadow_is_asked_for_as_a_canary_is() {
        let records = [record("1", "s3://models/1.onnx", 9)];
        let of = |more: Value| {
            let mut spec = json!({"replicas": 4, "shadow": {"version": "2", "percent": 50}});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let wished = wish(&live("1", spec), Some(&model(json!({"source": "s3://models/2.onnx"}))), &records);
            wished.map_err(|refusal| format!("{}: {}", refusal.reason, refusal.message))
        };
        let wished = of(json!({})).unwrap();
        assert_eq!((wished.version.as_str(), wished.canary(), wished.role()), ("1", None, "shadow"));
        assert_eq!(wished.shadow().unwrap().percent(), 50);
        let beside = wished.of_canary().unwrap();
        assert_eq!((beside.version.as_str(), beside.replicas), ("2", 2));
        assert_eq!(beside.model.source.as_deref(), Some("s3://models/2.onnx"));
        for (more, told) in [
            (json!({"shadow": {"version": "2", "percent": 0}}), "Invalid: `spec.shadow.percent`: "),
            (json!({"version": "2"}), "Invalid: `spec.version` and `spec.shadow.version` are both `2`"),
            (
                json!({"canary": {"version": "2", "weight": 1}}),
                "Invalid: `spec.shadow`: version `2` cannot be canary and",
            ),
        ] {
            let refused = of(more).unwrap_err();
            assert!(refused.starts_with(told), "{refused}");
        }
        let own = live("1", json!({"shadow": {"version": "1"}}));
        let refused = wish(&own, Some(&model(json!({"source": "s3://models/1.onnx"}))), &records).unwrap_err();
        assert!(refused.message.starts_with("`spec.shadow` gives version `1` copies of the requests"), "{refused:?}");
    }

    #[test]
    fn a_canary_has_replicas_for_its_share() {
        let replicas = |replicas: u32, weight: u32| {
            let spec = json!({"replicas": replicas, "canary": {"version": "2", "weight": weight}});
            let wished =
                wish(&live("1", spec), Some(&model(json!({"source": "s3://m/2"}))), &[record("1", "s3://m/1", 9)]);
            wished.unwrap().of_canary().unwrap().replicas
        };
        assert_eq!(
            [replicas(10, 10), replicas(10, 11), replicas(3, 0), replicas(2, 100), replicas(0, 50)],
            [1, 2, 1, 2, 0]
        );
    }

    #[test]
    fn an_autoscaler_has_bounds_and_a_measure() {
        let asked = |replicas: Option<u32>, scaling: Value, requests: Value| {
            let mut spec = json!({"autoscaling": scaling, "resources": {"requests": requests}});
            if let Some(replicas) = replicas {
                spec["replicas"] = replicas.into();
            }
            let wished = wish(&deployment(spec), Some(&model(json!({"image": "x"}))), &[]);
            wished.map(|wish| wish.replicas).map_err(|refusal| refusal.message)
        };
        let two_to_five = || json!({"minReplicas": 2, "maxReplicas": 5});
        let cpu = || json!({"cpu": "100m"});
        let replicas = [None, Some(0), Some(1), Some(3), Some(9)].map(|n| asked(n, two_to_five(), cpu()).unwrap());
        assert_eq!(replicas, [2, 0, 2, 3, 5]);
        assert!(asked(None, two_to_five(), json!({})).unwrap_err().contains("`resources.requests.cpu`"));
        assert!(asked(None, json!({"minReplicas": 3, "maxReplicas": 2}), cpu()).unwrap_err().contains("3 to 2"));
        assert!(asked(None, json!({"minReplicas": 2}), cpu()).unwrap_err().contains("missing field `maxReplicas`"));
    }
}
