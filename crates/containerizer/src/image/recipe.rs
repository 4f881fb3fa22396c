//! What an image is to be: decided from what was found out about the model, before anything is fetched or written.

use std::path::Path;

use kea_core::{Engine, Framework, ServiceId};
use serde_json::{Map, Value, json};

use super::{
    Platform,
    base::Base,
    dependencies::{Dependencies, LIBRARIES, SITE},
};
use crate::workspace::Recognised;

/// Where models are in an image.
pub(crate) const MODELS: &str = "models";
/// Where KEA's own program is in an image.
pub(crate) const PROGRAM: &str = "usr/local/bin/kea";
/// Where an image listens.
const PORT: u16 = 8080;
/// Whom an image runs as: nobody that any base knows, by numbers, so that a cluster can tell that it is not root.
const USER: &str = "65532:65532";
/// The variable and the label that say what made the model.
pub(crate) const FRAMEWORK: &str = "KEA_FRAMEWORK";
pub(crate) const FRAMEWORK_LABEL: &str = "ml.kea-project.framework";

/// The label that says which TLS the model server of an image can serve.
pub(crate) const TLS_LABEL: &str = "ml.kea-project.tls";

/// What starts the model server of an image.
pub(crate) fn model_server() -> [String; 2] {
    [format!("/{PROGRAM}"), "model-server".to_owned()]
}

/// An image's own configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) folder: String,
    pub(crate) labels: Vec<(String, String)>,
}

/// What KEA's own image is called in its label and its bill of materials, whatever its name is.
pub(crate) const OWN: &str = "kea";

/// What the parts of an image are called, for people.
pub(crate) const PARTS: [&str; 6] = ["base", "packages", "server", "model", "layer", "certificates"];

/// Whether the image is built upon a base with Python.
pub(crate) fn needs_python(model: &Recognised) -> bool {
    match model.engine {
        Engine::Python | Engine::External => true,
        Engine::Onnx => false,
    }
}

/// Whether KEA's own program serves the model; a web service is served by its own command.
pub(crate) fn needs_server(model: &Recognised) -> bool {
    model.engine != Engine::External
}

/// How the image of a model is run.
pub(crate) fn recipe(
    name: &ServiceId,
    model: &Recognised,
    root: Option<&Path>,
    command: &[String],
    base: &Base,
    dependencies: Option<&Dependencies>,
) -> Recipe {
    let place = root.map(|root| place(root, model.path.as_deref()));
    let (entrypoint, arguments) = match needs_server(model) {
        true => (model_server().to_vec(), Vec::new()),
        false => (Vec::new(), command.iter().map(|part| part.replace("{port}", &PORT.to_string())).collect()),
    };
    // A model finds its own files by relative paths.
    let folder = if root.is_some() { format!("/{MODELS}") } else { "/".to_owned() };
    let variables = variables(name, model, place, base, dependencies);
    Recipe { entrypoint, arguments, variables, folder, labels: labels(name, model, root, base) }
}

