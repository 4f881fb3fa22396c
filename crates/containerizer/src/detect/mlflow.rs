//! Model folders of MLflow: `MLmodel` says which library wrote the model, and in which file. The library's own flavor is
//! served; the one that wraps it in Python (`python_function`) is not needed for it.

use std::path::{Path, PathBuf};

use kea_core::Framework;
use serde_yaml_ng::Value;

use super::{DetectError, Detected, file, folder, settle, unreadable};

/// The file that makes a folder MLflow's.
pub(super) const FILE: &str = "MLmodel";
/// Larger descriptions are none.
const LONGEST: u64 = 8 << 20;

/// Flavors of libraries that KEA serves, the most particular first, with the settings that may name the model's file.
const NATIVE: [(&str, &[&str]); 7] = [
    ("onnx", &["data"]),
    ("xgboost", &["data"]),
    ("lightgbm", &["data"]),
    ("sklearn", &["pickled_model"]),
    ("keras", &["data", "model_path"]),
    ("tensorflow", &["saved_model_dir", "data"]),
    ("pytorch", &["model_data"]),
];

/// Where a flavor's file is, if the flavor names a folder.
const WITHIN: [&str; 8] =
    ["model.onnx", "model.keras", "model.pt2", "model.pt", "model.pth", "model.ubj", "model.json", "model.txt"];

/// The model in MLflow's folder at `path`.
pub(super) fn detect(path: &Path, given: Option<Framework>) -> Result<Detected, DetectError> {
    let flavors = flavors(path)?;
    let native = NATIVE.iter().find_map(|(flavor, settings)| Some((*flavor, *settings, flavors.get(flavor)?)));
    let Some((flavor, settings, described)) = native else { return Err(without_native(&flavors)) };
    let named = settings.iter().find_map(|setting| described.get(*setting)?.as_str());
    let named = named
        .ok_or_else(|| unsupported(flavor, "names no file of the model", "log the model again with a newer mlflow"))?;
    let model = locate(path, named).ok_or_else(|| DetectError::NoModel { files: format!("no `{named}`") })?;
    let mut found = match model.is_dir() {
        true => folder::detect(&model, given)?,
        false => settle(model.clone(), file::inspect(&model)?, given)?,
    };
    found
        .reasons
        .push(format!("the folder is a model of MLflow, of which `{named}` of the flavor `{flavor}` is served"));
    found.reasons.push("MLflow itself is not installed: what it requires for its own server is left out".to_owned());
    Ok(found)
}

fn flavors(path: &Path) -> Result<Value, DetectError> {
    let described = path.join(FILE);
    let length = std::fs::metadata(&described).map_err(unreadable(&described))?.len();
    if length > LONGEST {
        return Err(unsupported(FILE, "too long to be a description", "log the model again"));
    }
    let text = std::fs::read_to_string(&described).map_err(unreadable(&described))?;
    let described: Value = serde_yaml_ng::from_str(&text).unwrap_or_default();
    let flavors = described.get("flavors").filter(|flavors| flavors.is_mapping());
    flavors.cloned().ok_or_else(|| unsupported(FILE, "not a description as MLflow writes it", "log the model again"))
}

/// The file or folder called `named`, which may not lie elsewhere.
fn locate(path: &Path, named: &str) -> Option<PathBuf> {
    let named = crate::unpack::safe(named.as_bytes()).ok()?;
    let model = path.join(named);
    if !model.is_dir() || model.join("saved_model.pb").is_file() {
        return model.exists().then_some(model);
    }
    let inner = [model.join("model"), model.clone()].into_iter().filter(|folder| folder.is_dir());
    let mut files = inner.flat_map(|folder| WITHIN.map(|name| folder.join(name)));
    files.find(|file| file.is_file()).or(Some(model))
}

fn without_native(flavors: &Value) -> DetectError {
    let names = flavors.as_mapping().into_iter().flat_map(|flavors| flavors.keys());
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    unsupported(
        &names.join(", "),
        "of no library that KEA serves, or a Python function alone",
        "write a Python class whose `load` calls `mlflow.pyfunc.load_model(\".\")` and whose `predict` calls the model, put it beside the files as `model.py`, and give the framework Custom",
    )
}

fn unsupported(flavor: &str, what: &str, instead: &'static str) -> DetectError {
    DetectError::Unsupported { file: FILE.to_owned(), what: format!("{what} ({flavor})"), instead }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(description: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), description).unwrap();
        for (name, fixture) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture), path).unwrap();
        }
        folder
    }

    fn check(flavor: &str, files: &[(&str, &str)], expected: &str) {
        let description = format!(
            "artifact_path: model\nflavors:\n  python_function:\n    loader_module: mlflow.any\n{flavor}mlflow_version: 3.1.0\n"
        );
        let folder = folder(&description, files);
        let found = match super::super::folder::detect(folder.path(), None) {
            Ok(found) => format!("{} {}", found.framework, found.reasons.join("; ")),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{flavor}: {found}");
    }

    #[test]
    fn the_librarys_own_flavor_is_served() {
        let sklearn = "  sklearn:\n    pickled_model: model.pkl\n    sklearn_version: 1.9.1\n";
        check(sklearn, &[("model.pkl", "iris.pkl")], "ScikitLearn `model.pkl` holds");
        check(sklearn, &[("model.pkl", "iris.pkl")], "a model of MLflow, of which `model.pkl` of the flavor `sklearn`");
        check("  onnx:\n    data: model.onnx\n", &[("model.onnx", "identity.onnx")], "ONNX ");
        check("  xgboost:\n    data: model.ubj\n", &[("model.ubj", "boosted.ubj")], "XGBoost ");
        check("  xgboost:\n    data: model.xgb\n", &[("model.xgb", "boosted.ubj")], "XGBoost ");
        check("  lightgbm:\n    data: model.lgb\n", &[("model.lgb", "light.txt")], "LightGBM ");
        check("  tensorflow:\n    data: data\n", &[("data/model.keras", "network.keras")], "Keras ");
    }

    #[test]
    fn what_cannot_be_served_says_what_to_do_instead() {
        check("", &[("python_model.pkl", "iris.pkl")], "mlflow.pyfunc.load_model");
        check("  spark:\n    model_data: x\n", &[], "of no library that KEA serves");
        check("  sklearn:\n    pickled_model: ../../etc/passwd\n", &[], "no `../../etc/passwd`");
        check("  xgboost:\n    data: model.xgb\n", &[("model.xgb", "identity.onnx")], "with `save_model`");
        check("  sklearn:\n    code: null\n", &[], "names no file of the model");
        let broken = folder("flavors: [", &[]);
        let error = detect(broken.path(), None).unwrap_err().to_string();
        assert!(error.contains("not a description"), "{error}");
    }
}
