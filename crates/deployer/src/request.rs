//! From a request of the API to what is wanted: pure but for the look at the source.

use jiff::Timestamp;
use kea_containerizer::Workspace;
use kea_core::{
    ServiceId, Settings, VersionId,
    change::{self, invalid},
    management::{DeployRequest, UpdateRequest},
    port::DeployError,
    service::{ModelSpec, Service, Version},
    stated,
};
use tokio::task::spawn_blocking;

use crate::choice;

/// The model that a deploy request describes.
pub(crate) fn model(request: &DeployRequest) -> Result<ModelSpec, DeployError> {
    refuse_image(request.container_image.as_deref())?;
    let command = request.command.clone().unwrap_or_default();
    if request.source_code.is_none() && command.is_empty() {
        let detail = "give `sourceCode`, the path or URL of the model, or `command`, that of an existing web service";
        return Err(invalid("/sourceCode", detail));
    }
    let spec = ModelSpec {
        source: request.source_code.clone(),
        framework: request.framework,
        requirements: request.requirements.clone().unwrap_or_default(),
        command,
        functions: request.functions.clone().unwrap_or_default(),
        env: request.env.clone().unwrap_or_default(),
        resources: request.resources.clone().unwrap_or_default(),
    };
    check_model(&spec)?;
    Ok(spec)
}

/// Whether a model that is asked for by a version's name holds what that version does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// That cannot be told: it is elsewhere, or was never brought here.
    Unknown,
    /// Byte for byte, wherever it lies.
    Same,
    /// Something else, also where it lies at the same place.
    Other,
}

impl Content {
    /// What `model` holds now, compared with a version.
    pub(crate) async fn of(workspace: &Workspace, model: &ModelSpec, known: &Version) -> Self {
        let kept = known.prepared.as_ref().and_then(|prepared| prepared.path.as_deref());
        let Some((source, kept)) = model.source.as_deref().zip(kept) else { return Self::Unknown };
        match workspace.is_same(source, kept).await {
            Some(true) => Self::Same,
            Some(false) => Self::Other,
            None => Self::Unknown,
        }
    }

    /// Whether a version is what is asked for.
    fn is_that_of(self, model: &ModelSpec, known: &Version) -> bool {
        let here = |known: &ModelSpec| ModelSpec { source: model.source.clone(), ..known.clone() } == *model;
        match self {
            Self::Unknown => known.model == *model,
            Self::Same => here(&known.model),
            Self::Other => false,
        }
    }
}

/// The version whose name a deploy request gives to its model.
pub(crate) fn named(request: &DeployRequest) -> Option<&VersionId> {
    request.version.as_ref().or_else(|| beside(request))
}

/// The version that a deploy request asks for beside the live one.
fn beside(request: &DeployRequest) -> Option<&VersionId> {
    let canary = request.canary.as_ref().map(|canary| &canary.version);
    canary.or(request.shadow.as_ref().map(|shadow| &shadow.version))
}

/// The version that a deploy request asks for, and the new one where it is not there yet. `content` is about the version that
/// it names.
pub(crate) fn version(
    id: &ServiceId,
    request: &DeployRequest,
    (model, content): (ModelSpec, Content),
    current: Option<&VersionId>,
    versions: &[Version],
) -> Result<(VersionId, Option<Version>), DeployError> {
    let is_another = |name: &VersionId| {
        let content = if named(request) == Some(name) { content } else { Content::Unknown };
        versions.iter().any(|known| known.id == *name && !content.is_that_of(&model, known))
    };
    let beside = beside(request);
    let named = request.version.clone().or_else(|| choice::of_beside(beside, is_another));
    let version = change::new_version(named.as_ref(), current, &ids(versions));
    all_known(id, [beside], Some(&version), versions)?;
    if is_another(&version) {
        return Err(exists(id, &version));
    }
    let is_known = versions.iter().any(|known| known.id == version);
    let new = (!is_known).then(|| Version {
        id: version.clone(),
        model,
        contract: None,
        prepared: None,
        created_at: Timestamp::now(),
    });
    Ok((version, new))
}

/// The version of an update that brings a model, where it is a new one: of the name of one that is there, the model is to be
/// the same.
pub(crate) fn updated_version(
    id: &ServiceId,
    version: VersionId,
    (model, content): (ModelSpec, Content),
    versions: &[Version],
) -> Result<Option<Version>, DeployError> {
    match versions.iter().find(|known| known.id == version) {
        Some(known) if content.is_that_of(&model, known) => Ok(None),
        Some(_) => Err(exists(id, &version)),
        None => Ok(Some(Version { id: version, model, contract: None, prepared: None, created_at: Timestamp::now() })),
    }
}

