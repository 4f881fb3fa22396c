//! The documents `MLModel` and `MLDeployment`: the custom resources of a cluster, and the files of `kea deploy -f`.
//!
//! Every field of their schema is either acted upon or refused with what to do instead; none is ignored.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    management::DeployRequest,
    name::{NameError, ServiceId, VersionId},
    quantity::Span,
    service::{Access, CacheSettings, Framework, LoadBalancing, Resources, ServerSettings},
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
    /// Labels; of no effect on one machine.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations; of no effect on one machine.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A model and where it comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelDocument {
    /// The model's name; the document's name where it is not given.
    #[serde(default)]
    pub model_name: Option<String>,
    /// What made it.
    #[serde(default)]
    pub model_framework: Option<Framework>,
    /// Path or URL of its file or folder.
    #[serde(default)]
    pub source: Option<String>,
    /// The same, by its first name.
    #[serde(default)]
    pub s3_path: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: Option<VersionId>,
    /// Python packages it needs.
    #[serde(default)]
    pub requirements: Option<Vec<String>>,
    /// Command of an existing web service.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// An image that serves it.
    #[serde(default)]
    pub image: Option<String>,
    #[serde(default)]
    input_type: Option<Value>,
    #[serde(default)]
    output_type: Option<Value>,
    #[serde(default)]
    functions: Option<Value>,
    #[serde(default)]
    build: Option<Value>,
}

/// How a model is to be run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeploymentDocument {
    /// Name of the MLModel; of the document where it is not given.
    #[serde(default)]
    pub model_name: Option<String>,
    /// The model's version, where the MLModel does not name it.
    #[serde(default)]
    pub version: Option<VersionId>,
    /// How many replicas.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// What a replica may use.
    #[serde(default)]
    pub resources: Option<Resources>,
    /// Environment of its processes.
    #[serde(default)]
    pub env: Option<BTreeMap<String, String>>,
    /// Response cache.
    #[serde(default)]
    pub cache: Option<CacheSettings>,
    /// How long the gateway waits.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Who may call it.
    #[serde(default)]
    pub access: Option<Access>,
    /// How replicas are chosen.
    #[serde(default)]
    pub load_balancer: Option<LoadBalancing>,
    /// How the model server runs the model.
    #[serde(default)]
    pub server: Option<ServerSettings>,
    #[serde(default)]
    canary: Option<Value>,
    #[serde(default)]
    autoscaling: Option<Value>,
    #[serde(default)]
    validation: Option<Value>,
}

/// Why documents cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Another group or version.
    #[error("`apiVersion: {0}` is not known: write `apiVersion: {API_VERSION}`")]
    ApiVersion(String),
    /// Another kind.
    #[error("`kind: {0}` is not known: write `MLModel` or `MLDeployment`")]
    Kind(String),
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
    /// A field that this version of KEA cannot act upon.
    #[error("{kind} `{name}`: `{field}` is not supported yet: remove it")]
    Unsupported {
        /// The document's kind.
        kind: &'static str,
        /// The document's name.
        name: String,
        /// The field.
        field: &'static str,
    },
    /// A deployment of a model that is in none of the documents.
    #[error("MLDeployment `{deployment}` names the model `{model}`, which is not among the documents: add its MLModel")]
    NoModel {
        /// The deployment.
        deployment: String,
        /// The model that it names.
        model: String,
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
        let wanted = spec.model_name.clone().unwrap_or_else(|| metadata.name.clone());
        let (model, used) = models
            .get_mut(&wanted)
            .ok_or_else(|| DocumentError::NoModel { deployment: metadata.name.clone(), model: wanted.clone() })?;
        *used = true;
        requests.push(request(&wanted, model.clone(), &metadata.name, spec)?);
    }
    for (name, (model, _)) in models.into_iter().filter(|(_, (_, used))| !used) {
        requests.push(request(&name, model, &name, DeploymentDocument::default())?);
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

fn request(
    model_document: &str,
    model: ModelDocument,
    deployment: &str,
    spec: DeploymentDocument,
) -> Result<DeployRequest, DocumentError> {
    let refuse = |kind, name: &str, field| DocumentError::Unsupported { kind, name: name.into(), field };
    let model_fields = [
        ("inputType", &model.input_type),
        ("outputType", &model.output_type),
        ("functions", &model.functions),
        ("build", &model.build),
    ];
    if let Some((field, _)) = model_fields.into_iter().find(|(_, value)| value.is_some()) {
        return Err(refuse("MLModel", model_document, field));
    }
    let deployment_fields =
        [("canary", &spec.canary), ("autoscaling", &spec.autoscaling), ("validation", &spec.validation)];
    if let Some((field, _)) = deployment_fields.into_iter().find(|(_, value)| value.is_some()) {
        return Err(refuse("MLDeployment", deployment, field));
    }
    if model.source.is_some() && model.s3_path.is_some() {
        let both = format!("MLModel `{model_document}`: `source` and `s3Path` exclude each other: keep `source`");
        return Err(DocumentError::Contradiction(both));
    }
    if let (Some(of_model), Some(of_deployment)) = (&model.version, &spec.version)
        && of_model != of_deployment
    {
        return Err(DocumentError::Contradiction(format!(
            "MLDeployment `{deployment}` asks for version {of_deployment}, but MLModel `{model_document}` is version {of_model}"
        )));
    }
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
        env: spec.env,
        resources: spec.resources,
        cache: spec.cache,
        timeout: spec.timeout,
        access: spec.access,
        load_balancer: spec.load_balancer,
        server: spec.server,
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
    fn a_model_alone_is_deployed_with_the_defaults() {
        let requests = deploy_requests(vec![model(json!({"s3Path": "./iris.joblib"}))]).unwrap();
        assert_eq!(requests[0].replicas, None);
        assert_eq!(requests[0].source_code.as_deref(), Some("./iris.joblib"));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        assert!(refused(vec![model(json!({"sauce": "x"}))]).contains("unknown field `sauce`"));
        assert!(refused(vec![model(json!({"functions": []}))]).contains("`functions` is not supported yet"));
        let canary = deployment(json!({"canary": {"version": "2", "weight": 10}}));
        assert!(refused(vec![model(json!({"source": "x"})), canary]).contains("`canary` is not supported yet"));
        assert!(refused(vec![deployment(json!({"modelName": "other"}))]).contains("names the model `other`"));
        assert!(refused(vec![json!({"kind": "Pod"})]).contains("`kind: Pod` is not known"));
        assert!(refused(vec![model(json!({"source": "a", "s3Path": "b"}))]).contains("exclude each other"));
        assert!(refused(vec![]).contains("no MLModel"));
    }
}
