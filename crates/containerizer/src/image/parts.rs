//! The parts of an image for one platform, each made where it is not there yet, and put together.

use std::path::{Path, PathBuf};

use kea_core::{management::StepState, service::ModelSpec};
use serde_json::Value;

use super::{
    BuildError, BuildRequest, ImageBuilder, ImageError, Platform,
    assembly::old_glibc,
    base::{self, Base},
    builder::PlatformImage,
    dependencies::{self, Dependencies, Tools, Wanted},
    glibc::Glibc,
    layer::{self, Effort, Files, Layer},
    recipe::{self, MODELS},
    sbom::sbom,
    store,
};
use crate::{BASE, DEPENDENCIES, IMAGE, Progress, environment::Installer, shelf::size, workspace::Recognised};

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
            own.push((2, self.builder.server(self.platform, base, progress).await?));
        }
        if let Some(root) = self.root {
            own.push((3, self.model_layer(root.to_owned(), progress).await?));
        }
        let recipe = recipe::recipe(&self.request.name, self.model, self.root, &self.spec.command, base, dependencies);
        let bill = self.bill(base, dependencies);
        self.builder.assemble(self.platform, base, &own, &recipe, &bill)
    }

    fn bill(&self, base: &Base, dependencies: Option<&Dependencies>) -> Value {
        let model = self.root.and_then(recipe::model_digest);
        let with_server = recipe::needs_server(self.model);
        sbom(self.request.name.as_str(), model.as_deref(), base, dependencies, with_server)
    }

    async fn model_layer(&self, root: PathBuf, progress: &dyn Progress) -> Result<Layer, ImageError> {
        let digest = recipe::model_digest(&root).unwrap_or_default();
        let key = store::key([layer::FORMAT, "model", &digest]);
        let mut files = Files::default();
        let unreadable = |why| ImageError::Unreadable { path: root.clone(), why };
        files.put_folder(MODELS, &root).and_then(|()| files.without_logins()).map_err(unreadable)?;
        self.builder.layer(key, Effort::Quick, files, progress).await
    }
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
}
