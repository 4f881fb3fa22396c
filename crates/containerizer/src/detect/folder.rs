//! What a folder is: a SavedModel, a Python class with its files, or one model file with its companions.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kea_core::Framework;
use kea_openapi::source::SourceError;

use super::{DetectError, Detected, Inspected, class, file, mlflow, name, settle, unreadable};

/// Folders whose files are not the model.
const ASIDE: [&str; 4] = ["tests", "test", "docs", "notebooks"];
/// How deep a model's file is looked for.
const DEPTH: usize = 4;
/// How many names an error shows.
const SHOWN: usize = 10;

/// What the folder at `path` is.
pub(super) fn detect(path: &Path, given: Option<Framework>) -> Result<Detected, DetectError> {
    if let Some(saved) = saved_model(path)? {
        return settle(saved, tensorflow(), given);
    }
    match given {
        Some(Framework::Custom) => class(path, given),
        _ if path.join(mlflow::FILE).is_file() => mlflow::detect(path, given),
        Some(_) => model_file(path, given),
        None => class_or_file(path),
    }
}

fn tensorflow() -> Inspected {
    Inspected::sure(Framework::TensorFlow, "the folder is a TensorFlow SavedModel (it has `saved_model.pb`)")
}

/// The SavedModel in the folder: itself, or the highest of the numbered folders that TensorFlow Serving expects.
fn saved_model(path: &Path) -> Result<Option<PathBuf>, DetectError> {
    let is_one = |folder: &Path| folder.join("saved_model.pb").is_file();
    if is_one(path) {
        return Ok(Some(path.to_owned()));
    }
    let numbered = items(path)?.into_iter().filter(|item| is_one(item));
    let versions = numbered.filter_map(|folder| Some((name(&folder).parse::<u64>().ok()?, folder)));
    Ok(versions.max().map(|(_, folder)| folder))
}

/// A class, where there is one: model files beside it are its own to load.
fn class_or_file(path: &Path) -> Result<Detected, DetectError> {
    match class(path, None) {
        Err(DetectError::Source(error)) if is_no_class(&error) => match model_file(path, None) {
            Err(DetectError::NoModel { .. }) if !matches!(error, SourceError::NoFile { .. }) => Err(error.into()),
            found => found,
        },
        found => found,
    }
}

/// Whether the source is sound and just no model.
fn is_no_class(error: &SourceError) -> bool {
    error.is_no_class()
}

/// The folder's one model file, of the framework that is given.
fn model_file(path: &Path, given: Option<Framework>) -> Result<Detected, DetectError> {
    let mut files = Vec::new();
    collect(path, 0, &mut files)?;
    let models: Vec<&PathBuf> = files.iter().filter(|file| file::is_model(file)).collect();
    match (models.as_slice(), given) {
        ([], None) => Err(DetectError::NoModel { files: shown(path, &files) }),
        ([], Some(framework)) => Err(DetectError::NoneOf { framework, files: shown(path, &files) }),
        ([model], _) => settle((*model).clone(), file::inspect(model)?, given),
        (several, _) => one_of(path, several, given),
    }
}

/// The only one of several model files that is of the framework given.
fn one_of(path: &Path, models: &[&PathBuf], given: Option<Framework>) -> Result<Detected, DetectError> {
    let several = || DetectError::Several { files: shown(path, models) };
    given.ok_or_else(several)?;
    let mut fitting =
        models.iter().filter_map(|model| settle((*model).clone(), file::inspect(model).ok()?, given).ok());
    match (fitting.next(), fitting.next()) {
        (Some(found), None) => Ok(found),
        _ => Err(several()),
    }
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), DetectError> {
    for item in items(folder)? {
        if item.is_file() {
            files.push(item);
        } else if depth < DEPTH && !ASIDE.contains(&name(&item).as_str()) {
            collect(&item, depth + 1, files)?;
        }
    }
    Ok(())
}

fn items(folder: &Path) -> Result<Vec<PathBuf>, DetectError> {
    let items = fs::read_dir(folder).map_err(unreadable(folder))?;
    let mut paths: Vec<PathBuf> = items.filter_map(|item| Some(item.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

fn shown(folder: &Path, files: &[impl AsRef<Path>]) -> String {
    let name = |file: &Path| file.strip_prefix(folder).unwrap_or(file).display().to_string();
    let mut names: Vec<String> = files.iter().take(SHOWN).map(|file| name(file.as_ref())).collect();
    if files.len() > SHOWN {
        names.push(format!("{} more", files.len() - SHOWN));
    }
    names.join(", ")
}
