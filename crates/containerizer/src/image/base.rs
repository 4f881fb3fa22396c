//! The image that another one is built upon: where it is, what it consists of, and what is in it.

use std::io::{self, Read, Write};

use kea_core::management::StepState;
use oci_client::Reference;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    FACTS, ImageError, Platform,
    document::{self, Manifest, malformed},
    glibc::Glibc,
    store::{Store, is_digest},
};
use crate::{
    BASE, Progress, RegistryError,
    progress::{Pace, blocking},
    registry::{self, DownloadError, Registries, Repository},
    shelf::size,
    unpack,
};

/// How base images are looked into. What was found is kept under it.
const FORMAT: &str = "3";

/// A base image for one platform, with all that is needed of it in the store.
#[derive(Debug)]
pub(crate) struct Base {
    /// As it was named.
    pub(crate) image: Reference,
    /// Digest of its manifest for the platform.
    pub(crate) digest: String,
    /// Its configuration.
    pub(crate) config: Value,
    pub(crate) layers: Vec<BaseLayer>,
    pub(crate) facts: Facts,
}

/// A layer of a base image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseLayer {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) bytes: u64,
}

/// What is in a base image, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Its Python, by path and by version as `3.11`.
    pub(crate) python: Option<(String, String)>,
    /// Whether programs of the GNU C library run.
    pub(crate) glibc: bool,
    /// Which one it is, where it says so.
    pub(crate) glibc_version: Option<Glibc>,
    /// Whether programs in C++ run.
    pub(crate) libstdcxx: bool,
    /// Whether it has certificates of authorities that are trusted.
    pub(crate) certificates: bool,
}

/// Finds the base image and brings what is missing of it into the store.
pub(crate) async fn resolve(
    name: &str,
    platform: Platform,
    registries: &Registries,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Base, ImageError> {
    let image = registry::reference(name)?;
    progress.step(BASE, StepState::Running, &format!("asking for {}", image.whole()));
    let repository = registries.open(&image).await?;
    let Manifest { digest, document: manifest, .. } = document::manifest(&repository, platform).await?;
    let config = document::config(&repository, &manifest).await?;
    let layers = layers(&image, &manifest)?;
    let facts = match store.note::<Facts>(FACTS, &facts_key(&digest)) {
        Some(facts) => facts,
        None => look_into(&repository, &layers, platform, &config, store, &digest, progress).await?,
    };
    Ok(Base { image, digest, config, layers, facts })
}

/// Brings a layer of a base image into the store, where it is not there yet.
pub(crate) async fn fetch(
    repository: &Repository,
    layer: &BaseLayer,
    store: &Store,
    step: &'static str,
    progress: &dyn Progress,
) -> Result<(), ImageError> {
    if store.blob(&layer.digest).is_some() {
        return Ok(());
    }
    let _held = store.hold(layer.digest.trim_start_matches("sha256:")).await?;
    if store.blob(&layer.digest).is_some() {
        return Ok(());
    }
    let (mut writer, mut pace) = (store.writer()?, Pace::new());
    let broken = |why| ImageError::Broken {
        digest: layer.digest.clone(),
        registry: repository.image().registry().to_owned(),
        why,
    };
    let downloading = repository.download(&layer.digest, layer.bytes, |chunk, have| {
        if pace.due() {
            let detail = format!("{} of {} downloaded", size(have), size(layer.bytes));
            progress.step(step, StepState::Running, &detail);
        }
        writer.write_all(chunk)
    });
    downloading.await.map_err(|error| match error {
        DownloadError::Registry(error) => error.into(),
        DownloadError::Broken(why) => broken(why),
        DownloadError::Sink(why) => ImageError::storing(store.folder())(why),
    })?;
    if writer.digest() != layer.digest {
        return Err(broken(format!("{} came, of another digest", size(writer.bytes()))));
    }
    // A large layer takes its time to reach the disk.
    let store = store.clone();
    let kept = tokio::task::spawn_blocking(move || store.keep(writer)).await;
    kept.unwrap_or(Err(ImageError::Cancelled)).map(drop)
}

fn layers(image: &Reference, manifest: &Value) -> Result<Vec<BaseLayer>, RegistryError> {
    let layers = manifest["layers"].as_array().ok_or_else(|| malformed(image, "its manifest names no layers"))?;
    let layer = |layer: &Value| {
        Some(BaseLayer {
            media_type: oci_media_type(layer["mediaType"].as_str()?)?.to_owned(),
            digest: layer["digest"].as_str().filter(|digest| is_digest(digest))?.to_owned(),
            bytes: layer["size"].as_u64()?,
        })
    };
    let read: Option<Vec<_>> = layers.iter().map(layer).collect();
    read.ok_or_else(|| malformed(image, "a layer of its manifest is of no known kind"))
}

/// The OCI's name for a kind of layer; Docker's own names mean the same.
fn oci_media_type(media_type: &str) -> Option<&'static str> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
            Some("application/vnd.oci.image.layer.v1.tar")
        }
        "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
            Some("application/vnd.oci.image.layer.v1.tar+gzip")
        }
        "application/vnd.oci.image.layer.v1.tar+zstd" => Some("application/vnd.oci.image.layer.v1.tar+zstd"),
        _ => None,
    }
}

fn facts_key(digest: &str) -> String {
    format!("{}-{FORMAT}", digest.trim_start_matches("sha256:"))
}

