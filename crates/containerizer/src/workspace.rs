//! Prepares models in KEA's own folder.

mod intake;

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use intake::Intake;
use kea_core::{
    Contract, Engine, Framework,
    management::StepState,
    service::{ModelSpec, PreparedModel},
    stated::Contradiction,
};

use crate::{
    ENVIRONMENT, EnvironmentError, FETCH, FetchError, PrepareError, Progress, RECOGNISE,
    detect::{self, Detected},
    downloads::Downloads,
    environment::{Environment, Environments, Installer},
    fetch::{Bounds, Got, Job, Remote},
    mask::mask,
    progress::{Pace, Quiet, blocking},
    python::Python,
    registry::{Registries, RegistrySettings},
    requirements,
    shelf::Shelf,
    source::Source,
    unpack::{self, Most},
};

/// How much a model may be, and how long its preparation may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most files and folders of a model.
    pub files: usize,
    /// Most bytes of a model that is copied.
    pub copied: u64,
    /// Most bytes of a model that is downloaded.
    pub downloaded: u64,
    /// How long a download may stand still.
    pub silence: Duration,
    /// How long one run of uv or pip may take.
    pub tool: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 100_000,
            copied: 64 << 30,
            downloaded: 64 << 30,
            silence: Duration::from_secs(30),
            tool: Duration::from_secs(20 * 60),
        }
    }
}

/// KEA's folder of models and Python environments.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    limits: Limits,
    shelf: Shelf,
    downloads: Downloads,
    environments: Environments,
    python: Option<PathBuf>,
    installer: Option<Installer>,
    onnxruntime: Option<PathBuf>,
    registries: Registries,
    swept: Arc<Once>,
}

/// What was fetched.
pub(crate) struct Fetched {
    /// The model's file or folder, in KEA's own.
    pub(crate) path: Option<PathBuf>,
    detail: String,
}

impl Workspace {
    /// A workspace in the folder `root`, which is made when it is first needed and should hold all of the server's own
    /// data, so that no model's folder is copied together with it. Python and the shared library of ONNX Runtime are
    /// those that the environment variables `KEA_PYTHON` and `KEA_ONNXRUNTIME` name, if they are set.
    pub fn new(root: PathBuf) -> Self {
        let named = |variable| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = std::path::absolute(&root).unwrap_or(root);
        let limits = Limits::default();
        Self {
            shelf: Shelf::new(root.join("models")),
            downloads: Downloads::new(root.join("downloads")),
            environments: Environments::new(root.join("environments"), limits.tool),
            root,
            limits,
            python: named("KEA_PYTHON"),
            installer: None,
            onnxruntime: named("KEA_ONNXRUNTIME"),
            registries: Registries::new(RegistrySettings::default()),
            swept: Arc::new(Once::new()),
        }
    }

    /// The same with registries that are spoken to as `settings` say.
    #[must_use]
    pub fn with_registries(mut self, settings: RegistrySettings) -> Self {
        self.registries = Registries::new(settings);
        self
    }

