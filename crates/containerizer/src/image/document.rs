//! What a registry says of an image, without any of its layers: its manifest for a platform, and its configuration.

use bytes::Bytes;
use oci_client::Reference;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Platform, store::is_digest};
use crate::{
    RegistryError,
    registry::{DownloadError, Repository},
};

/// Manifests and configurations are small; what is larger is none.
const DOCUMENT: u64 = 4 << 20;

/// The manifest of an image for one platform.
#[derive(Debug)]
pub(super) struct Manifest {
    /// Digest of what the image's name points at: of the manifest, or of an index that the manifest stands in.
    pub(super) named: String,
    /// Digest of the manifest.
    pub(super) digest: String,
    pub(super) document: Value,
}

/// Asks for the manifest of the repository's image for `platform`.
pub(super) async fn manifest(repository: &Repository, platform: Platform) -> Result<Manifest, RegistryError> {
    let image = repository.image();
    let (bytes, named) = repository.manifest(image).await?;
    let document = parse(image, &bytes)?;
    let Some(entries) = document["manifests"].as_array() else {
        return Ok(Manifest { digest: named.clone(), named, document });
    };
    let entry = entries.iter().find(|entry| platform.is(&entry["platform"]));
    let Some(digest) = entry.and_then(|entry| entry["digest"].as_str()).filter(|digest| is_digest(digest)) else {
        let names = entries.iter().filter_map(|entry| {
            let platform = &entry["platform"];
            Some(format!("{}/{}", platform["os"].as_str()?, platform["architecture"].as_str()?))
        });
        let known = names.collect::<Vec<_>>().join(", ");
        return Err(RegistryError::NoPlatform { image: image.whole(), platform: platform.to_string(), known });
    };
    let one = image.clone_with_digest(digest.to_owned());
    let (bytes, digest) = repository.manifest(&one).await?;
    Ok(Manifest { named, digest, document: parse(image, &bytes)? })
}

/// Asks for the configuration that a manifest names.
pub(super) async fn config(repository: &Repository, manifest: &Value) -> Result<Value, RegistryError> {
    let image = repository.image();
    let described = &manifest["config"];
    let digest = described["digest"].as_str().filter(|digest| is_digest(digest));
    let (Some(digest), Some(bytes)) = (digest, described["size"].as_u64()) else {
        return Err(malformed(image, "its manifest names no configuration"));
    };
    if bytes > DOCUMENT {
        return Err(malformed(image, "its configuration is too large"));
    }
    let mut text = Vec::new();
    let downloading = repository.download(digest, bytes, |chunk, _| {
        text.extend_from_slice(chunk);
        Ok(())
    });
    downloading.await.map_err(|error| match error {
        DownloadError::Registry(error) => error,
        DownloadError::Broken(why) => malformed(image, &why),
        DownloadError::Sink(why) => malformed(image, &why.to_string()),
    })?;
    if format!("sha256:{}", hex::encode(Sha256::digest(&text))) != digest {
        return Err(malformed(image, "its configuration is of another digest"));
    }
    parse(image, &Bytes::from(text))
}

fn parse(image: &Reference, bytes: &Bytes) -> Result<Value, RegistryError> {
    serde_json::from_slice(bytes).map_err(|error| malformed(image, &error.to_string()))
}

/// What a registry says of `image` is of no known form.
pub(super) fn malformed(image: &Reference, why: &str) -> RegistryError {
    RegistryError::Protocol {
        registry: image.registry().to_owned(),
        doing: "asked for the image",
        why: format!("{}: {why}", image.whole()),
    }
}
