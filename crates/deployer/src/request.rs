//! From a request of the API to what is wanted: pure but for the look at the source.

use kea_core::{
    change::invalid,
    management::{DeployRequest, UpdateRequest},
    port::DeployError,
    service::{ModelSpec, Version},
};

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
