//! The documents `MLModel` and `MLDeployment`: the custom resources of a cluster, and the files of `kea deploy -f`.
//!
//! Every field of their schema is either acted upon or refused with what to do instead; none is ignored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::Value;

use crate::{
    balancing::LoadBalancing,
    caching::CacheSettings,
    contract::DEFAULT_FUNCTION,
    management::DeployRequest,
    name::{NameError, ServiceId, VersionId},
    own_route::OwnRoute,
    quantity::Span,
    resilience::{HealthSettings, LimitSettings, RateLimit},
    rollout::RolloutRules,
    service::{Access, AuditRules, Autoscaling, Canary, Framework, Resources, ServerSettings},
    shadow::Shadow,
    stated::{self, StatedField, StatedFunction},
    validation::ValidationSettings,
};

/// Group and version of the documents.
pub const API_VERSION: &str = "ml.kea-project.io/v1alpha1";

/// One document of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document<S> {
    /// [`API_VERSION`].
    pub api_version: String,
    /// `MLModel` or `MLDeployment`.
    pub kind: String,
    /// Its name.
    pub metadata: Metadata,
    /// What it asks for.
    pub spec: S,
}

/// A document's name and what Kubernetes keeps beside it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// Namespace of the cluster; of no effect on one machine.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Labels; by those of an MLDeployment, roles find its service.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations; of no effect on one machine.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A model and where it comes from: the specification of an MLModel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ModelDocument {
    /// The model's name; the document's name where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_name: Option<String>,
    /// What made it; found from its files where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_framework: Option<Framework>,
    /// Path or URL of its file or folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The same as `source`, by its first name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_path: Option<String>,
    /// Its version; a number that counts up with each change of the model where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// Python packages it needs, as pip writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Vec<String>>,
    /// Command of an existing web service, which listens on `$PORT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// An image that serves it; nothing is built then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Port of the web service in `image`; the one that the image exposes where it is not given. Of no use for images
    /// that KEA made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// What is known better of what `predict` takes: the inputs of that function in `functions`, by their first name.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields_of_predict")]
    pub input_type: Option<Vec<StatedField>>,
    /// The same of what it returns.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields_of_predict")]
    pub output_type: Option<Vec<StatedField>>,
    /// What is known better of its functions than can be found in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<StatedFunction>>,
    /// How its image is built. Refused: there is nothing to choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Value>,
}

/// Values have names in KEA: a type alone does not say of what.
fn fields_of_predict<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<StatedField>>, D::Error> {
    let value = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(None),
        list @ Value::Array(_) => list,
        other => {
            let why = "names no field: write a list, as `[{name: pixels, type: FP32, shape: [-1, 784]}]`";
            return Err(D::Error::custom(format!("`{other}` as `inputType` or `outputType` {why}")));
        }
    };
    serde_json::from_value(value).map(Some).map_err(D::Error::custom)
}

impl ModelDocument {
    /// What is stated of its functions, `inputType` and `outputType` among it.
    pub fn stated(&self) -> Option<Vec<StatedFunction>> {
        if self.input_type.is_none() && self.output_type.is_none() {
            return self.functions.clone();
        }
        let predict = StatedFunction {
            name: DEFAULT_FUNCTION.into(),
            description: None,
            inputs: self.input_type.clone().unwrap_or_default(),
            outputs: self.output_type.clone().unwrap_or_default(),
        };
        Some(self.functions.iter().flatten().cloned().chain([predict]).collect())
    }

    /// What of it KEA cannot act upon, or says one thing twice.
    ///
    /// # Errors
    /// What that is, of the model `name`.
    pub fn check(&self, name: &str) -> Result<(), DocumentError> {
        if self.build.is_some() {
            return Err(DocumentError::Build(name.into()));
        }
        if self.source.is_some() && self.s3_path.is_some() {
            let both = format!("MLModel `{name}`: `source` and `s3Path` exclude each other: keep `source`");
            return Err(DocumentError::Contradiction(both));
        }
        let is_stated = self.functions.iter().flatten().any(|function| function.name == DEFAULT_FUNCTION);
        if is_stated && (self.input_type.is_some() || self.output_type.is_some()) {
            let both = format!(
                "MLModel `{name}`: `functions` states `{DEFAULT_FUNCTION}`, as `inputType` and `outputType` do: keep `functions`"
            );
            return Err(DocumentError::Contradiction(both));
        }
        // Told by the places where they stand: elsewhere they are those of `predict` among the functions.
        let (inputs, outputs) = (self.input_type.as_deref(), self.output_type.as_deref());
        stated::check_types(inputs.unwrap_or_default(), outputs.unwrap_or_default())
            .map_err(|(pointer, why)| DocumentError::Contradiction(format!("MLModel `{name}`: `{pointer}`: {why}")))
    }
}

