//! Folders with a Dockerfile of their own: built by buildah or BuildKit, where one of them is configured. KEA runs no
//! Dockerfile by itself, since that means running whatever it says.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use kea_core::management::StepState;
use serde_json::Value;

use super::{
    ImageError, Platform,
    builder::{BuiltImage, ImageLayer, PlatformImage},
    store::{Blob, Store, is_digest},
};
use crate::{
    EnvironmentError, IMAGE, Progress,
    locks::Held,
    progress::blocking,
    python::{Python, on_path},
    registry::{self, Place, RegistrySettings},
    tool::Run,
};

/// A program that builds Dockerfiles.
#[derive(Debug)]
pub(super) enum Builder {
    Buildah(PathBuf),
    Buildctl(PathBuf),
}

/// A folder with a Dockerfile, and what its image is to run on.
pub(super) struct Folder<'a> {
    pub(super) root: &'a Path,
    pub(super) platform: Platform,
    pub(super) registries: &'a RegistrySettings,
}

/// What a build needs.
pub(super) struct Tools<'a> {
    /// Python of this machine, which starts the builder.
    pub(super) python: &'a Python,
    pub(super) limit: Duration,
    pub(super) held: &'a Held,
    pub(super) store: &'a Store,
}

impl Builder {
    /// The builder of that name or at that path.
    pub(super) fn find(name: &str) -> Result<Self, ImageError> {
        let unknown = || ImageError::UnknownBuilder { program: name.to_owned() };
        let file = Path::new(name).file_name().and_then(|file| file.to_str()).ok_or_else(unknown)?;
        let missing = || {
            ImageError::Tool(EnvironmentError::Start {
                what: name.to_owned(),
                why: io::Error::new(
                    io::ErrorKind::NotFound,
                    "it is not on the search path: install it, or give its path",
                ),
            })
        };
        let path = if name.contains('/') { Some(PathBuf::from(name)) } else { on_path(name) };
        match file {
            "buildah" => Ok(Self::Buildah(path.ok_or_else(missing)?)),
            "buildctl" => Ok(Self::Buildctl(path.ok_or_else(missing)?)),
            _ => Err(unknown()),
        }
    }

    /// Builds the Dockerfile of the folder, and takes the image into the store.
    pub(super) async fn build(
        &self,
        folder: &Folder<'_>,
        tools: &Tools<'_>,
        progress: &dyn Progress,
    ) -> Result<BuiltImage, ImageError> {
        let Tools { python, limit, held, store } = *tools;
        let scratch = store.scratch()?;
        let layout = scratch.path().join("layout");
        let logins = given_logins(scratch.path()).map_err(ImageError::storing(store.folder()))?;
        let conf = scratch.path().join("registries.conf");
        let places = odd_places(folder);
        fs::write(&conf, registries_conf(&places)).map_err(ImageError::storing(store.folder()))?;
        for (what, mut line) in self.lines(folder, scratch.path(), &layout) {
            let conf = (!places.is_empty()).then_some(conf.as_path());
            line.splice(0..0, environment(conf, logins.as_deref()));
            let run = Run { python: &python.executable, line, folder: scratch.path(), limit, lock: &held.file };
            let told = run.run(|line| progress.step(IMAGE, StepState::Running, line)).await;
            told.map_err(|failure| ImageError::Tool(EnvironmentError::of_tool(what, failure)))?;
        }
        let (store, platform) = (store.clone(), folder.platform);
        let why = format!("the folder has a Dockerfile, which {} built", self.name());
        let (digest, one) = blocking(progress, IMAGE, move |report| {
            report.still_wanted().map_err(|_| ImageError::Cancelled)?;
            take(&layout, &store, platform)
        })
        .await?;
        Ok(BuiltImage { digest, reasons: vec![why], index: None, platforms: vec![one] })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Buildah(_) => "buildah",
            Self::Buildctl(_) => "BuildKit",
        }
    }

    /// The commands that leave an image layout in the folder `layout`.
    fn lines(&self, folder: &Folder<'_>, scratch: &Path, layout: &Path) -> Vec<(&'static str, Vec<OsString>)> {
        let Folder { root, platform, registries: _ } = *folder;
        let platform = platform.to_string();
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        match self {
            Self::Buildah(program) => {
                let storage = scratch.join("storage");
                // Its own storage, so that nothing is left; without namespaces, which a pod without privileges lacks.
                let mut start = vec![program.into()];
                start.extend(words(&["--storage-driver", "vfs", "--root"]));
                start.push(storage.clone().into());
                start.push("--runroot".into());
                start.push(scratch.join("run").into());
                let mut build = start.clone();
                build.extend(words(&["build", "--isolation", "chroot", "--layers=false", "--timestamp", "0"]));
                build.extend(words(&["--platform", &platform, "--tag", "kea", "--file"]));
                build.extend([root.join("Dockerfile").into(), root.into()]);
                let mut push = start;
                push.extend(words(&["push", "--quiet", "kea"]));
                push.push(format!("oci:{}:kea", layout.display()).into());
                vec![("buildah build", build), ("buildah push", push)]
            }
            Self::Buildctl(program) => {
                let mut build = vec![program.into()];
                build.extend(words(&["build", "--progress", "plain", "--frontend", "dockerfile.v0"]));
                for name in ["context", "dockerfile"] {
                    build.extend(["--local".into(), format!("{name}={}", root.display()).into()]);
                }
                build.extend(words(&["--opt", &format!("platform={platform}"), "--output"]));
                build.push(format!("type=oci,tar=false,dest={}", layout.display()).into());
                vec![("buildctl build", build)]
            }
        }
    }
}

