//! Names, labels and annotations of what the operator makes.

use std::collections::BTreeMap;

use kea_core::VersionId;
use sha2::{Digest, Sha256};

use crate::resources::MlDeployment;

/// Who owns fields of objects that are applied.
pub(crate) const FIELD_MANAGER: &str = "kea-operator";

/// Label of the service that a Deployment or pod belongs to.
pub(crate) const SERVICE: &str = "ml.kea-project.io/service";

/// Label of the version that a Deployment or pod runs.
pub(crate) const VERSION: &str = "ml.kea-project.io/version";

/// Label of pods: the uid of the MLDeployment that they serve. One of the same name later is another one.
pub(crate) const OWNER: &str = "ml.kea-project.io/owner";

/// Annotation of a version's Deployment: the model as it was asked for, in JSON.
pub(crate) const MODEL: &str = "ml.kea-project.io/model";

/// Annotation of a version's Deployment: what a replica said of itself, in JSON.
pub(crate) const REPLICA: &str = "ml.kea-project.io/replica";

/// Annotation of a version's Deployment: what the registry or the build said of its image, in JSON.
pub(crate) const IMAGE: &str = "ml.kea-project.io/image";

/// Annotation of what is applied: a digest of it. A field that is not wanted any more shows by nothing else.
pub(crate) const APPLIED: &str = "ml.kea-project.io/applied";

/// Annotation by which an object that KEA did not make is handed to it.
pub(crate) const ADOPT: &str = "ml.kea-project.io/adopt";

/// Annotation of an MLDeployment: the version that is to take over now, without the steps that are left.
pub(crate) const PROMOTE: &str = "ml.kea-project.io/promote";

/// Annotation of an MLDeployment: when somebody asked for a version again that went back before.
pub(crate) const TRY_AGAIN: &str = "ml.kea-project.io/try-again";

/// Annotation of pods that speak mutual TLS: of replicas, which are reached by nothing else, and of routers, which can.
/// What a pod speaks is a part of it, so that each is spoken to as it is while others are replaced.
pub(crate) const TLS: &str = "ml.kea-project.io/tls";

/// The value of [`TLS`].
pub(crate) const MUTUAL: &str = "mutual";

/// Annotation of the Secret with a service's certificate: what tells that from others.
pub(crate) const SEAL: &str = "ml.kea-project.io/seal";

/// Annotation of an MLDeployment: versions, with commas between them, that may answer although they would break callers.
pub(crate) const ALLOW_BREAKING: &str = "ml.kea-project.io/allow-breaking";

/// Label that all of what KEA makes has.
pub(crate) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "kea");

/// Label of pods that serve models.
pub(crate) const COMPONENT: &str = "app.kubernetes.io/component";

/// The component that pods of models are.
pub(crate) const MODEL_COMPONENT: &str = "model";

/// The component that pods of builds are.
pub(crate) const BUILD_COMPONENT: &str = "build";

/// Selects everything that KEA makes.
pub(crate) fn managed() -> String {
    format!("{}={}", MANAGED_BY.0, MANAGED_BY.1)
}

/// Labels of everything that belongs to a service.
pub(crate) fn service_labels(service: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".into(), service.into()),
        (MANAGED_BY.0.into(), MANAGED_BY.1.into()),
        (SERVICE.into(), service.into()),
    ])
}

/// What selects the pods that serve a service.
pub(crate) fn pod_selector(owner: &MlDeployment) -> BTreeMap<String, String> {
    BTreeMap::from([
        (COMPONENT.into(), MODEL_COMPONENT.into()),
        (SERVICE.into(), owner.name().into()),
        (OWNER.into(), owner.metadata.uid.clone().unwrap_or_default()),
    ])
}

/// What selects the pods that serve a version of a service.
pub(crate) fn version_selector(owner: &MlDeployment, version: &VersionId) -> BTreeMap<String, String> {
    let mut labels = pod_selector(owner);
    labels.insert(VERSION.into(), version.to_string());
    labels
}

/// Labels of a version's objects.
pub(crate) fn version_labels(owner: &MlDeployment, version: &VersionId) -> BTreeMap<String, String> {
    let mut labels = service_labels(owner.name());
    labels.extend(version_selector(owner, version));
    labels
}

/// Name of a version's Deployment: `iris-2`, `iris-2.1.0`. The part behind the last `-` never holds one, so that names
/// of two services cannot meet; a version that does not fit into a name of Kubernetes stands there as a digest.
pub(crate) fn of_version(service: &str, version: &VersionId) -> String {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let text = version.as_str();
    if text.len() <= 40 && text.split('.').all(plain) {
        return format!("{service}-{text}");
    }
    format!("{service}-{}", short_digest(text))
}

/// Name of the Job that builds a version: at most 63 letters, since Kubernetes makes it a label. A service whose name is
/// cut is in the digest, so that names of two services cannot meet.
pub(crate) fn of_build(service: &str, version: &VersionId, model: &str) -> String {
    let (kept, cut) = service.split_at(service.len().min(45));
    let what = if cut.is_empty() { format!("{version}\0{model}") } else { format!("{version}\0{model}\0{service}") };
    format!("{}-build-{}", kept.trim_end_matches('-'), short_digest(&what))
}

/// Name of the Secret with a service's certificate.
pub(crate) fn of_certificate(service: &str) -> String {
    format!("{service}-kea-tls")
}

/// The name in the certificate of a service's replicas: that of its Service.
pub(crate) fn tls_host(namespace: &str, service: &str) -> String {
    format!("{service}.{namespace}.svc")
}

/// Name of an object of KEA's own that belongs to no namespace: two installations in one cluster have other names.
pub(crate) fn of_installation(name: &str, namespace: &str) -> String {
    match namespace {
        "kea" => name.into(),
        other => format!("{name}-{other}"),
    }
}

/// Ten hexadecimal digits that stand for `text`.
pub(crate) fn short_digest(text: &str) -> String {
    Sha256::digest(text).iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_versions_are_readable_where_they_can_be_and_never_meet() {
        let name = |service: &str, version: &str| of_version(service, &version.parse().unwrap());
        assert_eq!(name("iris", "2"), "iris-2");
        assert_eq!(name("iris", "2.1.0"), "iris-2.1.0");
        assert_ne!(name("a", "b-1"), name("a-b", "1"));
        assert_ne!(name("iris", "V2"), name("iris", "v2"));
        assert!(!name("iris", "2..").contains(".."));
    }

    #[test]
    fn names_of_builds_fit_a_label_and_never_meet() {
        let name = |service: &str| of_build(service, &VersionId::first(), "{}");
        let longest = "a".repeat(63);
        assert!(name(&longest).len() <= 63);
        assert_ne!(name(&longest), name(&longest[..62]));
        assert_ne!(name(&longest), name(&longest[..45]));
    }

    #[test]
    fn names_of_versions_leave_room_for_what_kubernetes_puts_behind_them() {
        let longest = of_version(&"a".repeat(63), &"1".repeat(63).parse().unwrap());
        // A ReplicaSet has a hash of ten letters behind the Deployment's name, and is in a DNS name of 253.
        assert!(longest.len() + 11 <= 253, "{longest}");
        let readable = of_version(&"a".repeat(63), &"1".repeat(40).parse().unwrap());
        assert!(readable.len() + 11 <= 253, "{readable}");
    }
}