/// How a model is to be run: the specification of an MLDeployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeploymentDocument {
    /// Name of the MLModel; of the document where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_name: Option<String>,
    /// The version that is to answer, where that is not the MLModel's: one that has run before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// How many replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000), extend("default" = 1))]
    pub replicas: Option<u32>,
    /// What a replica may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Environment of its processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// Response cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheSettings>,
    /// How long the gateway waits; 5 s where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Who may call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// What the audit trail keeps beside records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditRules>,
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
    /// What only a cluster has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
    /// While it is true, nothing of the deployment is changed, whatever the rest says; what runs goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// A version that takes a share of the requests beside the live one. Where it is the MLModel's own version, the one
    /// that is live stays so; without `canary` the MLModel's version takes over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// A version that gets copies of requests beside the live one, in place of a canary; its answers are compared and given
    /// to nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// How new versions take over, step by step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutRules>,
    /// Lets a HorizontalPodAutoscaler set `replicas` by the CPU time that replicas use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// What is held against the contract beside requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationSettings>,
}

/// What a cluster's pods have beyond processes of one machine. Its parts are Kubernetes' own, as in a pod's `spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodSettings {
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that are tolerated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Value>,
    /// Names of Secrets with the logins of registries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
    /// Secrets and ConfigMaps whose keys become variables of the environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<Value>,
    /// Volumes for `volumeMounts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Value>,
    /// Where the model's container sees the volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<Value>,
    /// Whole numbers of other resources, as `nvidia.com/gpu: 1`; requests and limits are the same.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extended_resources: BTreeMap<String, u32>,
    /// Name of a PriorityClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
}

/// Why documents cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Another group or version.
    #[error("`apiVersion: {0}` is not known: write `apiVersion: {API_VERSION}`")]
    ApiVersion(String),
    /// Another kind.
    #[error(
        "`kind: {0}` is not known: write `MLModel` or `MLDeployment`; `kea auth apply` takes `Role` and `RoleBinding`"
    )]
    Kind(String),
    /// Another kind, where a role or a binding is expected.
    #[error("`kind: {0}` is no role: write `Role` or `RoleBinding`; `kea deploy` takes `MLModel` and `MLDeployment`")]
    PolicyKind(String),
    /// No document of a role.
    #[error("there is no Role or RoleBinding in it")]
    NoPolicy,
    /// The document does not have the fields of its kind.
    #[error("{kind} `{name}`: {why}")]
    Malformed {
        /// Its kind.
        kind: &'static str,
        /// Its name, where it has one.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// How an image is built, of which nothing can be chosen.
    #[error(
        "MLModel `{0}`: `build` is not supported, as images are built of the model and its `requirements` alone: remove it, or \
         build an image yourself and name it as `image`"
    )]
    Build(String),
    /// A deployment of a model that is in none of the documents.
    #[error("MLDeployment `{deployment}` names the model `{model}`, which is not among the documents: add its MLModel")]
    NoModel {
        /// The deployment.
        deployment: String,
        /// The model that it names.
        model: String,
    },
    /// A field that has no meaning on one machine.
    #[error("MLDeployment `{name}`: `{field}` needs Kubernetes: remove it, or apply the document to a cluster")]
    NeedsCluster {
        /// The document's name.
        name: String,
        /// The field.
        field: &'static str,
    },
    /// Two statements that exclude each other.
    #[error("{0}")]
    Contradiction(String),
    /// A name that no service can have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No document at all.
    #[error("there is no MLModel or MLDeployment in it")]
    Empty,
}

