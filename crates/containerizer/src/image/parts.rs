//! The parts of an image for one platform, each made where it is not there yet, and put together.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use kea_core::{management::StepState, service::ModelSpec};
use serde_json::Value;

use super::{
    BuildError, BuildRequest, FACTS, ImageBuilder, ImageError, LAYERS, Platform,
    base::{self, Base, BaseLayer},
    builder::{AttachedSbom, ImageLayer, PlatformImage},
    dependencies::{self, Dependencies, Tools, Wanted},
    describe::{self, EMPTY_CONFIG, LAYER},
    glibc::Glibc,
    layer::{self, Content, Effort, Files, Layer},
    recipe::{self, MODELS, PROGRAM},
    sbom::sbom,
    store::{self, Blob, Store},
};
use crate::{
    BASE, DEPENDENCIES, IMAGE, Progress, environment::Installer, progress::blocking, shelf::size, workspace::Recognised,
};

/// The making of an image for one platform.
pub(super) struct PlatformBuild<'a> {
    pub(super) builder: &'a ImageBuilder,
    pub(super) spec: &'a ModelSpec,
    pub(super) model: &'a Recognised,
    pub(super) root: Option<&'a Path>,
    pub(super) request: &'a BuildRequest,
    pub(super) platform: Platform,
}

