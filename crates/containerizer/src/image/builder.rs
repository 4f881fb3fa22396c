//! Makes images, from the model on the shelf to the manifest in the store.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kea_core::{
    ServiceId,
    management::StepState,
    service::{ModelSpec, PreparedModel},
};
use serde_json::Value;

use super::{
    BuildError, ImageError, ImageSettings, Platform, Pushed, describe, dockerfile,
    layout::Layout,
    own::OwnBuild,
    parts::PlatformBuild,
    push, recipe,
    store::{self, Blob, Store},
};
use crate::{
    IMAGE, PrepareError, Progress, Quiet, RegistryError,
    progress::blocking,
    registry::Registries,
    shelf::size,
    workspace::{Recognised, Workspace},
};

/// How often the store is looked through for what nobody needs any more.
const SWEPT_EVERY: Duration = Duration::from_secs(3600);

/// Makes images, one after the other or several at once; parts that were made before are used again.
#[derive(Debug)]
pub struct ImageBuilder {
    pub(super) workspace: Arc<Workspace>,
    pub(super) settings: ImageSettings,
    pub(super) registries: Registries,
    pub(super) store: Store,
    /// When what earlier builds have left was removed last.
    swept: Mutex<Option<Instant>>,
}

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Name of the service that it is for.
    pub name: ServiceId,
    /// What it runs on; not empty.
    pub platforms: Vec<Platform>,
    /// The base, in place of the one of the settings; `{python}` stands for Python's version.
    pub base: Option<String>,
    /// Python's version as `3.11`, in place of the one that the model asks for.
    pub python: Option<String>,
    /// Whether packages are looked up anew, in place of those that were found before for the same requirements.
    pub refresh: bool,
}

impl BuildRequest {
    /// An image for this machine's kind, as the settings say.
    pub fn of(name: ServiceId) -> Self {
        Self { name, platforms: vec![Platform::HOST], base: None, python: None, refresh: false }
    }
}

/// An image in the store.
#[derive(Debug)]
pub struct BuiltImage {
    /// Digest by which it is known: of its manifest, or of the index where it is for several platforms.
    pub digest: String,
    /// Why it is made as it is, a sentence each.
    pub reasons: Vec<String>,
    pub(crate) index: Option<Blob>,
    pub(crate) platforms: Vec<PlatformImage>,
}

/// An image for one platform.
#[derive(Debug)]
pub(crate) struct PlatformImage {
    pub(crate) platform: Platform,
    pub(crate) manifest: Blob,
    pub(crate) config: Blob,
    pub(crate) layers: Vec<ImageLayer>,
    /// Where layers of the base can be had.
    pub(crate) base: Option<oci_client::Reference>,
    pub(crate) sbom: Option<AttachedSbom>,
}

/// A layer, by the part of the image that it is.
#[derive(Clone, Debug)]
pub(crate) struct ImageLayer {
    /// Index into the names of the parts.
    pub(crate) part: usize,
    pub(crate) digest: String,
    pub(crate) bytes: u64,
    pub(crate) media_type: String,
}

/// A bill of materials and the manifest that attaches it.
#[derive(Debug)]
pub(crate) struct AttachedSbom {
    pub(crate) document: Blob,
    pub(crate) empty: Blob,
    pub(crate) manifest: Blob,
}

impl BuiltImage {
    /// Bytes of all layers, as they are sent, of the first platform.
    pub fn bytes(&self) -> u64 {
        self.platforms.first().map_or(0, |one| one.layers.iter().map(|layer| layer.bytes).sum())
    }

    /// The layers of the first platform: what each is, its digest and its size in bytes.
    pub fn layers(&self) -> impl Iterator<Item = (&'static str, &str, u64)> {
        let layers = self.platforms.first().into_iter().flat_map(|one| &one.layers);
        layers.map(|layer| (recipe::PARTS[layer.part], layer.digest.as_str(), layer.bytes))
    }

    /// Digests of all that belongs to it, manifests and bills of materials too.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let mut digests: Vec<String> = self.index.iter().map(|index| index.digest.clone()).collect();
        for one in &self.platforms {
            digests.extend(one.layers.iter().map(|layer| layer.digest.clone()));
            digests.extend([one.config.digest.clone(), one.manifest.digest.clone()]);
            let bills = one.sbom.iter().flat_map(|sbom| [&sbom.document, &sbom.empty, &sbom.manifest]);
            digests.extend(bills.map(|blob| blob.digest.clone()));
        }
        digests
    }
}

impl ImageBuilder {
    /// Makes images of models that `workspace` has or fetches.
    pub fn new(workspace: Arc<Workspace>, settings: ImageSettings) -> Self {
        let store = Store::new(settings.folder.clone());
        let registries = Registries::new(settings.registries.clone());
        Self { workspace, settings, registries, store, swept: Mutex::new(None) }
    }

    /// Makes images of models that are fetched for them. These are kept in `folder` for as long as somebody uses them.
    pub fn standalone(folder: PathBuf, settings: ImageSettings) -> Self {
        let workspace = Workspace::new(folder).passing().with_registries(settings.registries.clone());
        Self::new(Arc::new(workspace), settings)
    }