/// Turns documents into what is to be deployed: one request for each MLDeployment, and one with the defaults for each
/// MLModel that no MLDeployment names.
pub fn deploy_requests(documents: Vec<Value>) -> Result<Vec<DeployRequest>, DocumentError> {
    let mut models: BTreeMap<String, (ModelDocument, bool)> = BTreeMap::new();
    let mut deployments = Vec::new();
    for document in documents {
        match document.get("kind").and_then(Value::as_str) {
            Some("MLModel") => {
                let model = parse::<ModelDocument>("MLModel", document)?;
                if models.insert(model.metadata.name.clone(), (model.spec, false)).is_some() {
                    let name = model.metadata.name;
                    return Err(DocumentError::Contradiction(format!("there are two MLModels `{name}`: keep one")));
                }
            }
            Some("MLDeployment") => deployments.push(parse::<DeploymentDocument>("MLDeployment", document)?),
            other => return Err(DocumentError::Kind(other.unwrap_or_default().into())),
        }
    }
    let mut requests = Vec::new();
    for Document { metadata, spec, .. } in deployments {
        let labels = Some(metadata.labels).filter(|labels| !labels.is_empty());
        let wanted = spec.model_name.clone().unwrap_or_else(|| metadata.name.clone());
        let (model, used) = models
            .get_mut(&wanted)
            .ok_or_else(|| DocumentError::NoModel { deployment: metadata.name.clone(), model: wanted.clone() })?;
        *used = true;
        let request = on_one_machine(&wanted, model.clone(), &metadata.name, spec)?;
        requests.push(DeployRequest { labels, ..request });
    }
    for (name, (model, _)) in models.into_iter().filter(|(_, (_, used))| !used) {
        requests.push(on_one_machine(&name, model, &name, DeploymentDocument::default())?);
    }
    if requests.is_empty() { Err(DocumentError::Empty) } else { Ok(requests) }
}

fn parse<S: for<'de> Deserialize<'de>>(kind: &'static str, document: Value) -> Result<Document<S>, DocumentError> {
    let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("?").to_string();
    let parsed: Document<S> = serde_json::from_value(document).map_err(|error| DocumentError::Malformed {
        kind,
        name,
        why: error.to_string(),
    })?;
    if parsed.api_version == API_VERSION { Ok(parsed) } else { Err(DocumentError::ApiVersion(parsed.api_version)) }
}

fn on_one_machine(
    model_document: &str,
    model: ModelDocument,
    deployment: &str,
    spec: DeploymentDocument,
) -> Result<DeployRequest, DocumentError> {
    let fields = [
        ("pod", spec.pod.is_some()),
        ("paused", spec.paused.is_some()),
        ("port", model.port.is_some()),
        ("autoscaling", spec.autoscaling.is_some()),
    ];
    if let Some((field, _)) = fields.into_iter().find(|(_, given)| *given) {
        return Err(DocumentError::NeedsCluster { name: deployment.into(), field });
    }
    if let (Some(of_model), Some(of_deployment)) = (&model.version, &spec.version)
        && of_model != of_deployment
    {
        return Err(DocumentError::Contradiction(format!(
            "MLDeployment `{deployment}` asks for version {of_deployment}, but MLModel `{model_document}` is version {of_model}"
        )));
    }
    request(model_document, model, deployment, spec)
}

