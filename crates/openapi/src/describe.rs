//! What can be told of a model as it lies there: from its source or its file, which are read and never run.

mod boosters;
mod lightgbm;
mod mlflow;
mod onnx;
mod xgboost;

use std::{fs, io, path::Path};

use kea_core::Contract;

use crate::source::{self, SourceError};

/// Why a model cannot be described without running it.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// The source is none, or not a model's.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Its kind says what it takes only once it is loaded.
    #[error("it says what it takes only once it is loaded: deploy it")]
    NeedsRunning,
    /// The file is not what it is called.
    #[error("{file} is no ONNX graph: {why}")]
    NotOnnx {
        /// The file.
        file: String,
        /// What does not fit.
        why: String,
    },
    /// The file is no booster.
    #[error("{file} is no model of {library}: {why}")]
    NotBooster {
        /// The file.
        file: String,
        /// Whose model it should be.
        library: &'static str,
        /// What does not fit.
        why: String,
    },
    /// MLflow's description is not one.
    #[error("{file} is not a description as MLflow writes it: {why}; log the model again")]
    NotMlflow {
        /// The file.
        file: String,
        /// What does not fit.
        why: String,
    },
    /// The system's own reason.
    #[error("{file} cannot be read: {why}")]
    Unreadable {
        /// The file.
        file: String,
        /// The reason.
        why: io::Error,
    },
}

/// The contract of the model at `path`: a Python file, a folder, an ONNX graph, a model of XGBoost (JSON) or of LightGBM
/// (text), or a folder of MLflow.
pub fn describe(path: &Path) -> Result<Contract, DescribeError> {
    let is = |ending: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending));
    match path {
        folder if folder.is_dir() => of_folder(folder),
        _ if is("onnx") => onnx::contract(path),
        _ if is("py") => of_source(path),
        _ if is("json") => xgboost::contract(path),
        _ if ["txt", "lgb", "model"].into_iter().any(is) && lightgbm::is_one(path) => lightgbm::contract(path),
        _ => Err(DescribeError::NeedsRunning),
    }
}

/// A web application, where the source makes one, else a model's class or functions.
fn of_source(path: &Path) -> Result<Contract, DescribeError> {
    match source::read_web(path, &[])? {
        Some(contract) => Ok(contract),
        None => Ok(source::read(path)?.contract),
    }
}

fn of_folder(folder: &Path) -> Result<Contract, DescribeError> {
    if folder.join(mlflow::FILE).is_file() {
        return mlflow::contract(folder);
    }
    match of_source(folder) {
        Err(DescribeError::Source(error)) if error.is_no_class() => of_model_files(folder, error),
        found => found,
    }
}

/// The folder's one ONNX graph; where it has none, the source's error unless other files may be the model.
fn of_model_files(folder: &Path, error: SourceError) -> Result<Contract, DescribeError> {
    let unreadable = |why| DescribeError::Unreadable { file: folder.display().to_string(), why };
    let files: Vec<_> = fs::read_dir(folder).map_err(unreadable)?.filter_map(|item| Some(item.ok()?.path())).collect();
    let has = |path: &&std::path::PathBuf, endings: &[&str]| {
        path.extension().is_some_and(|extension| endings.iter().any(|ending| extension == *ending))
    };
    let graphs: Vec<_> = files.iter().filter(|path| has(path, &["onnx"])).collect();
    let source_alone = files.iter().all(|path| has(&path, &["py", "txt", "md", "toml", "yaml", "yml"]));
    match graphs.as_slice() {
        [graph] => onnx::contract(graph),
        _ if source_alone => Err(error.into()),
        _ => Err(DescribeError::NeedsRunning),
    }
}
