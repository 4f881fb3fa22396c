//! What is asked of a service: to be there, and to change.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    balancing::LoadBalancing,
    caching::CacheSettings,
    name::{ServiceId, VersionId},
    own_route::OwnRoute,
    quantity::Span,
    resilience::{HealthSettings, LimitSettings, RateLimit},
    rollout::RolloutRules,
    service::{Access, AuditRules, Canary, Framework, Resources, ServerSettings},
    shadow::Shadow,
    stated::StatedFunction,
    validation::ValidationSettings,
};

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
    /// What is known better of the model's functions than can be found in it, in place of what was stated before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<StatedFunction>>,
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
        let Self { source_code, framework, command, requirements, functions, env, resources, server, .. } = self;
        source_code.is_some()
            || framework.is_some()
            || command.is_some()
            || requirements.is_some()
            || functions.is_some()
            || env.is_some()
            || resources.is_some()
            || server.is_some()
    }
}