/// What a model and its deployment ask for together. The version is the deployment's, else the model's; `pod`, `paused`,
/// `port` and `autoscaling` are the caller's to look at.
///
/// # Errors
/// A field that this version of KEA cannot act upon, statements that exclude each other, a name that no service can
/// have.
pub fn request(
    model_document: &str,
    model: ModelDocument,
    deployment: &str,
    spec: DeploymentDocument,
) -> Result<DeployRequest, DocumentError> {
    model.check(model_document)?;
    let functions = model.stated();
    let service_id: ServiceId = deployment.parse()?;
    Ok(DeployRequest {
        model_name: model.model_name.unwrap_or_else(|| model_document.to_string()),
        service_id: Some(service_id),
        framework: model.model_framework,
        replicas: spec.replicas,
        container_image: model.image,
        source_code: model.source.or(model.s3_path),
        version: spec.version.or(model.version),
        command: model.command,
        requirements: model.requirements,
        functions,
        env: spec.env,
        resources: spec.resources,
        cache: spec.cache,
        timeout: spec.timeout,
        access: spec.access,
        labels: None,
        audit: spec.audit,
        load_balancer: spec.load_balancer,
        health: spec.health,
        limits: spec.limits,
        rate_limit: spec.rate_limit,
        server: spec.server,
        routes: spec.routes,
        canary: spec.canary,
        shadow: spec.shadow,
        rollout: spec.rollout,
        validation: spec.validation,
        allow_breaking: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model(spec: Value) -> Value {
        json!({"apiVersion": API_VERSION, "kind": "MLModel", "metadata": {"name": "iris"}, "spec": spec})
    }

    fn deployment(spec: Value) -> Value {
        json!({"apiVersion": API_VERSION, "kind": "MLDeployment", "metadata": {"name": "iris"}, "spec": spec})
    }

    fn refused(documents: Vec<Value>) -> String {
        deploy_requests(documents).unwrap_err().to_string()
    }

    #[test]
    fn a_model_and_its_deployment_make_one_request() {
        let model = model(json!({"source": "./iris.joblib", "modelFramework": "ScikitLearn", "version": "2"}));
        let requests = deploy_requests(vec![model, deployment(json!({"replicas": 3}))]).unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].service_id.as_ref().unwrap().as_str(), "iris");
        assert_eq!(requests[0].replicas, Some(3));
        assert_eq!(requests[0].source_code.as_deref(), Some("./iris.joblib"));
    }

    #[test]
    fn a_canary_a_shadow_and_a_rollout_are_asked_for_on_one_machine_too() {
        let asked = |spec: Value| {
            let requests =
                deploy_requests(vec![model(json!({"source": "x", "version": "2"})), deployment(spec)]).unwrap();
            requests.into_iter().next().unwrap()
        };
        let canary = asked(json!({"canary": {"version": "2", "weight": 10}})).canary.unwrap();
        assert_eq!((canary.version.as_str(), canary.weight), ("2", 10));
        let shadow = asked(json!({"shadow": {"version": "2", "percent": 5}})).shadow.unwrap();
        assert_eq!((shadow.version.as_str(), shadow.percent()), ("2", 5));
        assert_eq!(asked(json!({"rollout": {"steps": [{"weight": 10}]}})).rollout.unwrap().weight(0), 10);
    }

    #[test]
    fn labels_of_a_deployment_are_those_of_its_service() {
        let mut deployment = deployment(json!({"access": {"roles": ["student"]}}));
        deployment["metadata"]["labels"] = json!({"team": "school"});
        let requests = deploy_requests(vec![model(json!({"source": "x"})), deployment]).unwrap();
        assert_eq!(requests[0].labels.as_ref().unwrap()["team"], "school");
        assert_eq!(requests[0].access.as_ref().unwrap().roles[0].as_str(), "student");
    }

    #[test]
    fn a_model_alone_is_deployed_with_the_defaults() {
        let requests = deploy_requests(vec![model(json!({"s3Path": "./iris.joblib"}))]).unwrap();
        assert_eq!(requests[0].replicas, None);
        assert_eq!(requests[0].source_code.as_deref(), Some("./iris.joblib"));
    }

    #[test]
    fn types_of_a_model_are_what_is_stated_of_predict() {
        let spec = json!({
            "source": "x",
            "functions": [{"name": "explain"}],
            "inputType": [{"name": "pixels", "type": "FP32", "shape": [-1, 784]}],
            "outputType": [{"name": "label", "enum": ["cat", "dog"]}],
        });
        let requests = deploy_requests(vec![model(spec)]).unwrap();
        let stated = requests[0].functions.as_ref().unwrap();
        let told: Vec<_> = stated.iter().map(|of| (of.name.as_str(), of.inputs.len(), of.outputs.len())).collect();
        assert_eq!(told, [("explain", 0, 0), ("predict", 1, 1)]);
        assert_eq!(stated[1].inputs[0].shape, Some(vec![-1, 784]));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        assert!(refused(vec![model(json!({"sauce": "x"}))]).contains("unknown field `sauce`"));
        assert!(
            refused(vec![model(json!({"inputType": "image"}))])
                .contains("`\"image\"` as `inputType` or `outputType` names no")
        );
        let wrong = json!({"outputType": [{"name": "label", "enum": ["a"], "example": "b"}]});
        let told = refused(vec![model(wrong)]);
        assert!(told.contains("`/outputType/0/example`: it says \"b\", but `/outputType/0/enum` says"), "{told}");
        assert!(refused(vec![model(json!({"inputType": [{"sort": "x"}]}))]).contains("unknown field `sort`"));
        assert!(
            refused(vec![model(json!({"build": {}}))]).contains("`build` is not supported, as images are built of")
        );
        let twice = json!({"functions": [{"name": "predict"}], "outputType": []});
        assert!(refused(vec![model(twice)]).contains("states `predict`, as `inputType` and `outputType` do"));
        let unknown = json!({"functions": [{"name": "predict", "inputs": [{"name": "x", "type": "float"}]}]});
        assert!(refused(vec![model(unknown)]).contains("`float` is not a type: write one of number, integer"));
        let scaled = deployment(json!({"autoscaling": {"maxReplicas": 2}}));
        assert!(refused(vec![model(json!({"source": "x"})), scaled]).contains("`autoscaling` needs Kubernetes"));
        assert!(refused(vec![deployment(json!({"modelName": "other"}))]).contains("names the model `other`"));
        assert!(refused(vec![json!({"kind": "Pod"})]).contains("`kind: Pod` is not known"));
        assert!(refused(vec![model(json!({"source": "a", "s3Path": "b"}))]).contains("exclude each other"));
        assert!(refused(vec![]).contains("no MLModel"));
    }
}