    /// The same for models that need not outlive this process.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.shelf = self.shelf.passing();
        self
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.environments.limit = limits.tool;
        self.limits = limits;
        self
    }

    /// Brings a model and what it needs to this machine; what is there already is used again. Each step is told to
    /// `progress` as running, then as done or failed. Dropping the future stops the work and the tools that it started.
    pub async fn prepare(&self, spec: &ModelSpec, progress: &dyn Progress) -> Result<PreparedModel, PrepareError> {
        let prepared = self.steps(spec, progress).await;
        if let Err(error) = &prepared {
            progress.step(error.step(), StepState::Failed, &error.to_string());
        }
        prepared
    }

    async fn steps(&self, spec: &ModelSpec, progress: &dyn Progress) -> Result<PreparedModel, PrepareError> {
        let fetched = self.fetched(spec, progress).await?;
        let recognised = self.recognise(spec, &fetched, progress).await?;
        progress.step(ENVIRONMENT, StepState::Running, "");
        let mut prepared = PreparedModel::from(recognised);
        let detail = self.equip(spec, &mut prepared, progress).await?;
        progress.step(ENVIRONMENT, StepState::Done, &detail);
        prepared.reasons.push(detail);
        Ok(prepared)
    }

    /// Brings the model here: the first step.
    pub(crate) async fn fetched(&self, spec: &ModelSpec, progress: &dyn Progress) -> Result<Fetched, FetchError> {
        progress.step(FETCH, StepState::Running, "");
        let fetched = self.fetch(spec, progress).await?;
        progress.step(FETCH, StepState::Done, &fetched.detail);
        Ok(fetched)
    }

    /// Finds out what the model is and which packages it needs: the second step.
    pub(crate) async fn recognise(
        &self,
        spec: &ModelSpec,
        fetched: &Fetched,
        progress: &dyn Progress,
    ) -> Result<Recognised, PrepareError> {
        progress.step(RECOGNISE, StepState::Running, "");
        let (wanted, path) = (spec.clone(), fetched.path.clone());
        let detected = blocking(progress, RECOGNISE, move |_| detect::detect(&wanted, path.as_deref())).await?;
        progress.step(RECOGNISE, StepState::Done, detected.reasons.first().map_or("", String::as_str));
        let Detected { framework, engine, path, needs, reasons } = detected;
        let folder = fetched.path.as_deref().filter(|path| path.is_dir());
        let mut given = requirements::given(&spec.requirements, folder)?;
        if spec.requirements.is_empty() && folder.is_some_and(detect::is_mlflow) && is_native(framework, engine) {
            given = requirements::without_mlflow(given);
        }
        let packages = match (engine, given.is_empty()) {
            (Engine::External, true) => Vec::new(),
            _ => requirements::complete(given, framework, engine, &needs),
        };
        Ok(Recognised { framework, engine, path, packages, reasons })
    }

    /// Whether KEA knows what is in the folder `root`.
    pub(crate) fn is_recognised(spec: &ModelSpec, root: &Path) -> bool {
        detect::detect(spec, Some(root)).is_ok()
    }

    /// The folder of the model's own on the shelf, for a path below it.
    pub(crate) fn root_of(&self, path: &Path) -> Option<PathBuf> {
        let shelf = self.root.join("models");
        let model = path.strip_prefix(&shelf).ok()?.components().next()?;
        Some(shelf.join(model))
    }

    /// Whether a source on this machine holds now what was brought from it, or from elsewhere, to `kept`. Nothing where that
    /// is not on this machine, or cannot be read.
    pub async fn is_same(&self, source: &str, kept: &Path) -> Option<bool> {
        let Ok(Source::Path(path)) = Source::parse(source) else { return None };
        let kept = self.root_of(kept)?;
        if self.root_of(&path).is_some_and(|root| root == kept) {
            return Some(true);
        }
        let intake = self.intake(self.limits.copied);
        let digest = blocking(&Quiet, FETCH, move |report| intake.digest(&path, report)).await.ok()?;
        Some(kept.file_name().is_some_and(|name| name == digest.as_str()))
    }

    /// The Python of this machine that starts tools.
    pub(crate) async fn python(&self) -> Result<Python, EnvironmentError> {
        Python::find(self.python.as_deref()).await
    }

    async fn fetch(&self, spec: &ModelSpec, progress: &dyn Progress) -> Result<Fetched, FetchError> {
        let Some(text) = spec.source.as_deref() else {
            let nothing = Fetched { path: None, detail: "the command needs no files".to_owned() };
            return if spec.command.is_empty() { Err(FetchError::Nothing) } else { Ok(nothing) };
        };
        match Source::parse(text)? {
            Source::Path(path) => self.copy(path, progress).await,
            Source::Remote(remote) => self.download(text, &remote, progress).await,
        }
    }

    async fn copy(&self, path: PathBuf, progress: &dyn Progress) -> Result<Fetched, FetchError> {
        let intake = self.intake(self.limits.copied);
        blocking(progress, FETCH, move |report| intake.copy(&path, report)).await
    }

    async fn download(&self, text: &str, remote: &Remote, progress: &dyn Progress) -> Result<Fetched, FetchError> {
        let intake = self.intake(self.limits.downloaded);
        let opened = intake.clone();
        let staging = blocking(progress, FETCH, move |_| opened.staging()).await?;
        let known = self.downloads.get(text).filter(|known| intake.shelf.holds(&known.model, known.file.as_deref()));
        let job = Job {
            staging: &staging,
            bounds: self.bounds(),
            known: known.as_ref().map(|known| known.mark.as_str()),
            registries: &self.registries,
            python: self.python.as_deref(),
            progress,
            pace: Mutex::new(Pace::new()),
        };
        match (remote.fetch(&job).await?, known) {
            (Got::Unchanged, Some(known)) => Ok(intake.again(&known)),
            // Nothing says so of what it was not told to know.
            (Got::Unchanged, None) => Err(FetchError::Cancelled),
            (Got::New(landed), _) => {
                let (downloads, text, shown) = (self.downloads.clone(), text.to_owned(), remote.shown());
                blocking(progress, FETCH, move |report| {
                    let (fetched, known) = intake.keep(landed, &staging, &shown, report)?;
                    known.map(|known| downloads.put(&text, &known)).transpose()?;
                    Ok(fetched)
                })
                .await
            }
        }
    }

    fn bounds(&self) -> Bounds {
        let Limits { files, downloaded, silence, tool, .. } = self.limits;
        Bounds { files, bytes: downloaded, silence, tool }
    }

    fn intake(&self, bytes: u64) -> Intake {
        Intake {
            shelf: self.shelf.clone(),
            root: self.root.clone(),
            most: Most { files: self.limits.files, bytes },
            swept: self.swept.clone(),
        }
    }

    /// Makes the environment that the model needs, and says which it is.
    async fn equip(
        &self,
        spec: &ModelSpec,
        prepared: &mut PreparedModel,
        progress: &dyn Progress,
    ) -> Result<String, EnvironmentError> {
        match (prepared.engine, &self.onnxruntime) {
            (Engine::Onnx, Some(path)) => return given_onnxruntime(path, prepared),
            (Engine::External, _) if prepared.packages.is_empty() => {
                return Ok("the command runs in the machine's own environment".to_owned());
            }
            _ => {}
        }
        let python = self.python().await?;
        let installer = self.installer.clone().unwrap_or_else(Installer::find);
        let made = self.environments.ensure(&python, &installer, &prepared.packages, progress).await?;
        match prepared.engine {
            Engine::Onnx => prepared.onnxruntime = Some(made.onnxruntime()?),
            Engine::Python | Engine::External => prepared.python = Some(made.python()),
        }
        let bare = prepared.framework == Framework::Custom && is_bare(spec, prepared);
        Ok(describe(&made, &python, &prepared.packages, bare))
    }
}

