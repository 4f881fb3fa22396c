//! Services, their versions and their settings: what is wanted and stored.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    caching::CacheSettings,
    contract::Contract,
    name::{ServiceId, VersionId},
    quantity::{Cpu, Memory, Span},
};

/// What made the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the frameworks'")]
pub enum Framework {
    TensorFlow,
    PyTorch,
    Custom,
    ScikitLearn,
    XGBoost,
    LightGBM,
    #[serde(rename = "ONNX")]
    Onnx,
    Keras,
}

impl Framework {
    /// All of them, in the order of the API's schema.
    pub const ALL: [Self; 8] = [
        Self::TensorFlow,
        Self::PyTorch,
        Self::Custom,
        Self::ScikitLearn,
        Self::XGBoost,
        Self::LightGBM,
        Self::Onnx,
        Self::Keras,
    ];

    /// The API's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TensorFlow => "TensorFlow",
            Self::PyTorch => "PyTorch",
            Self::Custom => "Custom",
            Self::ScikitLearn => "ScikitLearn",
            Self::XGBoost => "XGBoost",
            Self::LightGBM => "LightGBM",
            Self::Onnx => "ONNX",
            Self::Keras => "Keras",
        }
    }
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What runs the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Workers of the service's own Python environment.
    Python,
    /// ONNX Runtime within the model server.
    Onnx,
    /// A web service that brings its own server.
    External,
}

/// What is wanted of one service; the store's row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its name.
    pub id: ServiceId,
    /// The model's name, as its author gave it.
    pub model_name: String,
    /// The version that is to answer.
    pub version: VersionId,
    /// How many replicas of it there are to be.
    pub replicas: u32,
    /// Settings that hold for all versions.
    pub settings: Settings,
    /// Versions that have been live, the latest last: what a rollback returns to.
    #[serde(default)]
    pub live_history: Vec<VersionId>,
    /// Set once the service is to go; it stays in the store until its replicas have stopped.
    #[serde(default)]
    pub deleted: bool,
    /// When it was first deployed.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// One version of a service's model; the store's row. It never changes but for what is found out about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Its name.
    pub id: VersionId,
    /// Where the model came from, and what it needs.
    pub model: ModelSpec,
    /// What it offers, once a replica or its source has told.
    #[serde(default)]
    pub contract: Option<Arc<Contract>>,
    /// Where its model and environment are, once they are on this machine: a restart needs the source no more.
    #[serde(default)]
    pub prepared: Option<PreparedModel>,
    /// When it was first asked for.
    pub created_at: Timestamp,
}

/// Where a model comes from and what it needs to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelSpec {
    /// Path or URL of the model's file or folder; `None` for a command that needs no files.
    pub source: Option<String>,
    /// What made it; found from the files where it is not given.
    pub framework: Option<Framework>,
    /// Python packages it needs, as pip writes them.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// Command of an existing web service, which listens on `$PORT`.
    #[serde(default)]
    pub command: Vec<String>,
    /// Environment of its processes.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What its processes may use.
    #[serde(default)]
    pub resources: Resources,
}

/// Settings of a service that hold for all of its versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Response cache.
    pub cache: CacheSettings,
    /// How long the gateway waits for a replica; 5 s where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Who may call it and read its documentation.
    pub access: Access,
    /// How replicas are chosen; round robin over all of them where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancing>,
    /// How the model server runs the model.
    pub server: ServerSettings,
}

impl Settings {
    /// The rule by which a replica is chosen for a request.
    pub fn algorithm(&self) -> Algorithm {
        self.load_balancer.as_ref().map_or_else(Algorithm::default, |rule| rule.algorithm)
    }

    /// Names of the replicas to use; all of them where it is empty.
    pub fn chosen_replicas(&self) -> &[String] {
        self.load_balancer.as_ref().map_or(&[], |rule| &rule.replicas)
    }
}

/// Who may call a service and read its documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Access {
    /// Whether documentation and calls need no token.
    pub public: bool,
}

/// How replicas are chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadBalancing {
    /// The rule.
    pub algorithm: Algorithm,
    /// Names of the replicas to use; all of them where it is empty.
    pub replicas: Vec<String>,
}

/// The rule by which a replica is chosen for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// The same one for the same client address.
    IpHash,
}

/// A version that takes a share of the requests beside the live one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// The version.
    pub version: VersionId,
    /// Its share of the requests that name no version, in percent. With 0 it runs, and answers those that name it.
    #[schemars(range(min = 0, max = 100))]
    pub weight: u8,
}

/// How the number of replicas follows the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaling {
    /// Fewest replicas; 1 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: Option<u32>,
    /// Most replicas.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: u32,
    /// The share of the requested CPU time that replicas are to use on average, in percent; 80 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization: Option<u32>,
}

/// How the model server runs a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServerSettings {
    /// Worker processes (Python) or sessions (ONNX) in one replica; 1 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub workers: Option<u32>,
    /// Most rows that are run together; 64 where nothing is said, 1 turns batching off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub max_batch_rows: Option<u32>,
    /// Most requests that wait in one replica before further ones get 503; 1,024 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue_limit: Option<u32>,
}

/// What a replica's processes may use, in Kubernetes' words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// What is set aside; has no effect on one machine.
    pub requests: Amounts,
    /// What is never exceeded: memory ends the process, CPUs are its threads.
    pub limits: Amounts,
}

/// An amount of CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Amounts {
    /// CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// One replica: a model server and its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaAddress {
    /// Its name: `SERVICE-VERSION-ORDINAL`.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A model made ready to be served on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreparedModel {
    /// What made it.
    pub framework: Framework,
    /// What runs it.
    pub engine: Engine,
    /// The model's file or folder, in KEA's own storage; `None` for a command without files.
    pub path: Option<PathBuf>,
    /// Python of its environment, for the Python engine.
    pub python: Option<PathBuf>,
    /// ONNX Runtime's shared library, for the ONNX engine.
    pub onnxruntime: Option<PathBuf>,
    /// Python packages that it needs, as pip writes them; what is in its image.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Its image by digest, where a registry is configured: `REGISTRY/NAME@sha256:…`.
    #[serde(default)]
    pub image: Option<String>,
    /// Why this framework and engine were chosen, a sentence each.
    pub reasons: Vec<String>,
}

impl Default for PreparedModel {
    fn default() -> Self {
        Self {
            framework: Framework::Custom,
            engine: Engine::Python,
            path: None,
            python: None,
            onnxruntime: None,
            packages: Vec::new(),
            image: None,
            reasons: Vec::new(),
        }
    }
}