async fn look_into(
    repository: &Repository,
    layers: &[BaseLayer],
    platform: Platform,
    config: &Value,
    store: &Store,
    digest: &str,
    progress: &dyn Progress,
) -> Result<Facts, ImageError> {
    for layer in layers {
        fetch(repository, layer, store, BASE, progress).await?;
    }
    let (layers, store, path) = (layers.to_vec(), store.clone(), search_path(config));
    let digest = digest.to_owned();
    blocking(progress, BASE, move |report| {
        let mut found = Found::default();
        for layer in &layers {
            report.tell(|| "looking into it".to_owned());
            let file = store.blob(&layer.digest).ok_or_else(|| ImageError::Gone { digest: layer.digest.clone() })?;
            unpack::look(&file, |name, content| found.note(name, content, platform))
                .map_err(|why| ImageError::BadLayer { digest: layer.digest.clone(), why })?;
        }
        let facts = found.facts(&path);
        store.set_note(FACTS, &facts_key(&digest), &facts)?;
        Ok(facts)
    })
    .await
}

/// Folders in which programs are found, from the base's own environment.
fn search_path(config: &Value) -> Vec<String> {
    let variables = config["config"]["Env"].as_array().map(Vec::as_slice).unwrap_or_default();
    let path = variables.iter().filter_map(Value::as_str).find_map(|variable| variable.strip_prefix("PATH="));
    let usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    path.unwrap_or(usual).split(':').map(|folder| folder.trim_matches('/').to_owned()).collect()
}

/// What was seen in the layers so far.
#[derive(Default)]
struct Found {
    /// Pythons, by folder and version as `3.11`.
    pythons: Vec<(String, String)>,
    glibc: bool,
    glibc_version: Option<Glibc>,
    libstdcxx: bool,
    certificates: bool,
}

impl Found {
    fn note(&mut self, name: &str, content: &mut dyn Read, platform: Platform) -> io::Result<()> {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        self.glibc |= file == platform.loader();
        if file == "libc.so.6" || (file.starts_with("libc-2.") && file.ends_with(".so")) {
            self.glibc_version = Glibc::of_library(content)?.or(self.glibc_version);
        }
        self.certificates |= registry::BUNDLES.iter().any(|bundle| bundle.trim_start_matches('/') == name);
        self.libstdcxx |= file.starts_with("libstdc++.so.6");
        let version = file.strip_prefix("python").filter(|version| is_version(version));
        if let Some(version) = version {
            self.pythons.push((folder.to_owned(), version.to_owned()));
        }
        Ok(())
    }

    /// `path` are the folders in which programs are looked for, in their order.
    fn facts(mut self, path: &[String]) -> Facts {
        let place = |folder: &String| path.iter().position(|known| known == folder);
        self.pythons.retain(|(folder, _)| place(folder).is_some());
        self.pythons.sort_by_key(|(folder, version)| (place(folder), std::cmp::Reverse(minor(version))));
        let python = self.pythons.into_iter().next();
        Facts {
            python: python.map(|(folder, version)| (format!("/{folder}/python{version}"), version)),
            glibc: self.glibc,
            glibc_version: self.glibc_version,
            libstdcxx: self.libstdcxx,
            certificates: self.certificates,
        }
    }
}

/// Whether it is a version as `3.11`, and not `3`, `3.11-config` or the like.
fn is_version(text: &str) -> bool {
    text.strip_prefix("3.").is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit()))
}

fn minor(version: &str) -> u32 {
    version.rsplit('.').next().and_then(|minor| minor.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(names: &[&str], path: &str) -> Facts {
        let mut found = Found::default();
        let library = b"GNU C Library stable release version 2.36.".as_slice();
        names.iter().for_each(|name| found.note(name, &mut { library }, Platform::Amd64).unwrap());
        found.facts(&search_path(&serde_json::json!({"config": {"Env": [format!("PATH={path}")]}})))
    }

    #[test]
    fn the_python_that_the_search_path_finds_first_is_the_images() {
        let both =
            ["usr/bin/python3.11", "usr/local/bin/python3.12", "usr/local/bin/python3.12-config", "opt/python3.13"];
        let python = |path| facts(&both, path).python.unwrap();
        assert_eq!(python("/usr/local/bin:/usr/bin"), ("/usr/local/bin/python3.12".into(), "3.12".into()));
        assert_eq!(python("/usr/bin:/usr/local/bin"), ("/usr/bin/python3.11".into(), "3.11".into()));
        assert_eq!(facts(&["usr/bin/python3", "usr/bin/python"], "/usr/bin").python, None);
    }

    #[test]
    fn what_programs_need_is_seen() {
        let debian = facts(&["lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30"], "/usr/bin");
        assert!(debian.glibc && debian.libstdcxx);
        assert_eq!(facts(&["lib/x86_64-linux-gnu/libc.so.6"], "/usr/bin").glibc_version.unwrap().to_string(), "2.36");
        let alpine = facts(&["lib/ld-musl-x86_64.so.1"], "/usr/bin");
        assert!(!alpine.glibc && !alpine.libstdcxx);
    }

    #[test]
    fn certificates_are_seen_where_systems_keep_them() {
        assert!(facts(&["etc/ssl/certs/ca-certificates.crt"], "/usr/bin").certificates);
        assert!(!facts(&["opt/etc/ssl/certs/ca-certificates.crt"], "/usr/bin").certificates);
    }

    #[test]
    fn dockers_names_of_layers_are_known() {
        assert!(oci_media_type("application/vnd.docker.image.rootfs.diff.tar.gzip").unwrap().ends_with("v1.tar+gzip"));
        assert_eq!(oci_media_type("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), None);
    }
}