fn exists(id: &ServiceId, version: &VersionId) -> DeployError {
    DeployError::Conflict(format!(
        "version `{version}` of `{id}` exists with another model: give another `version`, or none to get the next one"
    ))
}

/// A service that there was not before.
pub(crate) fn first(id: ServiceId, version: VersionId, now: Timestamp) -> Service {
    Service {
        id,
        model_name: String::new(),
        version,
        replicas: 1,
        settings: Settings::default(),
        canary: None,
        shadow: None,
        rollout: None,
        live_history: Vec::new(),
        may_break: Vec::new(),
        deleted: false,
        created_at: now,
        updated_at: now,
    }
}

/// The model of an update: that of `base`, with what the change names. The source, where it is not named, is KEA's own
/// copy, since the original may be gone.
pub(crate) fn changed_model(base: &Version, change: &UpdateRequest) -> Result<ModelSpec, DeployError> {
    refuse_image(change.container_image.as_deref())?;
    let kept =
        base.prepared.as_ref().and_then(|prepared| prepared.path.as_ref()).map(|path| path.display().to_string());
    let before = &base.model;
    // Another source may be of another framework, and bring its own requirements.
    let is_new = change.source_code.is_some();
    let spec = ModelSpec {
        source: change.source_code.clone().or(kept).or_else(|| before.source.clone()),
        framework: change.framework.or_else(|| before.framework.filter(|_| !is_new)),
        requirements: change.requirements.clone().unwrap_or_else(|| before.requirements.clone()),
        command: change.command.clone().unwrap_or_else(|| before.command.clone()),
        functions: change.functions.clone().unwrap_or_else(|| before.functions.clone()),
        env: change.env.clone().unwrap_or_else(|| before.env.clone()),
        resources: change.resources.clone().unwrap_or_else(|| before.resources.clone()),
    };
    check_model(&spec)?;
    Ok(spec)
}

fn refuse_image(image: Option<&str>) -> Result<(), DeployError> {
    image.map_or(Ok(()), |_| {
        let detail = "images need Kubernetes; on one machine give `sourceCode`, the model's file or folder, or `command`, \
                      that of a web service";
        Err(invalid("/containerImage", detail))
    })
}

fn check_model(spec: &ModelSpec) -> Result<(), DeployError> {
    if spec.command.first().is_some_and(String::is_empty) {
        return Err(invalid("/command/0", "the command is empty: give the program and its arguments"));
    }
    if let Some(name) = spec.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(invalid("/env", format!("`{name}` is not a name of an environment variable")));
    }
    kea_containerizer::check(spec).map_err(|error| invalid("/sourceCode", error.to_string()))?;
    check_functions(spec)
}

fn check_functions(spec: &ModelSpec) -> Result<(), DeployError> {
    if !spec.functions.is_empty() && !spec.command.is_empty() {
        return Err(invalid("/functions", stated::OF_A_WEB_SERVICE));
    }
    stated::check(&spec.functions).map_err(|(pointer, detail)| invalid(&pointer, detail))
}

/// Holds what is stated of a class that lies here against its source; other models are once a replica has loaded them.
pub(crate) async fn borne_out_by_source(spec: &ModelSpec) -> Result<(), DeployError> {
    if spec.functions.is_empty() {
        return Ok(());
    }
    let spec = spec.clone();
    let read = spawn_blocking(move || kea_containerizer::source_contract(&spec)).await;
    match read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
        Some(Err(contradiction)) => Err(invalid(&contradiction.pointer.clone(), contradiction.to_string())),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// The names of versions.
pub(crate) fn ids(versions: &[Version]) -> Vec<VersionId> {
    versions.iter().map(|version| version.id.clone()).collect()
}

/// A version that is named is there.
pub(crate) fn known(id: &ServiceId, version: &VersionId, versions: &[Version]) -> Result<(), DeployError> {
    if versions.iter().any(|known| known.id == *version) {
        return Ok(());
    }
    Err(DeployError::NoSuchVersion { service: id.clone(), version: version.clone(), known: ids(versions) })
}

/// Versions that a request names, beside the one of the model that it brings, are there already.
pub(crate) fn all_known<'a>(
    id: &ServiceId,
    named: impl IntoIterator<Item = Option<&'a VersionId>>,
    model: Option<&VersionId>,
    versions: &[Version],
) -> Result<(), DeployError> {
    let mut others = named.into_iter().flatten().filter(|named| Some(*named) != model);
    others.try_for_each(|named| known(id, named, versions))
}
