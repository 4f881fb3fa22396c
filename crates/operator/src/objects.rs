//! The objects that a service is made of, built from what is wanted: pure, so that a test can look at each field.

mod build_job;
mod certificate;
mod deployment;
mod service;
#[cfg(test)]
mod tests;

use k8s_openapi::{
    api::core::v1::ResourceRequirements,
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference},
    },
};
use kube::Resource;
use serde_json::Value;

pub(crate) use build_job::{BUILD_SETTINGS, build_job, model_text};
pub(crate) use certificate::certificate;
pub(crate) use deployment::deployment;
pub(crate) use service::{autoscaler, disruption_budget, network_policy, service, service_account};

use crate::{
    names,
    resources::MlDeployment,
    settings::ClusterSettings,
    version::{ImageRecord, ModelRecord, ReplicaRecord},
    wish::Wish,
};

/// Port on which replicas answer, by name: what it is differs where a web service has it for itself.
pub(crate) const PORT_NAME: &str = "kea";

/// What the objects of one version are made of.
pub(crate) struct VersionParts<'a> {
    pub(crate) owner: &'a MlDeployment,
    pub(crate) wish: &'a Wish,
    pub(crate) version: &'a kea_core::VersionId,
    pub(crate) model: &'a ModelRecord,
    pub(crate) image: &'a ImageRecord,
    pub(crate) replica: Option<&'a ReplicaRecord>,
    pub(crate) replicas: u32,
    pub(crate) settings: &'a ClusterSettings,
    /// Whether its pods are reached by mutual TLS alone.
    pub(crate) mutual_tls: bool,
}

/// Why a part of the specification that is Kubernetes' own cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`spec.pod.{field}`: {why}")]
pub(crate) struct PodError {
    field: &'static str,
    why: String,
}

/// Reads a list of the specification's that is Kubernetes' own.
fn read_list<T: serde::de::DeserializeOwned>(field: &'static str, values: &[Value]) -> Result<Vec<T>, PodError> {
    let read = |value: &Value| serde_json::from_value(value.clone());
    values.iter().map(read).collect::<Result<_, _>>().map_err(|error| PodError { field, why: error.to_string() })
}

/// Metadata of an object that goes with its MLDeployment.
fn metadata(owner: &MlDeployment, name: impl Into<String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: owner.metadata.namespace.clone(),
        labels: Some(names::service_labels(owner.name())),
        owner_references: Some(vec![owner_reference(owner)]),
        ..ObjectMeta::default()
    }
}

/// What a container of KEA's own asks for and may use at most, each as CPU and memory. All four are given, since a quota
/// of a namespace may count each of them.
fn needs(requests: [&str; 2], limits: [&str; 2]) -> ResourceRequirements {
    let amounts = |[cpu, memory]: [&str; 2]| {
        Some([("cpu", cpu), ("memory", memory)].map(|(name, amount)| (name.into(), Quantity(amount.into()))).into())
    };
    ResourceRequirements { requests: amounts(requests), limits: amounts(limits), claims: None }
}

fn owner_reference(owner: &MlDeployment) -> OwnerReference {
    OwnerReference {
        api_version: MlDeployment::api_version(&()).into(),
        kind: MlDeployment::kind(&()).into(),
        name: owner.name().into(),
        uid: owner.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
