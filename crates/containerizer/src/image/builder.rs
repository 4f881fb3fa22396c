//! Makes images, from the model on the shelf to the manifest in the store.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::MetadataExt,
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
    BuildError, ImageError, ImageSettings, LAYERS, Platform, Pushed,
    base::{self, Base, BaseLayer},
    dependencies::{self, Dependencies, Tools, Wanted},
    describe::{self, EMPTY_CONFIG, LAYER},
    dockerfile,
    layer::{self, Content, Effort, Files, Layer},
    layout::Layout,
    push,
    recipe::{self, MODELS, PROGRAM},
    sbom::sbom,
    store::{self, Blob, Store},
};
use crate::{
    BASE, DEPENDENCIES, IMAGE, PrepareError, Progress, Quiet, RegistryError,
    environment::Installer,
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
    workspace: Arc<Workspace>,
    settings: ImageSettings,
    registries: Registries,
    store: Store,
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
        let registries = Registries::new(settings.plain_http.clone());
        Self { workspace, settings, registries, store, swept: Mutex::new(None) }
    }

    /// Makes images of models that are fetched for them. These are kept in `folder` for as long as somebody uses them.
    pub fn standalone(folder: PathBuf, settings: ImageSettings) -> Self {
        let workspace = Workspace::new(folder).passing().with_plain_http(settings.plain_http.clone());
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
    fn put(&self, document: &Value) -> Result<Blob, ImageError> {
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
        let folder = dockerfile::Folder { root, platform: request.platforms[0], plain_http: &self.settings.plain_http };
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

/// The making of an image for one platform.
struct PlatformBuild<'a> {
    builder: &'a ImageBuilder,
    spec: &'a ModelSpec,
    model: &'a Recognised,
    root: Option<&'a Path>,
    request: &'a BuildRequest,
    platform: Platform,
}

impl PlatformBuild<'_> {
    async fn run(&self, progress: &dyn Progress) -> Result<(PlatformImage, Vec<String>), BuildError> {
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
            own.push((2, self.server(progress).await?));
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

    async fn server(&self, progress: &dyn Progress) -> Result<Layer, ImageError> {
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
        let mut files = Files::default();
        files.put(PROGRAM, true, Content::File(program));
        self.layer(key, Effort::Small, limit, store, files, progress).await
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
