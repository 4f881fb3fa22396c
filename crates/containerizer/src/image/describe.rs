//! The documents that make an image of its parts: manifests and indexes, in the forms of the OCI.

use serde_json::{Value, json};

use super::{Platform, store::Blob};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const SBOM: &str = "application/vnd.cyclonedx+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The configuration of what needs none.
pub(crate) const EMPTY_CONFIG: &[u8] = b"{}";

/// How one document refers to another.
pub(crate) fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest, "size": blob.bytes})
}

/// The manifest of an image for one platform.
pub(crate) fn manifest(config: &Blob, layers: &[Value], annotations: &[(String, String)]) -> Value {
    let annotations: serde_json::Map<_, _> =
        annotations.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": layers,
        "annotations": annotations,
    })
}

/// The index of an image for several platforms.
pub(crate) fn index(manifests: &[(Platform, Blob)]) -> Value {
    let entry = |(platform, manifest): &(Platform, Blob)| {
        let mut entry = descriptor(MANIFEST, manifest);
        entry["platform"] = platform.described();
        entry
    };
    json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": manifests.iter().map(entry).collect::<Vec<_>>(),
    })
}

/// The manifest that attaches a bill of materials to the image `subject`.
pub(crate) fn sbom_manifest(sbom: &Blob, empty: &Blob, subject: &Blob) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": SBOM,
        "config": descriptor(EMPTY, empty),
        "layers": [descriptor(SBOM, sbom)],
        "subject": descriptor(MANIFEST, subject),
    })
}

/// How the bill of materials stands in a list of what refers to an image.
pub(crate) fn referrer(manifest: &Blob) -> Value {
    let mut entry = descriptor(MANIFEST, manifest);
    entry["artifactType"] = SBOM.into();
    entry
}
