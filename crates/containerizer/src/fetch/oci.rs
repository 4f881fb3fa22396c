//! Models that are artifacts of a registry, as ORAS writes them: a file is a layer that is titled with its name, a folder
//! one that is to be unpacked.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use oci_client::Reference;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Count, Got, Job, Landed, Listed, Listing, MODEL, place};
use crate::{
    FETCH, FetchError,
    progress::blocking,
    registry::{self, DownloadError, Repository},
    unpack::{self, Most},
};

const TITLE: &str = "org.opencontainers.image.title";
const UNPACK: &str = "io.deis.oras.content.unpack";
/// What the configurations of images that run are.
const IMAGES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// An artifact, as `host/repository:tag` or `host/repository@sha256:…`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Artifact {
    reference: Reference,
}

/// What the registry says of an artifact.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    annotations: BTreeMap<String, String>,
}

impl Descriptor {
    fn title(&self) -> Option<&str> {
        self.annotations.get(TITLE).map(String::as_str)
    }

    /// Whether the layer, now the file at `path`, is an archive of files. ORAS calls a file a tar as well where its user
    /// calls it nothing, so that such a file is taken for one only if it is called so.
    fn is_archive(&self, path: &Path) -> bool {
        let compressed = ["tar+gzip", "tar+zstd", "tar.gzip"].iter().any(|end| self.media_type.ends_with(end));
        let tar = self.media_type.ends_with("tar");
        let called_so = || self.title().is_none() || unpack::bundle(path).is_ok_and(|kind| kind.is_some());
        self.annotations.get(UNPACK).is_some_and(|unpack| unpack == "true") || compressed || (tar && called_so())
    }
}

impl Artifact {
    pub(crate) fn parse(rest: &str) -> Result<Self, String> {
        let (host, path) = rest.split_once('/').unwrap_or_default();
        if path.is_empty() || host.contains('@') || !(host.contains(['.', ':']) || host == "localhost") {
            return Err("write it as `oci://host/repository:tag`".to_owned());
        }
        registry::reference(rest).map(|reference| Self { reference }).map_err(|error| error.to_string())
    }

    pub(super) fn shown(&self) -> String {
        format!("oci://{}", self.reference.whole())
    }

    pub(super) async fn fetch(&self, job: &Job<'_>) -> Result<Got, FetchError> {
        let repository = job.registries.open(&self.reference).await?;
        let (manifest, digest) = repository.manifest(&self.reference).await?;
        if job.is_known(&digest) {
            return Ok(Got::Unchanged);
        }
        let listing = self.listing(&manifest, job)?;
        let folder = job.staging.path().join(MODEL);
        fs::create_dir_all(&folder).map_err(FetchError::storing(&folder))?;
        let (mut count, mut single) = (Count::of(listing.files.len()), None);
        let mut most = Most { files: job.bounds.files, bytes: job.bounds.bytes };
        for layer in &listing.files {
            let path = self.download(&repository, layer, &mut count, job).await?;
            if layer.at.is_archive(&path) {
                most = self.unpack(&path, most, job).await?;
            } else {
                let name = layer.at.title().map(|title| super::safe(&self.shown(), title)).transpose()?;
                let name = name.ok_or_else(|| self.unfit("one of its layers has no title"))?;
                let placed = place(job.staging, &name)?;
                if placed.exists() {
                    return Err(self.unfit("two of its layers have the same title"));
                }
                fs::rename(&path, &placed).map_err(FetchError::storing(&placed))?;
                single = Some(placed).filter(|_| listing.files.len() == 1);
            }
        }
        let notes = vec![format!("manifest {digest}")];
        Ok(Got::New(Landed { path: single.unwrap_or(folder), mark: Some(digest), notes }))
    }