/// Registries of the Dockerfile's bases that are spoken to without TLS, or are at another address than their own.
fn odd_places(folder: &Folder<'_>) -> BTreeMap<String, Place> {
    let text = fs::read_to_string(folder.root.join("Dockerfile")).unwrap_or_default();
    let bases = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_from = words.next()?.eq_ignore_ascii_case("FROM");
        words.find(|word| !word.starts_with("--")).filter(|_| is_from)
    });
    let places = bases.filter_map(|base| {
        let registry = registry::reference(base).ok()?.registry().to_owned();
        let place = folder.registries.place(&registry, &registry);
        Some((registry, place))
    });
    places.filter(|(registry, place)| place.plain || place.address != *registry).collect()
}

/// Variables that say where the builder finds its server and its logins; tools get no others of KEA's.
const PASSED: [&str; 4] = ["BUILDKIT_HOST", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"];

/// The start of a command line that runs the builder with these variables.
fn environment(registries_conf: Option<&Path>, logins: Option<&Path>) -> Vec<OsString> {
    let assigned = |name: &str, value: &OsStr| {
        let mut assigned = OsString::from(format!("{name}="));
        assigned.push(value);
        assigned
    };
    // buildah fails where one of these names what is not there, which others take for no login.
    let is_there = |name: &str, value: &OsStr| match name {
        "DOCKER_CONFIG" => Path::new(value).join("config.json").is_file(),
        "REGISTRY_AUTH_FILE" => Path::new(value).is_file(),
        _ => true,
    };
    let passed = PASSED.iter().filter_map(|name| {
        let value = std::env::var_os(name).filter(|value| is_there(name, value))?;
        Some(assigned(name, &value))
    });
    let conf = registries_conf.map(|conf| assigned("CONTAINERS_REGISTRIES_CONF", conf.as_os_str()));
    // The later assignment counts.
    let logins = logins.into_iter().flat_map(|folder| {
        let file = folder.join("config.json");
        [assigned("DOCKER_CONFIG", folder.as_os_str()), assigned("REGISTRY_AUTH_FILE", file.as_os_str())]
    });
    std::iter::once("env".into()).chain(passed).chain(conf).chain(logins).collect()
}

/// A folder with the logins of `DOCKER_AUTH_CONFIG`, which only the builder's own user can read.
fn given_logins(scratch: &Path) -> io::Result<Option<PathBuf>> {
    let Some(config) = std::env::var_os(registry::LOGINS).filter(|config| !config.is_empty()) else { return Ok(None) };
    let folder = scratch.join("logins");
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    fs::write(folder.join("config.json"), config.as_encoded_bytes())?;
    Ok(Some(folder))
}

/// What tells buildah so.
fn registries_conf(places: &BTreeMap<String, Place>) -> String {
    let entry = |(registry, Place { address, plain }): (&String, &Place)| {
        format!("[[registry]]\nprefix = \"{registry}\"\nlocation = \"{address}\"\ninsecure = {plain}\n")
    };
    let entries: String = places.iter().map(entry).collect();
    format!("unqualified-search-registries = [\"docker.io\"]\n{entries}")
}

/// Takes the only image of a layout into the store.
fn take(layout: &Path, store: &Store, platform: Platform) -> Result<(String, PlatformImage), ImageError> {
    let unreadable = |why: String| ImageError::BuilderOutput { why };
    let index = fs::read(layout.join("index.json")).map_err(|error| unreadable(error.to_string()))?;
    let index: Value = serde_json::from_slice(&index).map_err(|error| unreadable(error.to_string()))?;
    let first = index["manifests"].as_array().and_then(|manifests| manifests.first());
    let manifest = blob(layout, store, first.unwrap_or(&Value::Null))?;
    let text = store.blob(&manifest.digest).and_then(|path| fs::read(path).ok()).unwrap_or_default();
    let document: Value = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    let config = blob(layout, store, &document["config"])?;
    let mut layers = Vec::new();
    for layer in document["layers"].as_array().into_iter().flatten() {
        let Blob { digest, bytes } = blob(layout, store, layer)?;
        let media_type = layer["mediaType"].as_str().unwrap_or_default().to_owned();
        // All of it is in the store, so none of it is asked of a base.
        layers.push(ImageLayer { part: 4, digest, bytes, media_type });
    }
    let digest = manifest.digest.clone();
    Ok((digest, PlatformImage { platform, manifest, config, layers, base: None, sbom: None }))
}

/// Takes a blob of a layout into the store.
fn blob(layout: &Path, store: &Store, descriptor: &Value) -> Result<Blob, ImageError> {
    let unreadable = |why: String| ImageError::BuilderOutput { why };
    let digest = descriptor["digest"].as_str().filter(|digest| is_digest(digest));
    let digest = digest.ok_or_else(|| unreadable("it names a part without a digest".to_owned()))?;
    let path = layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let mut file = File::open(&path).map_err(|error| unreadable(error.to_string()))?;
    let mut writer = store.writer()?;
    io::copy(&mut file, &mut writer).map_err(ImageError::storing(store.folder()))?;
    writer.flush().map_err(ImageError::storing(store.folder()))?;
    if writer.digest() != digest {
        return Err(unreadable(format!("{digest} is of another digest")));
    }
    store.keep(writer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_of_this_machines_registries_are_asked_for_without_tls() {
        let root = tempfile::tempdir().unwrap();
        let text = "ARG x\nFROM --platform=linux/amd64 127.0.0.1:5000/python:slim AS a\nfrom python\nFROM lab:5000/b\n";
        fs::write(root.path().join("Dockerfile"), text).unwrap();
        let mut registries = RegistrySettings::default();
        let of = |registries: &RegistrySettings| {
            let places = odd_places(&Folder { root: root.path(), platform: Platform::HOST, registries });
            places.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(of(&registries), ["127.0.0.1:5000"]);
        registries.plain_http.push("lab:5000".to_owned());
        assert_eq!(of(&registries), ["127.0.0.1:5000", "lab:5000"]);
        registries.endpoints.push("docker.io=mirror.example".parse().unwrap());
        assert_eq!(of(&registries), ["127.0.0.1:5000", "docker.io", "lab:5000"]);
    }

    #[test]
    fn only_builders_that_are_known_are_started() {
        assert!(matches!(Builder::find("docker"), Err(ImageError::UnknownBuilder { .. })));
        assert!(matches!(Builder::find("/opt/tools/buildctl"), Ok(Builder::Buildctl(_))));
    }
}