    /// Fetches a model, finds out what it is, and makes its image. Dropping the future stops the work and the tools that
    /// it started.
    ///
    /// # Errors
    /// What went wrong, with the step: see [`BuildError::step`], which has been told to `progress` as failed.
    pub async fn build(
        &self,
        spec: &ModelSpec,
        request: &BuildRequest,
        progress: &dyn Progress,
    ) -> Result<BuiltImage, BuildError> {
        let built = self.fetch_and_build(spec, request, progress).await;
        tell_failure(built, progress)
    }

    /// Makes the image of a model that was prepared before, as [`ImageBuilder::build`] does.
    ///
    /// # Errors
    /// As [`ImageBuilder::build`].
    pub async fn build_prepared(
        &self,
        spec: &ModelSpec,
        prepared: &PreparedModel,
        request: &BuildRequest,
        progress: &dyn Progress,
    ) -> Result<BuiltImage, BuildError> {
        let root = prepared.path.as_deref().and_then(|path| self.workspace.root_of(path));
        let building = async {
            match root.as_deref().map(|root| self.dockerfile_builder(spec, root)).transpose()?.flatten() {
                Some(builder) => {
                    let root = root.as_deref().unwrap_or(Path::new("/"));
                    self.build_dockerfile(&builder, root, request, progress).await
                }
                None => self.build_recognised(spec, &Recognised::of(prepared), request, progress).await,
            }
        };
        tell_failure(building.await, progress)
    }

    /// Makes KEA's own image, from which it is run in a cluster: its program and certificates upon the base of images
    /// without Python, or upon that of the request.
    ///
    /// # Errors
    /// As [`ImageBuilder::build`].
    pub async fn build_own(&self, request: &BuildRequest, progress: &dyn Progress) -> Result<BuiltImage, BuildError> {
        tell_failure(self.build_platforms_of_kea(request, progress).await, progress)
    }

    /// Sends an image to the registry of `name`; where that has a tag, the image gets it at the end, once all of it is
    /// there.
    ///
    /// # Errors
    /// The registry does not take it; nothing that was in it before is changed.
    pub async fn push(&self, image: &BuiltImage, name: &str, progress: &dyn Progress) -> Result<Pushed, BuildError> {
        let pushed = push::push(image, name, &self.registries, &self.store, progress).await;
        tell_failure(pushed.map_err(BuildError::Push), progress)
    }

    /// Writes an image into `folder`, in the OCI's image layout, under the name `tag`.
    ///
    /// # Errors
    /// The folder cannot be written, or holds something else.
    pub async fn export(&self, image: &BuiltImage, folder: &Path, tag: &str) -> Result<(), BuildError> {
        let export = async {
            for one in &image.platforms {
                push::complete(one, &self.registries, &self.store, &Quiet).await?;
            }
            let (layout, store, folder) = (Layout::of(image, tag), self.store.clone(), folder.to_owned());
            blocking(&Quiet, IMAGE, move |report| layout.write(&store, &folder, report)).await
        };
        export.await.map_err(BuildError::Image)
    }

    /// Checks the name of an image before anything is built for it.
    ///
    /// # Errors
    /// It is none.
    pub fn check_name(name: &str) -> Result<(), BuildError> {
        let checked = crate::registry::reference(name).and_then(|image| match image.digest() {
            None => Ok(()),
            Some(_) => Err(RegistryError::Name {
                text: name.to_owned(),
                why: "a digest is what comes out of a build".to_owned(),
            }),
        });
        checked.map_err(|error| BuildError::Push(error.into()))
    }

    /// Checks the name of a builder of Dockerfiles before anything is built with it.
    ///
    /// # Errors
    /// It is not known, or not on this machine.
    pub fn check_dockerfile_builder(name: &str) -> Result<(), BuildError> {
        dockerfile::Builder::find(name).map(drop).map_err(BuildError::Image)
    }

    async fn fetch_and_build(
        &self,
        spec: &ModelSpec,
        request: &BuildRequest,
        progress: &dyn Progress,
    ) -> Result<BuiltImage, BuildError> {
        let fetched = self.workspace.fetched(spec, progress).await.map_err(PrepareError::from)?;
        let root = fetched.path.as_deref().filter(|path| path.is_dir());
        if let Some(root) = root
            && let Some(builder) = self.dockerfile_builder(spec, root)?
        {
            Self::check_said(spec, request)?;
            return self.build_dockerfile(&builder, root, request, progress).await;
        }
        let recognised = self.workspace.recognise(spec, &fetched, progress).await?;
        self.build_recognised(spec, &recognised, request, progress).await
    }

    async fn build_recognised(
        &self,
        spec: &ModelSpec,
        model: &Recognised,
        request: &BuildRequest,
        progress: &dyn Progress,
    ) -> Result<BuiltImage, BuildError> {
        self.sweep().await;
        let root = model.path.as_deref().and_then(|path| self.workspace.root_of(path));
        let mut platforms = Vec::new();
        let mut reasons = Vec::new();
        for platform in &request.platforms {
            let build =
                PlatformBuild { builder: self, spec, model, root: root.as_deref(), request, platform: *platform };
            let (image, why) = build.run(progress).await?;
            platforms.push(image);
            reasons = why;
        }
        self.together(platforms, reasons, progress)
    }

