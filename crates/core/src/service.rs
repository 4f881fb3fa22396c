//! Services, their versions and their settings: what is wanted and stored.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    balancing::{Algorithm, LoadBalancing},
    caching::CacheSettings,
    contract::{Contract, WebProtocol},
    name::{ServiceId, VersionId},
    own_route::OwnRoute,
    policy::PolicyName,
    quantity::{Cpu, Memory, Span},
    resilience::{HealthSettings, LimitSettings, RateLimit},
    rollout::{Rollout, RolloutRules},
    shadow::Shadow,
    stated::StatedFunction,
    validation::ValidationSettings,
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
    /// A version that takes a share of the requests beside that one.
    #[serde(default)]
    pub canary: Option<Canary>,
    /// A version that gets copies of requests beside that one.
    #[serde(default)]
    pub shadow: Option<Shadow>,
    /// How far the version that is to answer is, where it takes over step by step.
    #[serde(default)]
    pub rollout: Option<Rollout>,
    /// Versions that have been live, the latest last: what a rollback returns to.
    #[serde(default)]
    pub live_history: Vec<VersionId>,
    /// Versions that may answer although they would break callers.
    #[serde(default)]
    pub may_break: Vec<VersionId>,
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
    /// What its author states of its functions.
    #[serde(default)]
    pub functions: Vec<StatedFunction>,
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
    /// How replicas are chosen; by `peak_ewma` among all of them where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancing>,
    /// How it is found out which replicas answer.
    pub health: HealthSettings,
    /// What one request, and all of them together, may take.
    pub limits: LimitSettings,
    /// How many requests may come; each rule holds.
    pub rate_limit: Vec<RateLimit>,
    /// How the model server runs the model.
    pub server: ServerSettings,
    /// How a new version takes over.
    pub rollout: RolloutRules,
    /// Labels by which roles find the service.
    pub labels: BTreeMap<String, String>,
    /// What the audit trail keeps of its calls beside their records.
    pub audit: AuditRules,
    /// Paths and hosts of its own, beside the standard ones.
    pub routes: Vec<OwnRoute>,
    /// What is held against the contract beside requests.
    pub validation: ValidationSettings,
}

impl Settings {
    /// The rule by which a replica is chosen for a request.
    pub fn algorithm(&self) -> Algorithm {
        self.load_balancer.as_ref().map_or(Algorithm::PeakEwma, LoadBalancing::algorithm)
    }

    /// Names and addresses of the replicas to use; all own ones where it is empty.
    pub fn chosen_replicas(&self) -> &[String] {
        self.load_balancer.as_ref().map_or(&[], |rule| &rule.replicas)
    }
}

/// Who may call a service and read its documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Access {
    /// Whether documentation and calls need no token.
    pub public: bool,
    /// Roles that alone may call it; whoever has a role that allows calls in general may where none is named.
    pub roles: Vec<PolicyName>,
    /// Functions with an access of their own.
    pub functions: BTreeMap<String, FunctionAccess>,
}

/// Who may call one function of a service, where that is not as for the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FunctionAccess {
    /// Whether calls need no token; as for the service where neither this nor `roles` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    /// Roles that alone may call it; as for the service where none is named.
    pub roles: Vec<PolicyName>,
}

impl Access {
    /// Whether that function needs no token. A web service has paths in place of functions: all of them or none.
    pub fn is_public(&self, function: &str, engine: Engine) -> bool {
        match engine {
            Engine::External => self.is_wholly_public(),
            Engine::Python | Engine::Onnx => self.functions.get(function).map_or(self.public, |of| self.opens(of)),
        }
    }

    /// Whether no function needs a token.
    pub fn is_wholly_public(&self) -> bool {
        self.public && self.functions.values().all(|of| self.opens(of))
    }

    fn opens(&self, of: &FunctionAccess) -> bool {
        of.public.unwrap_or(self.public && of.roles.is_empty())
    }
}

/// Whether Kubernetes takes it for a label, so that the same labels hold everywhere.
pub fn is_label(name: &str, value: &str) -> bool {
    let word = |text: &str, most: usize| {
        let ends = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        text.len() <= most
            && ends(text.bytes().next())
            && ends(text.bytes().last())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let (prefix, name) = name.rsplit_once('/').map_or((None, name), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(|prefix| word(prefix, 253)) && word(name, 63) && (value.is_empty() || word(value, 63))
}

/// What the audit trail keeps of a service's calls. All of them are counted, whatever is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuditRules {
    /// Which calls have a record.
    pub calls: RecordedCalls,
    /// How long records of calls are kept, by the time that holds when they are written; as long as the trail has room
    /// where nothing is said, and never longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Span>,
    /// What is kept of the bodies of requests and answers. Nothing unless it is asked for.
    pub payload: PayloadRules,
}

/// Which calls of a service have a record in the audit trail. Changes of the service always have one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecordedCalls {
    /// Every call.
    #[default]
    All,
    /// Calls that were not answered as they asked: refused, wrong, failed, left.
    Failed,
    /// None.
    None,
}

/// What is kept of the bodies of requests and answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PayloadRules {
    /// Share of the calls whose bodies are kept, from 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub sample: f64,
    /// Bytes that are kept of a body; `4Ki` where nothing is said, `64Ki` at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "body_bytes")]
    pub max_bytes: Option<Memory>,
    /// JSON pointers to what is not kept, as `/inputs/ssn`; `*` stands for any one name or index.
    #[schemars(length(max = 64), inner(pattern("^/")))]
    pub mask: Vec<String>,
}

/// Up to 64Ki, as whole KiB or as bytes: a schema can say no other bound of an amount.
const BODY_BYTES: &str = "^([1-9]|[1-5][0-9]|6[0-4])Ki$|^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|\
                          655[0-2][0-9]|6553[0-6])$";

fn body_bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            {"type": "string", "pattern": BODY_BYTES, "example": "4Ki"},
            {"type": "number", "minimum": 1, "maximum": PayloadRules::MAX_BYTES, "multipleOf": 1},
        ],
    })
}

impl PayloadRules {
    /// Most bytes of a body that can be kept.
    pub const MAX_BYTES: u64 = 64 << 10;

    /// Most masks.
    pub const MASKS: usize = 64;

    /// Bytes that are kept of a body.
    pub fn limit(&self) -> usize {
        let bytes = self.max_bytes.map_or(4 << 10, |memory| memory.bytes.min(Self::MAX_BYTES));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
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

impl Canary {
    /// How many replicas it has beside a version with `replicas`: as many as its share needs, and one at least.
    pub fn replicas(&self, replicas: u32) -> u32 {
        (replicas * u32::from(self.weight)).div_ceil(100).max(1).min(replicas)
    }
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

/// How replicas run a model.
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
    /// What an existing web service speaks; `http1` where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<WebProtocol>,
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
    /// The name that its certificate must have, where it is reached by TLS alone, and asks for a certificate, too.
    pub tls_name: Option<Arc<str>>,
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
