//! The Secret with a service's certificate, and how its pods get at it.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ContainerPort, EnvVar, Secret, SecretVolumeSource, Volume, VolumeMount},
};

use super::{deployment::variable, metadata};
use crate::{names, resources::MlDeployment};

/// Where replicas find it.
const FOLDER: &str = "/etc/kea/tls";

/// The volume of it.
const VOLUME: &str = "kea-tls";

/// Port at which replicas tell Kubernetes how they are, which has no certificate; the next one where a web service has it.
const PROBES_PORT: u16 = 8082;

/// The Secret of a service, with a `seal` by which its certificate is known again.
pub(crate) fn certificate(owner: &MlDeployment, data: BTreeMap<String, ByteString>, seal: String) -> Secret {
    let mut metadata = metadata(owner, names::of_certificate(owner.name()));
    metadata.annotations = Some(BTreeMap::from([(names::SEAL.to_string(), seal)]));
    Secret { metadata, data: Some(data), type_: Some("kubernetes.io/tls".into()), ..Secret::default() }
}

/// The port of probes, where a web service may have one of its own.
pub(super) fn probes_port(web_service: Option<u16>) -> u16 {
    if web_service == Some(PROBES_PORT) { PROBES_PORT + 1 } else { PROBES_PORT }
}

pub(super) fn probes(number: u16) -> ContainerPort {
    ContainerPort {
        name: Some("probes".into()),
        container_port: i32::from(number),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

/// What makes a model server want mutual TLS, and tell how it is at a port of its own.
pub(super) fn env(probes: u16) -> [EnvVar; 4] {
    [
        variable("KEA_TLS_CERTIFICATE", &format!("{FOLDER}/tls.crt")),
        variable("KEA_TLS_KEY", &format!("{FOLDER}/tls.key")),
        variable("KEA_TLS_CLIENT_CA", &format!("{FOLDER}/ca.crt")),
        variable("KEA_PROBES_LISTEN", &format!("0.0.0.0:{probes}")),
    ]
}

pub(super) fn volume(owner: &MlDeployment) -> Volume {
    let secret = SecretVolumeSource { secret_name: Some(names::of_certificate(owner.name())), ..Default::default() };
    Volume { name: VOLUME.into(), secret: Some(secret), ..Volume::default() }
}

pub(super) fn mount() -> VolumeMount {
    VolumeMount { name: VOLUME.into(), mount_path: FOLDER.into(), read_only: Some(true), ..VolumeMount::default() }
}
