//! From a request of the API to what is wanted: pure but for the look at the source.

use kea_core::{
    ServiceId, Settings, VersionId,
    management::{DeployRequest, UpdateRequest},
    port::DeployError,
    service::{ModelSpec, ServerSettings, Service, Version},
};

/// As many replicas as anyone runs on one machine; more is a slip of the keyboard.
const REPLICAS_MAX: u32 = 1000;

fn invalid(pointer: &str, detail: impl Into<String>) -> DeployError {
    DeployError::Invalid { pointer: pointer.into(), detail: detail.into() }
}

/// The service's name: the one given, or one made of the model's.
pub(crate) fn service_id(request: &DeployRequest) -> Result<ServiceId, DeployError> {
    match &request.service_id {
        Some(id) => Ok(id.clone()),
        None => ServiceId::derive(&request.model_name)
            .map_err(|error| invalid("/modelName", format!("{error}; or give a `serviceId`"))),
    }
}

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
        env: request.env.clone().unwrap_or_default(),
        resources: request.resources.clone().unwrap_or_default(),
    };
    check_model(&spec)?;
    Ok(spec)
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
        env: change.env.clone().unwrap_or_else(|| before.env.clone()),
        resources: change.resources.clone().unwrap_or_else(|| before.resources.clone()),
    };
    check_model(&spec)?;
    Ok(spec)
}

/// Takes over what a deploy request says of settings.
pub(crate) fn settings(settings: &mut Settings, request: &DeployRequest) -> Result<(), DeployError> {
    let DeployRequest { cache, timeout, access, load_balancer, server, .. } = request.clone();
    let change = UpdateRequest { cache, timeout, access, load_balancer, server, ..UpdateRequest::default() };
    changed_settings(settings, &change)
}

/// Takes over what an update says of settings.
pub(crate) fn changed_settings(settings: &mut Settings, change: &UpdateRequest) -> Result<(), DeployError> {
    let UpdateRequest { cache, timeout, access, load_balancer, server, .. } = change.clone();
    if timeout.is_some_and(|timeout| timeout.0.is_zero()) {
        return Err(invalid("/timeout", "a timeout of 0 answers nothing: give for example `5s`"));
    }
    if cache.as_ref().and_then(|cache| cache.ttl).is_some_and(|ttl| ttl.0.is_zero()) {
        return Err(invalid("/cache/ttl", "a TTL of 0 keeps nothing: leave the cache off, or give for example `60s`"));
    }
    if let Some(server) = &server {
        check_server(server)?;
    }
    settings.cache = cache.unwrap_or_else(|| settings.cache.clone());
    settings.timeout = timeout.or(settings.timeout);
    settings.access = access.unwrap_or_else(|| settings.access.clone());
    settings.load_balancer = load_balancer.or(settings.load_balancer.take());
    settings.server = server.unwrap_or_else(|| settings.server.clone());
    Ok(())
}

/// How many replicas are asked for.
pub(crate) fn replicas(asked: Option<u32>, otherwise: u32) -> Result<u32, DeployError> {
    match asked {
        Some(replicas) if replicas > REPLICAS_MAX => Err(invalid(
            "/replicas",
            format!("{replicas} replicas are more than one machine runs: at most {REPLICAS_MAX}"),
        )),
        asked => Ok(asked.unwrap_or(otherwise)),
    }
}

/// The version that a new model gets: the one asked for, or the next free number.
pub(crate) fn new_version(asked: Option<&VersionId>, service: Option<&Service>, versions: &[Version]) -> VersionId {
    let taken: Vec<VersionId> = versions.iter().map(|version| version.id.clone()).collect();
    match (asked, service) {
        (Some(version), _) => version.clone(),
        (None, Some(service)) => service.version.successor(&taken),
        (None, None) => VersionId::first(),
    }
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
    kea_containerizer::check(spec).map_err(|error| invalid("/sourceCode", error.to_string()))
}

fn check_server(server: &ServerSettings) -> Result<(), DeployError> {
    let fields = [
        ("workers", server.workers, 64),
        ("maxBatchRows", server.max_batch_rows, 65_536),
        ("queueLimit", server.queue_limit, 1_000_000),
    ];
    let outside = fields.iter().find(|(_, value, most)| value.is_some_and(|value| value == 0 || value > *most));
    outside.map_or(Ok(()), |(name, _, most)| {
        Err(invalid(&format!("/server/{name}"), format!("`{name}` is from 1 to {most}")))
    })
}
