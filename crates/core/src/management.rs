//! The schemas of the management API: what its server answers and its clients send.
//!
//! The names are fixed by the API's contract; every field is always present in answers.

mod identity;
mod sso;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    balancing::{Algorithm, LoadBalancing},
    caching::CacheSettings,
    compare::ContractChange,
    contract::Field,
    name::{ServiceId, VersionId},
    own_route::OwnRoute,
    policy::{Permission, PolicyName, Rule, Subject, Verb},
    quantity::Span,
    resilience::{HealthSettings, LimitSettings, RateLimit},
    rollout::{RolloutRules, RolloutStatus},
    service::{Access, AuditRules, Canary, Engine, Framework, Resources, ServerSettings, Settings},
    shadow::{Shadow, ShadowStatus},
    stated::StatedFunction,
    validation::ValidationSettings,
};

pub use identity::{
    KeyInfo, KeyRequest, KeySet, LoginRequest, LoginResponse, Me, NewKey, PasswordRequest, PublicKey, RefreshRequest,
    SessionInfo, SigningKeyInfo, UserChange, UserInfo, UserRequest,
};
pub use sso::{SsoCodeRequest, SsoDevice, SsoDeviceRequest, SsoPending, SsoProvider, SsoProviders};

/// Where the management API lives.
pub const BASE_PATH: &str = "/api/v1/k8c";

/// Last segments of paths below a service that are the management API's own: no function can have these names.
pub const RESERVED_FUNCTIONS: [&str; 3] = ["methods", "versions", "rollback"];

/// Asks for a service, or for a new version of it where it exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeployRequest {
    /// The model's name.
    #[schemars(length(min = 1, max = 253))]
    pub model_name: String,
    /// The service's name; derived from `modelName` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<ServiceId>,
    /// What made the model; found from the files where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<Framework>,
    /// How many replicas serve it; 1 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<u32>,
    /// An image that serves the model; needs Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_image: Option<String>,
    /// Path or URL of the model's file or folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_code: Option<String>,
    /// The model's version; the next whole number where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// Command of an existing web service, which listens on `$PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Python packages that the model needs, as pip writes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Vec<String>>,
    /// What is known better of the model's functions than can be found in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<StatedFunction>>,
    /// Environment of the model's processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// What a replica may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Response cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheSettings>,
    /// How long the gateway waits for a replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Who may call it and read its documentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Labels by which roles find the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// How replicas are chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancing>,
    /// How it is found out which replicas answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSettings>,
    /// What one request, and all of them together, may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitSettings>,
    /// How many requests may come; each rule holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<Vec<RateLimit>>,
    /// How the model server runs the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerSettings>,
    /// Paths and hosts of its own, beside the standard ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<OwnRoute>>,
    /// A version that takes a share of the requests beside the live one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// A version that gets copies of requests beside the live one; its answers are compared and given to nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// How new versions take over, step by step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutRules>,
    /// What the audit trail keeps beside records; needs the role `admin` or `security`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditRules>,
    /// What is held against the contract beside requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationSettings>,
    /// Whether the version may answer although it would break callers of the live one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_breaking: Option<bool>,
}

/// Changes what it names, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UpdateRequest {
    /// How many replicas serve it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<u32>,
    /// An image that serves the model; needs Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_image: Option<String>,
    /// Path or URL of a new version of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_code: Option<String>,
    /// The version of that model, or an earlier version to return to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// What made the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framework: Option<Framework>,
    /// Command of an existing web service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Python packages that the model needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Vec<String>>,
    /// Environment of the model's processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// What a replica may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Response cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheSettings>,
    /// How long the gateway waits for a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Who may call it and read its documentation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Labels by which roles find the service, in place of those it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// How replicas are chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancing>,
    /// How it is found out which replicas answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSettings>,
    /// What one request, and all of them together, may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitSettings>,
    /// How many requests may come; each rule holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<Vec<RateLimit>>,
    /// How the model server runs the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerSettings>,
    /// Paths and hosts of its own, beside the standard ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<OwnRoute>>,
    /// A version that takes a share of the requests beside the live one, as `version` with its model or an earlier one.
    /// Naming the version that is to answer, without this, ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// A version that gets copies of requests beside the live one, in place of a canary; its answers are compared and given
    /// to nobody. Naming the version that is to answer, without this, ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// How new versions take over, step by step; `{}` lets them take over at once again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutRules>,
    /// What the audit trail keeps beside records; needs the role `admin` or `security`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditRules>,
    /// What is held against the contract beside requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationSettings>,
    /// Whether the versions that it names may answer although they would break callers of the live one; those that are on
    /// their way where it names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_breaking: Option<bool>,
}

impl UpdateRequest {
    /// Whether other replicas are asked for, and so a new version, rather than a change that reaches those that run.
    pub fn names_a_model(&self) -> bool {
        let Self { source_code, framework, command, requirements, env, resources, server, .. } = self;
        source_code.is_some()
            || framework.is_some()
            || command.is_some()
            || requirements.is_some()
            || env.is_some()
            || resources.is_some()
            || server.is_some()
    }
}

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