impl PlatformBuild<'_> {
    pub(super) async fn run(&self, progress: &dyn Progress) -> Result<(PlatformImage, Vec<String>), BuildError> {
        let base = self.base(progress).await.map_err(BuildError::Base)?;
        let dependencies = self.dependencies(&base, progress).await.map_err(BuildError::Dependencies)?;
        progress.step(IMAGE, StepState::Running, "");
        let image = self.image(&base, dependencies.as_ref(), progress).await.map_err(BuildError::Image)?;
        Ok((image, recipe::reasons(self.model, &base, dependencies.as_ref())))
    }

    async fn base(&self, progress: &dyn Progress) -> Result<Base, ImageError> {
        progress.step(BASE, StepState::Running, "");
        let settings = &self.builder.settings;
        let asked = self.asked_python()?;
        let usual = if recipe::needs_python(self.model) { &settings.base_python } else { &settings.base_onnx };
        let python = asked.as_ref().map_or(settings.python.as_str(), |(version, _)| version);
        let name = self.request.base.as_ref().unwrap_or(usual).replace("{python}", python);
        let base = base::resolve(&name, self.platform, &self.builder.registries, &self.builder.store, progress).await?;
        self.check(&base, asked)?;
        progress.step(BASE, StepState::Done, &format!("{} for {}", base.image.whole(), self.platform));
        Ok(base)
    }

    /// Python's version that is asked for, and by whom.
    fn asked_python(&self) -> Result<Option<(String, &'static str)>, ImageError> {
        let asked = match &self.request.python {
            Some(version) => Some((version.clone(), "the request")),
            None => self.root.and_then(model_python).map(|version| (version, "the model")),
        };
        asked.map(|(version, by)| Ok((minor_version(&version)?, by))).transpose()
    }

    fn check(&self, base: &Base, asked: Option<(String, &'static str)>) -> Result<(), ImageError> {
        let image = || base.image.whole();
        let lacks = |what, whose| ImageError::Lacks { image: image(), what, whose };
        if recipe::needs_server(self.model) && !base.facts.glibc {
            return Err(lacks("GNU C library", "KEA's model server"));
        }
        if !recipe::needs_python(self.model) {
            if self.request.python.is_some() {
                return Err(ImageError::PythonUnused);
            }
            return if base.facts.libstdcxx { Ok(()) } else { Err(lacks("libstdc++", "ONNX Runtime")) };
        }
        match (&base.facts.python, asked) {
            (None, _) if !recipe::needs_server(self.model) && self.model.packages.is_empty() => Ok(()),
            (None, _) => Err(ImageError::NoPython { image: image() }),
            (Some((_, found)), Some((wanted, wanted_by))) if *found != wanted => {
                Err(ImageError::WrongPython { image: image(), found: found.clone(), wanted, wanted_by })
            }
            (Some(_), _) => Ok(()),
        }
    }

    /// The layer of packages, made where it is not there yet; `None` where nothing is needed.
    async fn dependencies(&self, base: &Base, progress: &dyn Progress) -> Result<Option<Dependencies>, ImageError> {
        let only_onnxruntime = !recipe::needs_python(self.model);
        let is_library = |line: &&String| line.starts_with("onnxruntime");
        let packages: Vec<String> = match only_onnxruntime {
            true => self.model.packages.iter().filter(is_library).cloned().collect(),
            false => self.model.packages.clone(),
        };
        if packages.is_empty() {
            return Ok(None);
        }
        old_glibc(base, Some(Glibc::OF_WHEELS), "what wheels are built for")?;
        progress.step(DEPENDENCIES, StepState::Running, "");
        let builder = self.builder;
        let version = base.facts.python.as_ref().filter(|_| !only_onnxruntime).map(|(_, version)| version.clone());
        let wanted = Wanted {
            packages,
            python: version.unwrap_or_else(|| builder.settings.python.clone()),
            platform: self.platform,
            only_onnxruntime,
            root: self.root.map(Path::to_owned),
        };
        let (dependencies, origin) = self.kept_or_made(&wanted, progress).await?;
        let detail =
            format!("{} package(s), {}, {origin}", dependencies.packages.len(), size(dependencies.layer.bytes));
        progress.step(DEPENDENCIES, StepState::Done, &detail);
        Ok(Some(dependencies))
    }

    async fn kept_or_made(
        &self,
        wanted: &Wanted,
        progress: &dyn Progress,
    ) -> Result<(Dependencies, &'static str), ImageError> {
        const KEPT: &str = "made before";
        let (builder, installer) = (self.builder, Installer::find());
        let key = wanted.key(&installer)?;
        let kept = || dependencies::kept(&builder.store, &key).filter(|_| !self.request.refresh);
        // Starting a Python takes longer than all else of a build where nothing changed.
        if let Some(kept) = kept().filter(|kept| kept.compiled || kept.onnxruntime.is_some()) {
            return Ok((kept, KEPT));
        }
        let python = builder.workspace.python().await?;
        progress.step(DEPENDENCIES, StepState::Running, "waiting for another build that makes the same");
        let held = builder.store.hold(&key).await?;
        if let Some(kept) = kept().filter(|kept| !kept.lacks_bytecode(wanted, &python)) {
            return Ok((kept, KEPT));
        }
        let (limit, bytes) = (builder.settings.tool, builder.settings.layer);
        let tools = Tools { python: &python, installer: &installer, limit, bytes };
        Ok((dependencies::make(wanted, &tools, &builder.store, &key, &held, progress).await?, "new"))
    }

    async fn image(
        &self,
        base: &Base,
        dependencies: Option<&Dependencies>,
        progress: &dyn Progress,
    ) -> Result<PlatformImage, ImageError> {
        let mut own: Vec<(usize, Layer)> = Vec::new();
        own.extend(dependencies.map(|dependencies| (1, dependencies.layer.clone())));
        if recipe::needs_server(self.model) {
            own.push((2, self.server(base, progress).await?));
        }
        if let Some(root) = self.root {
            own.push((3, self.model_layer(root.to_owned(), progress).await?));
        }
        let (request, builder) = (self.request, self.builder);
        let recipe = recipe::recipe(&request.name, self.model, self.root, &self.spec.command, base, dependencies);
        let diff_ids: Vec<_> = own.iter().map(|(part, layer)| (*part, layer.diff_id.clone())).collect();
        let config = builder.put(&recipe::config(&recipe, base, self.platform, &diff_ids))?;
        let layers = layers(base, &own);
        let described = layers.iter().map(|layer| {
            let blob = Blob { digest: layer.digest.clone(), bytes: layer.bytes };
            describe::descriptor(&layer.media_type, &blob)
        });
        let manifest = builder.put(&describe::manifest(&config, &described.collect::<Vec<_>>(), &recipe.labels))?;
        let sbom = self.sbom(base, dependencies, &manifest)?;
        let base = Some(base.image.clone_with_digest(base.digest.clone()));
        Ok(PlatformImage { platform: self.platform, manifest, config, layers, base, sbom: Some(sbom) })
    }

    fn sbom(
        &self,
        base: &Base,
        dependencies: Option<&Dependencies>,
        subject: &Blob,
    ) -> Result<AttachedSbom, ImageError> {
        let model = self.root.and_then(recipe::model_digest);
        let with_server = recipe::needs_server(self.model);
        let document = sbom(self.request.name.as_str(), model.as_deref(), base, dependencies, with_server);
        let document = self.builder.put(&document)?;
        let empty = self.builder.store.put(EMPTY_CONFIG)?;
        let manifest = self.builder.put(&describe::sbom_manifest(&document, &empty, subject))?;
        Ok(AttachedSbom { document, empty, manifest })
    }

    async fn server(&self, base: &Base, progress: &dyn Progress) -> Result<Layer, ImageError> {
        let (platform, store) = (self.platform, self.builder.store.clone());
        let program = self.builder.settings.programs.get(&platform).cloned();
        let program = program.ok_or(ImageError::NoProgram { platform, host: Platform::HOST })?;
        let limit = self.builder.settings.layer;
        let key = {
            let unreadable = |why| ImageError::Unreadable { path: program.clone(), why };
            check_program(&program, platform)?;
            // Hashing a program takes longer than all else of a build where nothing changed; its place and time tell too.
            let file = program.metadata().map_err(unreadable)?;
            let facts = [file.ino(), file.len(), file.mtime().cast_unsigned(), file.mtime_nsec().cast_unsigned()];
            let facts = facts.map(|number| number.to_string());
            let place = program.display().to_string();
            let parts = [layer::FORMAT, "server", &place].into_iter().chain(facts.iter().map(String::as_str));
            store::key(parts)
        };
        self.check_glibc(&program, &key, base, progress).await?;
        let mut files = Files::default();
        files.put(PROGRAM, true, Content::File(program));
        self.layer(key, Effort::Small, limit, store, files, progress).await
    }

    /// Whether the base's library is new enough for KEA's own program; `key` stands for the program.
    async fn check_glibc(
        &self,
        program: &Path,
        key: &str,
        base: &Base,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        let store = &self.builder.store;
        let needed = match store.note::<Option<Glibc>>(FACTS, key) {
            Some(needed) => needed,
            None => {
                let path = program.to_owned();
                let needed = blocking(progress, IMAGE, move |_| {
                    let needed = File::open(&path).and_then(Glibc::needed_by);
                    needed.map_err(|why| ImageError::Unreadable { path, why })
                });
                let needed = needed.await?;
                store.set_note(FACTS, key, &needed)?;
                needed
            }
        };
        old_glibc(base, needed, "KEA's own program, as it was built on this machine,")
    }

    async fn model_layer(&self, root: PathBuf, progress: &dyn Progress) -> Result<Layer, ImageError> {
        let digest = recipe::model_digest(&root).unwrap_or_default();
        let key = store::key([layer::FORMAT, "model", &digest]);
        let (store, limit) = (self.builder.store.clone(), self.builder.settings.layer);
        let mut files = Files::default();
        let unreadable = |why| ImageError::Unreadable { path: root.clone(), why };
        files.put_folder(MODELS, &root).and_then(|()| files.without_logins()).map_err(unreadable)?;
        self.layer(key, Effort::Quick, limit, store, files, progress).await
    }

    /// A layer of files that `key` stands for, written where it is not there yet.
    async fn layer(
        &self,
        key: String,
        effort: Effort,
        limit: u64,
        store: Store,
        files: Files,
        progress: &dyn Progress,
    ) -> Result<Layer, ImageError> {
        let kept = || store.note::<Layer>(LAYERS, &key).filter(|layer| store.blob(&layer.digest).is_some());
        if let Some(layer) = kept() {
            return Ok(layer);
        }
        let _held = store.hold(&key).await?;
        if let Some(layer) = kept() {
            return Ok(layer);
        }
        tracing::debug!(files = files.len(), "writing a layer");
        blocking(progress, IMAGE, move |report| {
            let layer = layer::write(&store, &files, effort, limit, report)?;
            store.set_note(LAYERS, &key, &layer)?;
            Ok(layer)
        })
        .await
    }
}

