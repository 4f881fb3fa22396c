//! Finds out what made a model, from its files; what the user says is checked against them.

mod file;
mod folder;
mod mlflow;
mod pickled;
mod zipped;

use std::{
    io,
    path::{Path, PathBuf},
};

use kea_core::{Engine, Framework, service::ModelSpec};
use kea_openapi::source::{self, SourceError};

pub(crate) use zipped::is_model as is_zipped_model;

/// What a model turned out to be.
#[derive(Debug)]
pub(crate) struct Detected {
    pub(crate) framework: Framework,
    pub(crate) engine: Engine,
    /// The model's own file, or the folder where the folder is the model; `None` for a command without files.
    pub(crate) path: Option<PathBuf>,
    /// Packages that the files ask for, as pip writes them.
    pub(crate) needs: Vec<String>,
    /// Why, a sentence each.
    pub(crate) reasons: Vec<String>,
}

/// What one file says of itself.
#[derive(Debug)]
pub(crate) struct Inspected {
    /// What made it; an error where only the user can know.
    framework: Result<Framework, DetectError>,
    /// Frameworks that it can be served with as well, where the user says so.
    also: Vec<Framework>,
    why: String,
    needs: Vec<String>,
    /// Further sentences for the user.
    notes: Vec<String>,
}

impl Inspected {
    fn sure(framework: Framework, why: impl Into<String>) -> Self {
        Self { framework: Ok(framework), also: Vec::new(), why: why.into(), needs: Vec::new(), notes: Vec::new() }
    }
}

/// Why a model is not recognised.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say what the fields are")]
pub enum DetectError {
    #[error("the framework is given as {given}, but {why}, which is {found}: give {found}, or leave the framework out")]
    Contradiction { given: Framework, found: Framework, why: String },
    #[error(
        "the framework is given as Custom, but `{file}` is no Python source: give the `.py` file or the folder with the model's class"
    )]
    NotSource { file: String },
    #[error("a command brings its own server, so its framework is Custom and not {given}")]
    CommandOfFramework { given: Framework },
    #[error(
        "`{file}` is of no kind that KEA knows (.onnx, .joblib, .pkl, .skops, .keras, .ubj, .json of XGBoost, .txt of LightGBM, TorchScript, .pt2, SavedModel): load it in a Python class and deploy that"
    )]
    Unknown { file: String },
    #[error("`{file}` is empty")]
    Empty { file: String },
    #[error(
        "`{file}` is a Git LFS pointer and not the file itself: run `git lfs pull` where it was cloned; for a git source, install git-lfs beside KEA"
    )]
    LfsPointer { file: String },
    #[error("`{file}` is {what}, which cannot be served: {instead}")]
    Unsupported { file: String, what: String, instead: &'static str },
    #[error("`{file}` holds {what} and not a model: save the model alone, or write a Python class that loads it")]
    Container { file: String, what: &'static str },
    #[error(
        "`{file}` needs `{name}` of the script that wrote it, which is not in the file: put it into a module beside the model and deploy a Python class that loads both"
    )]
    OwnClass { file: String, name: String },
    #[error(
        "`{file}` holds an object of `{class}`, which is of no framework that KEA knows: give the framework ScikitLearn if it has those methods, or write a Python class that loads it"
    )]
    UnknownClass { file: String, class: String },
    #[error("`{file}` is compressed with {by}, which is not looked into: name the framework that made it")]
    Compressed { file: String, by: &'static str },
    #[error("no file of {framework} was found in the folder; it holds {files}")]
    NoneOf { framework: Framework, files: String },
    #[error("the folder holds several models ({files}): give the path of the one to serve")]
    Several { files: String },
    #[error("neither a model's file nor a Python class was found in the folder; it holds {files}")]
    NoModel { files: String },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("`{file}` is {what} by its content: rename it so that it ends with `.{ending}`")]
    Ending { file: String, what: &'static str, ending: &'static str },
    #[error("`{file}` cannot be read: {why}")]
    Unreadable { file: String, why: io::Error },
}

/// Whether `folder` is a model of MLflow.
pub(crate) fn is_mlflow(folder: &Path) -> bool {
    folder.join(mlflow::FILE).is_file()
}

