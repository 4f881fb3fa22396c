//! The schemas of the management API: what its server answers and its clients send.
//!
//! The names are fixed by the API's contract; every field is always present in answers.

mod balancing;
mod identity;
mod problem;
mod requests;
mod roles;
mod services;
mod sso;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    compare::ContractChange,
    name::{ServiceId, VersionId},
};

pub use balancing::{
    LoadBalancerConfig, LoadBalancerDetails, LoadBalancerInfo, LoadBalancerResponse, LoadBalancerStatus,
};
pub use identity::{
    KeyInfo, KeyRequest, KeySet, LoginRequest, LoginResponse, Me, NewKey, PasswordRequest, PublicKey, RefreshRequest,
    SessionInfo, SigningKeyInfo, UserChange, UserInfo, UserRequest,
};
pub use problem::{MissingPermission, Problem, Violation};
pub use requests::{DeployRequest, UpdateRequest};
pub use roles::{BindingInfo, CanIRequest, CanIResponse, GrantedBy, RoleInfo};
pub use services::{
    DeployResponse, KubernetesService, MethodInfo, ReplicaStatus, ServiceDetails, ServiceInfo, Status, StepState,
    StepStatus, UpdateResponse, VersionInfo,
};
pub use sso::{SsoCodeRequest, SsoDevice, SsoDeviceRequest, SsoPending, SsoProvider, SsoProviders};

/// Where the management API lives.
pub const BASE_PATH: &str = "/api/v1/k8c";

/// Last segments of paths below a service that are the management API's own: no function can have these names.
pub const RESERVED_FUNCTIONS: [&str; 3] = ["methods", "versions", "rollback"];

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