/// Whether nobody has said which packages the model needs.
fn is_bare(spec: &ModelSpec, prepared: &PreparedModel) -> bool {
    spec.requirements.is_empty() && prepared.packages == ["numpy"]
}

/// A model on the shelf, and what it was found to be.
#[derive(Clone, Debug)]
pub(crate) struct Recognised {
    pub(crate) framework: Framework,
    pub(crate) engine: Engine,
    /// The model's own file, or the folder where the folder is the model; `None` for a command without files.
    pub(crate) path: Option<PathBuf>,
    /// Packages that it needs, as pip writes them, sorted.
    pub(crate) packages: Vec<String>,
    /// Why, a sentence each.
    pub(crate) reasons: Vec<String>,
}

impl Recognised {
    /// What was found out about a model that was prepared.
    pub(crate) fn of(prepared: &PreparedModel) -> Self {
        let PreparedModel { framework, engine, path, packages, reasons, .. } = prepared.clone();
        Self { framework, engine, path, packages, reasons }
    }
}

impl From<Recognised> for PreparedModel {
    fn from(found: Recognised) -> Self {
        let Recognised { framework, engine, path, packages, reasons } = found;
        Self { framework, engine, path, packages, reasons, ..Self::default() }
    }
}

/// Whether a framework's own file is served, and not a class or a command, which may import what they like.
fn is_native(framework: Framework, engine: Engine) -> bool {
    engine != Engine::External && framework != Framework::Custom
}