/// Answer to a [`DeployRequest`].
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

/// Answer to an [`UpdateRequest`].
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

/// What one version, or a contract that was sent, changes for callers of another version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The service.
    pub service_id: ServiceId,
    /// The version that callers go by; `null` where there is no other.
    pub from: Option<VersionId>,
    /// The version that is compared with it; `null` where a contract was sent.
    pub version: Option<VersionId>,
    /// Whether a caller could stumble.
    pub breaking: bool,
    /// Each thing that is another.
    pub changes: Vec<ContractChange>,
}

/// How requests of one service are to be spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancerConfig {
    /// The service.
    pub service_id: ServiceId,
    /// The rule.
    pub algorithm: Algorithm,
    /// Names or addresses of the replicas to use, and addresses of others elsewhere, as `host:port` or
    /// `http://host:port`; all own ones where it is empty.
    pub replicas: Vec<String>,
    /// Shares of the requests in percent, by replica or by version; together 100. Who is not named gets none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u8>,
    /// Whether a cookie keeps a caller at the version that answered it first.
    #[serde(default)]
    pub sticky: bool,
}

/// Answer to a [`LoadBalancerConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerResponse {
    /// The service.
    pub service_id: ServiceId,
    /// Whether the service had a configuration of its own before.
    pub status: LoadBalancerStatus,
    /// The same in words.
    pub message: String,
}

/// Whether a configuration is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words say it")]
pub enum LoadBalancerStatus {
    Created,
    Updated,
}

/// A service's load balancing in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerInfo {
    /// The service.
    pub service_id: ServiceId,
    /// The rule.
    pub algorithm: Algorithm,
    /// Names of the replicas in use.
    pub replicas: Vec<String>,
}

/// A service's load balancing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerDetails {
    /// The service.
    pub service_id: ServiceId,
    /// The rule.
    pub algorithm: Algorithm,
    /// Names of the replicas in use.
    pub replicas: Vec<String>,
    /// How many of them take requests at this moment.
    pub active_replica_count: usize,
}

/// A payload to check without calling the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidationRequest {
    /// The service.
    pub service_id: ServiceId,
    /// The body of the request, as `{"inputs": {...}}`.
    pub request_payload: Map<String, Value>,
    /// The version whose schema is meant; the live one where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<String>,
    /// The function that is meant; `predict` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
}

/// Answer to a [`ValidationRequest`] that fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidationResponse {
    /// Always true: a payload that does not fit is answered with 400.
    pub valid: bool,
    /// The version whose schema was used.
    pub schema_version: VersionId,
}

/// Inputs of one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PredictRequest {
    /// The function's named inputs.
    pub inputs: Map<String, Value>,
}

/// Outputs of one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PredictResponse {
    /// One object a row, with the function's named outputs.
    pub predictions: Vec<Map<String, Value>>,
}

/// Log lines of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Logs {
    /// `TIME REPLICA STREAM LINE`, oldest first.
    pub log_entries: Vec<String>,
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// JSON pointer (RFC 6901) to the field, as `/inputs/petal_width`.
    pub pointer: String,
    /// What was expected there.
    pub expected: String,
    /// What came.
    pub received: String,
    /// What to do.
    pub detail: String,
}

/// An error of this API (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what to do.
    pub detail: String,
    /// The request's id, which the log has too.
    pub instance: String,
    /// What is wrong with the request, for validation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Violation>,
    /// The permission that the caller lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<MissingPermission>,
    /// What a version would break for callers of the live one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ContractChange>,
}

/// A permission that a caller lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingPermission {
    /// What would have to be allowed.
    pub verb: Verb,
    /// The service, `*` where it is any; `null` for verbs about all of KEA.
    pub service: Option<String>,
    /// The function, for calls.
    pub function: Option<String>,
}

impl MissingPermission {
    /// As roles and scopes write it.
    pub fn permission(&self) -> Permission {
        Permission::of(self.verb, self.service.as_deref(), self.function.as_deref())
    }
}

/// A role in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleInfo {
    /// Its name.
    pub name: PolicyName,
    /// Whether it is one of KEA's own, which cannot be changed.
    pub built_in: bool,
    /// What it is for.
    pub description: String,
    /// What it allows.
    pub rules: Vec<Rule>,
}

/// A binding in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingInfo {
    /// Its name.
    pub name: PolicyName,
    /// The role.
    pub role: PolicyName,
    /// Who has it.
    pub subjects: Vec<Subject>,
}

/// Asks whether something is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanIRequest {
    /// Who would do it; the caller where it is not given. To ask of others needs the verb `roles`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What would be done.
    pub verb: Verb,
    /// With which service; none for verbs about all of KEA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Which function would be called; `predict` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
}

/// Answer to a [`CanIRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanIResponse {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, in one sentence.
    pub reason: String,
    /// What allows it, where a role does.
    pub by: Option<GrantedBy>,
}

/// What allows something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantedBy {
    /// The role.
    pub role: String,
    /// The binding by which the caller has it; `null` where it is the user's own.
    pub binding: Option<PolicyName>,
}