/// Finds out what the file or folder at `path` is, for a model that is wanted as `spec` says.
pub(crate) fn detect(spec: &ModelSpec, path: Option<&Path>) -> Result<Detected, DetectError> {
    if !spec.command.is_empty() {
        return external(spec, path);
    }
    match (path, spec.framework) {
        (None, _) => Err(DetectError::NoModel { files: "nothing".to_owned() }),
        (Some(path), given) if path.is_dir() => folder::detect(path, given),
        (Some(path), given) => one_file(path, given),
    }
}

/// Whether a command and a framework fit together.
pub(crate) fn check_command(spec: &ModelSpec) -> Result<(), DetectError> {
    match spec.framework {
        Some(given) if given != Framework::Custom && !spec.command.is_empty() => {
            Err(DetectError::CommandOfFramework { given })
        }
        _ => Ok(()),
    }
}

fn external(spec: &ModelSpec, path: Option<&Path>) -> Result<Detected, DetectError> {
    check_command(spec)?;
    Ok(Detected {
        framework: Framework::Custom,
        engine: Engine::External,
        path: path.map(Path::to_owned),
        needs: Vec::new(),
        reasons: vec![format!("`{}` is a web service of its own, to which requests are passed on", spec.command[0])],
    })
}

/// What the file at `path` is.
fn one_file(path: &Path, given: Option<Framework>) -> Result<Detected, DetectError> {
    if path.extension().is_some_and(|extension| extension == "py") {
        return class(path, given);
    }
    if given == Some(Framework::Custom) {
        return Err(DetectError::NotSource { file: name(path) });
    }
    settle(path.to_owned(), file::inspect(path)?, given)
}

/// The Python class in the file or folder at `path`.
fn class(path: &Path, given: Option<Framework>) -> Result<Detected, DetectError> {
    let model = source::read(path)?;
    let file = name(&model.file);
    let why = match &model.class {
        Some(class) => format!("`{file}` holds the class `{class}`"),
        None => format!("`{file}` holds functions with type hints"),
    };
    match given {
        None | Some(Framework::Custom) => Ok(Detected {
            framework: Framework::Custom,
            engine: Engine::Python,
            path: Some(path.to_owned()),
            needs: Vec::new(),
            reasons: vec![format!("{why}, so it runs as a custom model")],
        }),
        Some(given) => Err(DetectError::Contradiction { given, found: Framework::Custom, why }),
    }
}

/// Brings together what a file says of itself and what the user says.
fn settle(path: PathBuf, inspected: Inspected, given: Option<Framework>) -> Result<Detected, DetectError> {
    let Inspected { framework, also, why, needs, notes } = inspected;
    let framework = match (given, framework) {
        (None, found) => found?,
        (Some(given), _) if also.contains(&given) => given,
        (Some(given), Ok(found)) if given == found || same_family(given, found) => found,
        (Some(given), Ok(found)) => return Err(DetectError::Contradiction { given, found, why }),
        (Some(_), Err(unknown)) => return Err(unknown),
    };
    let engine = if framework == Framework::Onnx { Engine::Onnx } else { Engine::Python };
    let chosen = match engine {
        Engine::Onnx => format!("{why}, so ONNX Runtime runs it within the model server"),
        Engine::Python | Engine::External => format!("{why}, so {framework} runs it in Python workers"),
    };
    let reasons = std::iter::once(chosen).chain(notes).collect();
    Ok(Detected { framework, engine, path: Some(path), needs, reasons })
}

/// Keras' files are called TensorFlow's, and the other way round, by those who use the one through the other.
fn same_family(given: Framework, found: Framework) -> bool {
    matches!((given, found), (Framework::TensorFlow, Framework::Keras) | (Framework::Keras, Framework::TensorFlow))
}

/// Checks that a file's name ends as its content wants: the libraries that load it go by that.
fn ends_with(path: &Path, what: &'static str, endings: &'static [&'static str]) -> Result<(), DetectError> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if endings.contains(&ending) {
        Ok(())
    } else {
        Err(DetectError::Ending { file: name(path), what, ending: endings[0] })
    }
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> DetectError {
    let file = name(path);
    move |why| DetectError::Unreadable { file, why }
}

#[cfg(test)]
mod tests;