fn layers(base: &Base, own: &[(usize, Layer)]) -> Vec<ImageLayer> {
    let of_base = base.layers.iter().map(|BaseLayer { media_type, digest, bytes }| ImageLayer {
        part: 0,
        digest: digest.clone(),
        bytes: *bytes,
        media_type: media_type.clone(),
    });
    let ours = own.iter().map(|(part, layer)| ImageLayer {
        part: *part,
        digest: layer.digest.clone(),
        bytes: layer.bytes,
        media_type: LAYER.to_owned(),
    });
    of_base.chain(ours).collect()
}

/// Refuses a base whose library is older than what `whose` needs; one that does not tell its version is taken.
fn old_glibc(base: &Base, needed: Option<Glibc>, whose: &'static str) -> Result<(), ImageError> {
    match (base.facts.glibc_version, needed) {
        (Some(found), Some(needed)) if found < needed => Err(ImageError::OldGlibc {
            image: base.image.whole(),
            found: found.to_string(),
            needed: needed.to_string(),
            whose,
        }),
        _ => Ok(()),
    }
}

/// Checks that a file is a program for the platform, so that a mistake does not show only in the cluster.
fn check_program(path: &Path, platform: Platform) -> Result<(), ImageError> {
    let mut head = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.map_err(|why| ImageError::Unreadable { path: path.to_owned(), why })?;
    let machine = u16::from_le_bytes([head[18], head[19]]);
    if head.starts_with(b"\x7fELF") && machine == platform.elf_machine() {
        return Ok(());
    }
    Err(ImageError::WrongProgram { path: path.to_owned(), platform })
}