    /// The artifact's layers. Each is downloaded under its digest, whatever its title is.
    fn listing(&self, manifest: &[u8], job: &Job<'_>) -> Result<Listing<Descriptor>, FetchError> {
        let manifest: Manifest = serde_json::from_slice(manifest).map_err(|error| self.unfit(&error.to_string()))?;
        if IMAGES.contains(&manifest.config.media_type.as_str()) {
            return Err(self.unfit("it is an image that runs, and not a model's files"));
        }
        if manifest.layers.is_empty() {
            return Err(self.unfit("it has no layers: an index of several artifacts is none itself"));
        }
        let mut listing = Listing::new(self.shown(), job.bounds);
        for layer in manifest.layers {
            let hex = layer.digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex::decode(hex).is_ok());
            let hex = hex.ok_or_else(|| self.unfit("a layer's digest is not of sha256"))?.to_owned();
            listing.add(&hex, layer.size, layer)?;
        }
        Ok(listing)
    }

    async fn download(
        &self,
        repository: &Repository,
        layer: &Listed<Descriptor>,
        count: &mut Count,
        job: &Job<'_>,
    ) -> Result<PathBuf, FetchError> {
        // An archive is known by the end of its name, which the title may have.
        let name = layer.at.title().map_or("layer", |title| super::base(title));
        let folder = job.staging.path().join(format!("{}-{}", count.files, layer.name));
        fs::create_dir(&folder).map_err(FetchError::storing(&folder))?;
        let path = folder.join(super::safe(&self.shown(), name)?);
        let storing = || FetchError::storing(&path);
        let mut file = File::create_new(&path).map_err(storing())?;
        let mut hash = Sha256::new();
        let downloading = repository.download(&layer.at.digest, layer.bytes, |chunk, have| {
            hash.update(chunk);
            job.tell(&count.told(have));
            file.write_all(chunk)
        });
        downloading.await.map_err(|error| match error {
            DownloadError::Registry(error) => error.into(),
            DownloadError::Broken(why) => FetchError::Network { url: self.shown(), why },
            DownloadError::Sink(why) => storing()(why),
        })?;
        let (found, bytes) = (hex::encode(hash.finalize()), layer.bytes);
        if found != layer.name {
            return Err(FetchError::Digest { what: self.shown(), expected: layer.name.clone(), found });
        }
        count.add(bytes);
        Ok(path)
    }

    /// Unpacks a layer, of which `most` may come, and returns what may come of the others.
    async fn unpack(&self, path: &Path, most: Most, job: &Job<'_>) -> Result<Most, FetchError> {
        let kind = unpack::kind_of(path).map_err(FetchError::reading(path))?;
        let kind = kind.ok_or_else(|| self.unfit("a layer that is to be unpacked is no archive"))?;
        let (path, into) = (path.to_owned(), job.staging.path().join(MODEL));
        blocking(job.progress, FETCH, move |report| unpack::unpack(&path, kind, &into, most, report)).await
    }

    fn unfit(&self, why: &str) -> FetchError {
        FetchError::Artifact { what: self.shown(), why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_has_a_host_and_a_name() {
        let check = |text: &str, shown: &str| assert_eq!(Artifact::parse(text).unwrap().shown(), shown);
        check("ghcr.io/org/iris:1", "oci://ghcr.io/org/iris:1");
        check("localhost:5000/iris", "oci://localhost:5000/iris:latest");
        for text in ["iris:1", "org/iris", "me:secret@host.io/iris", "host.io/", "host.io/Iris:1"] {
            assert!(Artifact::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_layer_is_unpacked_where_it_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("iris.joblib");
        fs::write(&path, [0x1f, 0x8b, 8, 0]).unwrap();
        let layer = |media_type: &str, annotations: &[(&str, &str)]| Descriptor {
            media_type: media_type.to_owned(),
            annotations: annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..Descriptor::default()
        };
        let titled = [(TITLE, "iris.joblib")];
        assert!(!layer("application/vnd.oci.image.layer.v1.tar", &titled).is_archive(&path));
        assert!(layer("application/vnd.oci.image.layer.v1.tar", &[]).is_archive(&path));
        assert!(layer("application/vnd.oci.image.layer.v1.tar+gzip", &titled).is_archive(&path));
        assert!(layer("application/any", &[(TITLE, "iris"), (UNPACK, "true")]).is_archive(&path));
    }
}
