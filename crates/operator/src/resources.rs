//! The custom resources, as Kubernetes stores them.
//!
//! Their specifications are the documents of [`kea_core::documents`]. They are read one by one and not by the list's
//! type: an object that cannot be read must not keep the others from being seen.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kea_core::{
    Engine, Framework, Settings, VersionId,
    documents::{DeploymentDocument, ModelDocument},
    management::Status,
    rollout::RolloutStatus,
    shadow::Shadow,
};
use kube::Resource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::version::VersionRecord;

/// Group of the custom resources.
pub const GROUP: &str = "ml.kea-project.io";

/// Version of the custom resources.
pub const VERSION: &str = "v1alpha1";

/// A model and where it comes from.
#[derive(Clone, Debug, Deserialize)]
pub struct MlModel {
    /// Name, namespace and what else Kubernetes keeps.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// A [`ModelDocument`], as it came.
    #[serde(default)]
    pub spec: Value,
}

/// How a model is to be run.
#[derive(Clone, Debug, Deserialize)]
pub struct MlDeployment {
    /// Name, namespace and what else Kubernetes keeps.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// A [`DeploymentDocument`], as it came.
    #[serde(default)]
    pub spec: Value,
    /// What the operator says of it.
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<DeploymentStatus>,
}

/// A status that another version of KEA wrote is as good as none: it is made anew from what is seen.
fn lenient<'de, D: serde::Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

/// What is seen of an MLDeployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentStatus {
    /// Generation of the specification that this is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// `deploying`, `deployed`, `updating`, `failed` or `terminating`.
    pub state: Status,
    /// The version that is to answer, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// The version that requests go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_version: Option<VersionId>,
    /// Versions that have been live, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live_history: Vec<VersionId>,
    /// Pods of the wanted version that nobody has told to end.
    #[serde(default)]
    pub replicas: u32,
    /// Pods of the live version that answer.
    #[serde(default)]
    pub ready_replicas: u32,
    /// Ready and wanted replicas, as `2/3`.
    #[serde(default)]
    pub ready: String,
    /// Selects the pods, for whoever scales them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The model's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Where to call its default function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The version that takes a share of the requests, where one is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
    /// The version that gets copies of requests, where one is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowVersion>,
    /// How far a version is that takes over step by step, or how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutRecord>,
    /// What the gateway was told of it when that could last be read and was not paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// The image of the wanted version, by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What made the model, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<Framework>,
    /// What runs it, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// Why it is not `deployed`, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in Kubernetes' conventions: `Ready`, `Built`, `Documented`, `Progressing`, `Degraded`.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What is seen of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// Its version.
    pub version: VersionId,
    /// Its share of the requests in percent.
    pub weight: u8,
    /// Replicas that it is to have for its share.
    pub replicas: u32,
    /// Those of its replicas that answer.
    pub ready_replicas: u32,
}

/// What is seen of a shadow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowVersion {
    /// Its version.
    pub version: VersionId,
    /// The share of the requests that are copied to it, in percent.
    pub percent: u8,
    /// How far numbers of its answers may be apart, as a part of the larger one.
    pub tolerance: f64,
    /// Replicas that it is to have for its share.
    pub replicas: u32,
    /// Those of its replicas that answer.
    pub ready_replicas: u32,
}

impl ShadowVersion {
    /// What the gateway is told of it.
    pub(crate) fn wish(&self) -> Shadow {
        Shadow { version: self.version.clone(), percent: Some(self.percent), tolerance: Some(self.tolerance) }
    }
}

/// What is kept of a rollout: all that an operator needs to go on with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRecord {
    /// What the API tells of it.
    #[serde(flatten)]
    pub told: RolloutStatus,
    /// When the new version got the share of its step; before all of its replicas for that are ready it has that of the
    /// step before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub step_started_at: Option<Timestamp>,
    /// Since when numbers of a router have been missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub silent_since: Option<Timestamp>,
    /// Since when the new version has not run for a reason that may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub failing_since: Option<Timestamp>,
}

/// One condition, in Kubernetes' conventions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Built`, `Documented`, `Progressing` or `Degraded`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// When `status` became what it is.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_transition_time: Timestamp,
    /// Generation of the specification that this is about.
    #[serde(default)]
    pub observed_generation: i64,
}

impl MlModel {
    /// Its specification.
    ///
    /// # Errors
    /// The field that cannot be read, and why.
    pub fn document(&self) -> Result<ModelDocument, String> {
        read(&self.spec)
    }
}

impl MlDeployment {
    /// The version that requests go to, as long as there is anything of it.
    pub(crate) fn live(&self, records: &[VersionRecord]) -> Option<VersionId> {
        let live = self.status.as_ref()?.live_version.clone()?;
        records.iter().any(|record| record.version == live).then_some(live)
    }

    /// Its specification.
    ///
    /// # Errors
    /// The field that cannot be read, and why.
    pub fn document(&self) -> Result<DeploymentDocument, String> {
        read(&self.spec)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// How many replicas it asks for, whatever else may be wrong with it.
    pub fn replicas(&self) -> u32 {
        self.spec.get("replicas").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok()).unwrap_or(1)
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Whether it was refused for this reason when the operator looked at it last.
    pub(crate) fn is_refused(&self, reason: &str) -> bool {
        let conditions = self.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| condition.kind == "Degraded" && condition.reason == reason)
    }

    /// Whether it is on its way out.
    pub fn is_leaving(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
}

fn read<T: DeserializeOwned>(spec: &Value) -> Result<T, String> {
    let spec = if spec.is_null() { Value::Object(serde_json::Map::new()) } else { spec.clone() };
    serde_json::from_value(spec).map_err(|error| error.to_string())
}

/// An object as the API server takes it: which kind it is belongs to it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    api_version: Cow<'a, str>,
    kind: Cow<'a, str>,
    metadata: &'a ObjectMeta,
    spec: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a DeploymentStatus>,
}

impl Serialize for MlModel {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { metadata, spec } = self;
        let (api_version, kind) = (Self::api_version(&()), Self::kind(&()));
        Written { api_version, kind, metadata, spec, status: None }.serialize(serializer)
    }
}

impl Serialize for MlDeployment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { metadata, spec, status } = self;
        let (api_version, kind) = (Self::api_version(&()), Self::kind(&()));
        Written { api_version, kind, metadata, spec, status: status.as_ref() }.serialize(serializer)
    }
}

macro_rules! custom_resource {
    ($type:ty, $kind:literal, $plural:literal) => {
        impl Resource for $type {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> Cow<'_, str> {
                GROUP.into()
            }
            fn version((): &()) -> Cow<'_, str> {
                VERSION.into()
            }
            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
custom_resource!(MlModel, "MLModel", "mlmodels");
custom_resource!(MlDeployment, "MLDeployment", "mldeployments");