fn variables(
    name: &ServiceId,
    model: &Recognised,
    place: Option<String>,
    base: &Base,
    dependencies: Option<&Dependencies>,
) -> Vec<(String, String)> {
    let mut variables: Vec<(&str, String)> = vec![("HOME", "/tmp".to_owned())];
    if needs_server(model) {
        variables.push(("KEA_SERVICE", name.to_string()));
        variables.push(("KEA_LISTEN", format!("0.0.0.0:{PORT}")));
        variables.push((FRAMEWORK, model.framework.as_str().to_owned()));
        variables.extend(place.map(|place| ("KEA_MODEL", place)));
    } else {
        variables.extend([("HOST", "0.0.0.0".to_owned()), ("PORT", PORT.to_string())]);
    }
    if let Some(library) = dependencies.and_then(|dependencies| dependencies.onnxruntime.as_ref()) {
        variables.push(("KEA_ONNXRUNTIME", format!("/{LIBRARIES}/{library}")));
    }
    if let Some((python, _)) = base.facts.python.as_ref().filter(|_| needs_python(model)) {
        variables.push(("PYTHONPATH", format!("/{SITE}")));
        variables.push(("PYTHONDONTWRITEBYTECODE", "1".to_owned()));
        variables.push(("PYTHONUNBUFFERED", "1".to_owned()));
        if needs_server(model) {
            variables.push(("KEA_PYTHON", python.clone()));
        } else {
            variables.push(("PATH", format!("/{SITE}/bin:{}", base_path(base))));
        }
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn base_path(base: &Base) -> String {
    let variables = base.config["config"]["Env"].as_array().map(Vec::as_slice).unwrap_or_default();
    let path = variables.iter().filter_map(Value::as_str).find_map(|variable| variable.strip_prefix("PATH="));
    path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").to_owned()
}

/// Where the model is in the image.
fn place(root: &Path, model: Option<&Path>) -> String {
    let below = model.and_then(|model| model.strip_prefix(root).ok()).filter(|below| !below.as_os_str().is_empty());
    below.map_or_else(|| format!("/{MODELS}"), |below| format!("/{MODELS}/{}", below.display()))
}

fn labels(name: &ServiceId, model: &Recognised, root: Option<&Path>, base: &Base) -> Vec<(String, String)> {
    let engine = match model.engine {
        Engine::Python => "python",
        Engine::Onnx => "onnx",
        Engine::External => "external",
    };
    let mut labels = general_labels(name.as_str(), base);
    labels.push(("ml.kea-project.engine".to_owned(), engine.to_owned()));
    labels.push((FRAMEWORK_LABEL.to_owned(), model.framework.as_str().to_owned()));
    if needs_server(model) {
        labels.push((TLS_LABEL.to_owned(), "mutual".to_owned()));
    }
    labels.extend(root.and_then(model_digest).map(|digest| ("ml.kea-project.model".to_owned(), digest)));
    labels.sort();
    labels
}

/// The name under which the model is kept: the digest of its files.
pub(crate) fn model_digest(root: &Path) -> Option<String> {
    Some(format!("sha256:{}", root.file_name()?.to_str()?))
}

/// How KEA's own image is run: whatever it is told.
pub(crate) fn of_kea(base: &Base) -> Recipe {
    let mut labels = general_labels(OWN, base);
    labels.sort();
    Recipe {
        entrypoint: vec![format!("/{PROGRAM}")],
        arguments: Vec::new(),
        variables: vec![("HOME".to_owned(), "/tmp".to_owned())],
        folder: "/".to_owned(),
        labels,
    }
}

/// The labels of all images.
fn general_labels(title: &str, base: &Base) -> Vec<(String, String)> {
    let labels = [
        ("ml.kea-project.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("org.opencontainers.image.base.digest", base.digest.clone()),
        ("org.opencontainers.image.base.name", base.image.whole()),
        ("org.opencontainers.image.title", title.to_owned()),
    ];
    labels.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// The image's configuration document: the base's, with the recipe on top.
pub(crate) fn config(recipe: &Recipe, base: &Base, platform: Platform, diff_ids: &[(usize, String)]) -> Value {
    let mut document = base.config.as_object().cloned().unwrap_or_default();
    let mut own = object(&base.config["config"]);
    own.insert("User".into(), USER.into());
    own.insert("Entrypoint".into(), json!(recipe.entrypoint));
    own.insert("Cmd".into(), json!(recipe.arguments));
    own.insert("WorkingDir".into(), recipe.folder.clone().into());
    own.insert("Env".into(), environment(&base.config["config"]["Env"], &recipe.variables));
    own.insert("Labels".into(), with(&base.config["config"]["Labels"], &recipe.labels));
    own.insert("ExposedPorts".into(), json!({format!("{PORT}/tcp"): {}}));
    // The base's check is of what the base runs.
    own.remove("Healthcheck");
    document.insert("config".into(), own.into());
    document.remove("container");
    document.remove("container_config");
    document.insert("created".into(), EPOCH.into());
    document.insert("architecture".into(), platform.architecture().into());
    document.insert("os".into(), "linux".into());
    let mut ids = base.config["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
    ids.extend(diff_ids.iter().map(|(_, id)| Value::from(id.clone())));
    document.insert("rootfs".into(), json!({"type": "layers", "diff_ids": ids}));
    let mut history = base.config["history"].as_array().cloned().unwrap_or_default();
    history.extend(
        diff_ids
            .iter()
            .map(|(part, _)| json!({"created": EPOCH, "created_by": format!("kea build: {}", PARTS[*part])})),
    );
    document.insert("history".into(), history.into());
    document.into()
}

/// The same inputs give the same image, so it is of no particular time.
const EPOCH: &str = "1970-01-01T00:00:00Z";

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// The base's variables, with ours in the place of those of the same name.
fn environment(base: &Value, ours: &[(String, String)]) -> Value {
    let is_ours = |line: &str| ours.iter().any(|(name, _)| line.split('=').next() == Some(name));
    let kept = base.as_array().into_iter().flatten().filter_map(Value::as_str).filter(|line| !is_ours(line));
    let ours = ours.iter().map(|(name, value)| format!("{name}={value}"));
    kept.map(str::to_owned).chain(ours).collect::<Vec<_>>().into()
}

fn with(base: &Value, ours: &[(String, String)]) -> Value {
    let mut labels = object(base);
    labels.extend(ours.iter().map(|(name, value)| (name.clone(), value.clone().into())));
    labels.into()
}

/// Why the image is made as it is, a sentence each.
pub(crate) fn reasons(model: &Recognised, base: &Base, dependencies: Option<&Dependencies>) -> Vec<String> {
    let mut reasons = model.reasons.clone();
    let server = match (model.engine, model.framework) {
        (Engine::Onnx, _) => "KEA's model server runs it with ONNX Runtime, so the base needs no Python".to_owned(),
        (Engine::Python, Framework::Custom) => "KEA's model server is built around the class".to_owned(),
        (Engine::Python, framework) => format!("KEA's model server runs it with {framework} in Python workers"),
        (Engine::External, _) => "it is a web service of its own and keeps its command".to_owned(),
    };
    reasons.push(server);
    let python = base.facts.python.as_ref().filter(|_| needs_python(model));
    let python = python.map_or_else(String::new, |(_, version)| format!(" with Python {version}"));
    reasons.push(format!("the base is {}{python} ({})", base.image.whole(), base.digest));
    if let Some(dependencies) = dependencies {
        let count = dependencies.packages.len();
        let bytecode = match (dependencies.compiled, &dependencies.onnxruntime) {
            (false, None) => "; this machine has no Python of that version, so they come without bytecode",
            _ => "",
        };
        reasons.push(format!("{count} package(s) are locked with hashes{bytecode}"));
    }
    reasons
}