fn given_onnxruntime(path: &Path, prepared: &mut PreparedModel) -> Result<String, EnvironmentError> {
    if !path.is_file() {
        return Err(EnvironmentError::BadOnnxRuntime { path: path.to_owned() });
    }
    prepared.onnxruntime = Some(path.to_owned());
    Ok(format!("ONNX Runtime is `{}`, as KEA_ONNXRUNTIME says", path.display()))
}

fn describe(made: &Environment, python: &Python, packages: &[String], bare: bool) -> String {
    let origin = if made.reused { "was made before" } else { "is new" };
    let hint = if bare { "; name further packages in requirements.txt or `requirements`" } else { "" };
    let packages = packages.join(", ");
    format!("the environment of Python {} with {} {origin}{hint}", python.version_text(), mask(&packages))
}

/// Finds out quickly what [`Workspace::prepare`] would refuse: nothing is copied, downloaded or installed. It reads
/// files, so it belongs on a thread that may block.
pub fn check(spec: &ModelSpec) -> Result<(), PrepareError> {
    detect::check_command(spec)?;
    match spec.source.as_deref().map(Source::parse).transpose()? {
        Some(Source::Path(path)) => check_path(spec, &path),
        // What is elsewhere is not asked: the answer may take long.
        Some(Source::Remote(_)) => Ok(()),
        None if spec.command.is_empty() => Err(FetchError::Nothing.into()),
        None => Ok(requirements::given(&spec.requirements, None).map(drop)?),
    }
}

/// What a model on this machine offers, where it is a Python class: its source says so before anything runs. Nothing where
/// it is something else, is elsewhere, or cannot be read. It reads files, so it belongs on a thread that may block.
///
/// # Errors
/// The first thing stated of its functions that the source does not bear out.
pub fn source_contract(spec: &ModelSpec) -> Option<Result<Contract, Contradiction>> {
    let Some(Ok(Source::Path(path))) = spec.source.as_deref().map(Source::parse) else { return None };
    let is_class =
        |spec: &ModelSpec| spec.command.is_empty() && matches!(spec.framework, None | Some(Framework::Custom));
    let detected = is_class(spec).then(|| detect::detect(spec, Some(&path)).ok())??;
    let is_custom = detected.framework == Framework::Custom && detected.engine == Engine::Python;
    let path = detected.path.filter(|_| is_custom)?;
    let source = kea_openapi::source::read(&path).ok()?;
    Some(kea_openapi::stated::merge(source.contract, &spec.functions))
}

/// Larger files are not looked into before the request is answered.
const LOOKED_INTO: u64 = 16 << 20;

fn check_path(spec: &ModelSpec, path: &Path) -> Result<(), PrepareError> {
    let metadata = fs::metadata(path).map_err(FetchError::reading(path))?;
    if metadata.is_dir() {
        fs::read_dir(path).map_err(FetchError::reading(path))?;
        requirements::given(&spec.requirements, Some(path))?;
        if spec.framework == Some(Framework::Custom) {
            detect::detect(spec, Some(path))?;
        }
        return Ok(());
    }
    if !metadata.is_file() {
        return Err(FetchError::Special { path: path.to_owned() }.into());
    }
    fs::File::open(path).map_err(FetchError::reading(path))?;
    if unpack::bundle(path).map_err(FetchError::reading(path))?.is_some() {
        return Ok(());
    }
    requirements::given(&spec.requirements, None)?;
    if metadata.len() <= LOOKED_INTO {
        detect::detect(spec, Some(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
