//! What is told of services: where they are, how they are, their versions and functions.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    compare::ContractChange,
    contract::Field,
    name::{ServiceId, VersionId},
    rollout::RolloutStatus,
    service::{Canary, Engine, Framework, Settings},
    shadow::ShadowStatus,
};

/// Where a service is found: a Kubernetes Service, or what stands for it on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesService {
    /// Its name.
    pub name: String,
    /// Its address.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// Its ports.
    pub ports: Vec<u16>,
}

/// Answer to a [`DeployRequest`](super::DeployRequest).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeployResponse {
    /// The service's name.
    pub service_id: ServiceId,
    /// The version that was asked for or chosen.
    pub version: VersionId,
    /// Where it is found.
    pub kubernetes_service: KubernetesService,
}

/// Answer to an [`UpdateRequest`](super::UpdateRequest).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateResponse {
    /// The service's name.
    pub service_id: ServiceId,
    /// Its state.
    pub status: Status,
    /// The version that is to answer.
    pub version: VersionId,
}

/// State of a service, computed from what is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Its first version is on the way.
    Deploying,
    /// What was asked for answers.
    Deployed,
    /// It answers, and a change is on the way.
    Updating,
    /// What was asked for cannot be had; `reason` says why.
    Failed,
    /// It is on its way out.
    Terminating,
}

impl Status {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploying => "deploying",
            Self::Deployed => "deployed",
            Self::Updating => "updating",
            Self::Failed => "failed",
            Self::Terminating => "terminating",
        }
    }
}

/// A service in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceInfo {
    /// Its name.
    pub service_id: ServiceId,
    /// The model's name.
    pub model_name: String,
    /// Its state.
    pub status: Status,
    /// The version that is to answer.
    pub version: VersionId,
    /// Replicas that are wanted.
    pub replicas: u32,
    /// Replicas that answer.
    pub ready_replicas: u32,
}

/// All about a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDetails {
    /// Its name.
    pub service_id: ServiceId,
    /// The model's name.
    pub model_name: String,
    /// Its state.
    pub status: Status,
    /// Where it is found.
    pub kubernetes_service: KubernetesService,
    /// The version that is to answer.
    pub version: VersionId,
    /// The version that answers now, where there is one.
    pub live_version: Option<VersionId>,
    /// What made the model, once it is known.
    pub framework: Option<Framework>,
    /// What runs it, once it is known.
    pub engine: Option<Engine>,
    /// The image of the wanted version by digest, where a registry is configured.
    pub image: Option<String>,
    /// The version that takes a share of the requests beside the live one, where one is asked for.
    #[serde(default)]
    pub canary: Option<Canary>,
    /// The version that gets copies of requests, and how it answers them, where one is asked for.
    #[serde(default)]
    pub shadow: Option<ShadowStatus>,
    /// How far the version that is to answer is, where it takes over step by step.
    #[serde(default)]
    pub rollout: Option<RolloutStatus>,
    /// Replicas that are wanted.
    pub replicas: u32,
    /// Replicas that answer.
    pub ready_replicas: u32,
    /// Where to call its default function.
    pub url: String,
    /// Why it is not `deployed`, in one sentence.
    pub reason: Option<String>,
    /// What a version that is on its way would break for callers of the live one, by which it is kept from answering.
    #[serde(default)]
    pub breaking_changes: Vec<ContractChange>,
    /// What could not be found out of the functions of the version that is to answer, a sentence each; empty before a replica
    /// has told.
    #[serde(default)]
    pub incomplete: Vec<String>,
    /// What has been done for the wanted version, in order.
    pub steps: Vec<StepStatus>,
    /// Each replica.
    pub replica_statuses: Vec<ReplicaStatus>,
    /// Settings that hold for all versions.
    pub settings: Settings,
    /// When it was first deployed.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schemars(with = "String")]
    pub updated_at: Timestamp,
}

/// A step towards a running version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// What is done, as `fetch the model`.
    pub name: String,
    /// How far it is.
    pub state: StepState,
    /// What came of it, or what is going on.
    pub detail: String,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words say it")]
pub enum StepState {
    Pending,
    Running,
    Done,
    Failed,
}

/// A replica as `kea status` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Its name.
    pub name: String,
    /// The version that it runs.
    pub version: VersionId,
    /// `starting`, `ready`, `unready`, `stopping` or `waiting` (to be started again).
    pub state: String,
    /// Where it listens, once it does.
    pub address: Option<String>,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// Why it is not ready.
    pub reason: Option<String>,
}

/// One version of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// Its name.
    pub version: VersionId,
    /// Whether it answers now.
    pub live: bool,
    /// Whether it answers now, or has answered before.
    #[serde(default)]
    pub was_live: bool,
    /// What made the model.
    pub framework: Option<Framework>,
    /// Where the model came from.
    pub source: Option<String>,
    /// Its image by digest, where a registry is configured.
    pub image: Option<String>,
    /// When it was first asked for.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
}

/// One function of a service, or one operation of a web service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MethodInfo {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Method of HTTP that calls it: `POST`, but for operations of web services.
    pub method: String,
    /// Its path.
    pub path: String,
    /// What it takes; of a web service its parameters, and `body`.
    pub inputs: Vec<Field>,
    /// What one prediction holds; of a web service `body` of its good answer.
    pub outputs: Vec<Field>,
}
