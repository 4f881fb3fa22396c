//! How requests are spread over replicas: what is asked, and what is.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{balancing::Algorithm, name::ServiceId};

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