/// Python's version that a model's folder asks for, by the files in which people write that down.
fn model_python(root: &Path) -> Option<String> {
    let text = |name: &str| std::fs::read_to_string(root.join(name)).ok();
    let pinned = text(".python-version").and_then(|text| text.lines().next().map(|line| line.trim().to_owned()));
    // What MLflow writes.
    let recorded = || {
        let environment: Value = serde_yaml_ng::from_str(&text("python_env.yaml")?).ok()?;
        environment["python"].as_str().map(str::to_owned)
    };
    pinned.or_else(recorded).filter(|version| !version.is_empty())
}

/// `3.11` of `3.11`, `3.11.7` or `cpython-3.11.7`.
fn minor_version(text: &str) -> Result<String, ImageError> {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut parts = digits.split('.').map(|part| part.parse::<u32>());
    match (parts.next(), parts.next()) {
        (Some(Ok(3)), Some(Ok(minor))) => Ok(format!("3.{minor}")),
        _ => Err(ImageError::PythonVersion { text: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_version_is_read_in_the_forms_that_people_write() {
        for text in ["3.11", "3.11.7", "cpython-3.11.7", "python-3.11"] {
            assert_eq!(minor_version(text).unwrap(), "3.11", "{text}");
        }
        for text in ["", "3", "2.7", "pypy"] {
            assert!(minor_version(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_model_may_say_which_python_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(model_python(folder.path()), None);
        std::fs::write(folder.path().join("python_env.yaml"), "python: 3.10.4\nbuild_dependencies: [pip]\n").unwrap();
        assert_eq!(model_python(folder.path()).as_deref(), Some("3.10.4"));
        std::fs::write(folder.path().join(".python-version"), "3.12\n").unwrap();
        assert_eq!(model_python(folder.path()).as_deref(), Some("3.12"));
    }

    #[test]
    fn a_program_of_another_machine_is_refused() {
        let own = std::env::current_exe().unwrap();
        let other = if Platform::HOST == Platform::Amd64 { Platform::Arm64 } else { Platform::Amd64 };
        assert!(check_program(&own, Platform::HOST).is_ok());
        assert!(matches!(check_program(&own, other), Err(ImageError::WrongProgram { .. })));
        assert!(check_program(Path::new("/etc/passwd"), Platform::HOST).is_err());
    }
}