    async fn build_platforms_of_kea(
        &self,
        request: &BuildRequest,
        progress: &dyn Progress,
    ) -> Result<BuiltImage, BuildError> {
        self.sweep().await;
        let mut platforms = Vec::new();
        let mut reasons = Vec::new();
        for platform in &request.platforms {
            let build = OwnBuild { builder: self, base: request.base.as_deref(), platform: *platform };
            let (image, why) = build.run(progress).await?;
            platforms.push(image);
            reasons = why;
        }
        self.together(platforms, reasons, progress)
    }

    /// The image of all platforms.
    fn together(
        &self,
        platforms: Vec<PlatformImage>,
        reasons: Vec<String>,
        progress: &dyn Progress,
    ) -> Result<BuiltImage, BuildError> {
        let index = self.index(&platforms).map_err(BuildError::Image)?;
        let digest = index.as_ref().unwrap_or(&platforms[0].manifest).digest.clone();
        let built = BuiltImage { digest, reasons, index, platforms };
        progress.step(IMAGE, StepState::Done, &format!("{}, {}", built.digest, size(built.bytes())));
        Ok(built)
    }

    fn index(&self, platforms: &[PlatformImage]) -> Result<Option<Blob>, ImageError> {
        if platforms.len() < 2 {
            return Ok(None);
        }
        let manifests: Vec<_> = platforms.iter().map(|one| (one.platform, one.manifest.clone())).collect();
        self.put(&describe::index(&manifests)).map(Some)
    }

    /// Keeps a document of the image.
    pub(super) fn put(&self, document: &Value) -> Result<Blob, ImageError> {
        self.store.put(document.to_string().as_bytes())
    }

    /// Removes, now and then, what earlier builds have left and nobody has used for long.
    async fn sweep(&self) {
        let due = {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            let due = swept.is_none_or(|last| last.elapsed() >= SWEPT_EVERY);
            if due {
                *swept = Some(Instant::now());
            }
            due
        };
        if due {
            let store = self.store.clone();
            // What could not be removed takes place and does no other harm.
            let _ = tokio::task::spawn_blocking(move || store.sweep()).await;
        }
    }

    /// Refuses what is said besides a Dockerfile that says it itself.
    fn check_said(spec: &ModelSpec, request: &BuildRequest) -> Result<(), BuildError> {
        let said = [
            ("--base", request.base.is_some()),
            ("--python", request.python.is_some()),
            ("all but one --platform", request.platforms.len() > 1),
            ("--refresh", request.refresh),
            ("--framework", spec.framework.is_some()),
            ("--command", !spec.command.is_empty()),
            ("--requirement", !spec.requirements.is_empty()),
        ];
        if let Some((option, _)) = said.into_iter().find(|(_, said)| *said) {
            return Err(BuildError::Image(ImageError::SaidByDockerfile { option }));
        }
        Ok(())
    }

    /// What builds the Dockerfile in the model's folder, where that is how it is built.
    fn dockerfile_builder(&self, spec: &ModelSpec, root: &Path) -> Result<Option<dockerfile::Builder>, BuildError> {
        if !root.join("Dockerfile").is_file() {
            return Ok(None);
        }
        match &self.settings.dockerfile_builder {
            Some(name) => dockerfile::Builder::find(name).map(Some).map_err(BuildError::Image),
            None if spec.command.is_empty() && !Workspace::is_recognised(spec, root) => {
                Err(BuildError::Image(ImageError::OnlyDockerfile))
            }
            None => Ok(None),
        }
    }

    async fn build_dockerfile(
        &self,
        builder: &dockerfile::Builder,
        root: &Path,
        request: &BuildRequest,
        progress: &dyn Progress,
    ) -> Result<BuiltImage, BuildError> {
        self.sweep().await;
        progress.step(IMAGE, StepState::Running, "");
        let python = self.workspace.python().await.map_err(|error| BuildError::Image(error.into()))?;
        let key = store::key([root.to_str().unwrap_or_default(), "dockerfile"]);
        let held = self.store.hold(&key).await.map_err(BuildError::Image)?;
        let registries = &self.settings.registries;
        let folder = dockerfile::Folder { root, platform: request.platforms[0], registries };
        let tools = dockerfile::Tools { python: &python, limit: self.settings.tool, held: &held, store: &self.store };
        let built = builder.build(&folder, &tools, progress).await.map_err(BuildError::Image)?;
        progress.step(IMAGE, StepState::Done, &format!("{}, {}", built.digest, size(built.bytes())));
        Ok(built)
    }
}

fn tell_failure<T>(done: Result<T, BuildError>, progress: &dyn Progress) -> Result<T, BuildError> {
    if let Err(error) = &done {
        progress.step(error.step(), StepState::Failed, &error.to_string());
    }
    done
}
