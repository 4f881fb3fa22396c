//! Versions of a service, as its Deployments remember them.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kea_core::{Contract, Engine, Framework, VersionId, documents::ModelDocument, stated::StatedFunction};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::names;

/// What makes a version: another one of these is another version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ModelRecord {
    /// Path or URL of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// What made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) framework: Option<Framework>,
    /// Python packages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) requirements: Vec<String>,
    /// Command of a web service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) command: Vec<String>,
    /// The image that was asked for, as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    /// Port of the web service in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    /// What its author states of its functions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) functions: Vec<StatedFunction>,
}

impl ModelRecord {
    /// The model that a document describes.
    pub(crate) fn of(document: &ModelDocument) -> Self {
        Self {
            source: document.source.clone().or_else(|| document.s3_path.clone()),
            framework: document.model_framework,
            requirements: document.requirements.clone().unwrap_or_default(),
            command: document.command.clone().unwrap_or_default(),
            image: document.image.clone(),
            port: document.port,
            functions: document.stated().unwrap_or_default(),
        }
    }
}

/// What is known of a version's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageRecord {
    /// The image by digest: `REGISTRY/NAME@sha256:…`.
    pub(crate) reference: String,
    /// What made the model, where the image says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) framework: Option<Framework>,
    /// Port of a web service that is not KEA's model server; `None` for KEA's own images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) web_service: Option<u16>,
    /// Whether the model server in it can serve TLS. One that an earlier KEA has built cannot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tls: bool,
}

impl ImageRecord {
    /// Whether its pods can be reached by TLS. Beside a web service KEA's own image serves it.
    pub(crate) fn can_tls(&self) -> bool {
        self.tls || self.web_service.is_some()
    }
}

/// What a replica said of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReplicaRecord {
    /// What runs the model.
    pub(crate) engine: Engine,
    /// What it offers.
    pub(crate) contract: Arc<Contract>,
}

/// One version, as its Deployment remembers it.
#[derive(Clone, Debug)]
pub(crate) struct VersionRecord {
    pub(crate) version: VersionId,
    pub(crate) model: ModelRecord,
    pub(crate) image: Option<ImageRecord>,
    pub(crate) replica: Option<ReplicaRecord>,
    pub(crate) created_at: Timestamp,
    /// Replicas that its Deployment asks for.
    pub(crate) replicas: u32,
    pub(crate) deployment: Arc<Deployment>,
}

impl VersionRecord {
    /// What a Deployment remembers; `None` where it is none of KEA's.
    pub(crate) fn of(deployment: Arc<Deployment>) -> Option<Self> {
        let labels = deployment.metadata.labels.as_ref()?;
        let version = labels.get(names::VERSION)?.parse().ok()?;
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let created = deployment.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Some(Self {
            version,
            model: annotation(&deployment, names::MODEL)?,
            image: annotation(&deployment, names::IMAGE),
            replica: annotation(&deployment, names::REPLICA),
            created_at: created.unwrap_or_default(),
            replicas: u32::try_from(replicas).unwrap_or(0),
            deployment,
        })
    }
}

/// What an annotation holds, where it holds that.
fn annotation<T: DeserializeOwned>(deployment: &Deployment, name: &str) -> Option<T> {
    let text = deployment.metadata.annotations.as_ref()?.get(name)?;
    serde_json::from_str(text).ok()
}
