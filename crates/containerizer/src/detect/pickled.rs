//! What a pickle is, and the packages that it needs, from what it mentions.

use std::{fs::File, path::Path};

use kea_core::Framework;

use super::{DetectError, Inspected, name, unreadable};
use crate::pickle::{self, Compression, Mentions};

/// What can be unpickled by a worker: objects of these are called the same way.
const PICKLED: [Framework; 3] = [Framework::ScikitLearn, Framework::XGBoost, Framework::LightGBM];

/// Packages whose estimators behave as scikit-learn's, and what pip calls them.
const RELATED: [(&str, &str); 11] = [
    ("imblearn", "imbalanced-learn"),
    ("catboost", "catboost"),
    ("category_encoders", "category-encoders"),
    ("feature_engine", "feature-engine"),
    ("hdbscan", "hdbscan"),
    ("mlxtend", "mlxtend"),
    ("sklearn_pandas", "sklearn-pandas"),
    ("sklego", "scikit-lego"),
    ("quantile_forest", "quantile-forest"),
    ("skorch", "skorch"),
    ("umap", "umap-learn"),
];

/// Modules that need no package of their own: Python's, and those that come with scikit-learn.
const PRESENT: [&str; 22] = [
    "__builtin__",
    "__main__",
    "_codecs",
    "_operator",
    "array",
    "builtins",
    "collections",
    "copy_reg",
    "copyreg",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "itertools",
    "joblib",
    "math",
    "numpy",
    "operator",
    "random",
    "scipy",
    "threading",
];

/// Endings that say that a file is something else.
const OTHERS: [&str; 9] = ["bin", "h5", "json", "keras", "lgb", "model", "pt2", "skops", "txt"];

/// What the pickle at `path` is.
pub(super) fn inspect(path: &Path, compression: Compression) -> Result<Inspected, DetectError> {
    let file = name(path);
    if path.extension().is_some_and(|ending| OTHERS.iter().any(|other| ending == *other)) {
        return Err(DetectError::Ending { file, what: "a pickle", ending: "pkl" });
    }
    if let Compression::Other(by) = compression {
        return Ok(Inspected {
            why: format!("`{file}` is compressed with {by}, which is not looked into"),
            also: PICKLED.to_vec(),
            framework: Err(DetectError::Compressed { file, by }),
            needs: Vec::new(),
            notes: vec!["the version that wrote the file is not known, so the newest is taken".to_owned()],
        });
    }
    let reader = compression.unpack(File::open(path).map_err(unreadable(path))?);
    judge(path, &pickle::mentions(reader).map_err(unreadable(path))?)
}

/// What a model is that mentions this.
pub(super) fn judge(path: &Path, found: &Mentions) -> Result<Inspected, DetectError> {
    let file = name(path);
    if let Some(name) = &found.own {
        return Err(DetectError::OwnClass { file, name: format!("__main__.{name}") });
    }
    if let Some(what) = found.container {
        return Err(DetectError::Container { file, what });
    }
    let Some((module, class)) = &found.root else { return Err(DetectError::Unknown { file }) };
    let class = format!("{module}.{class}");
    let why = format!("`{file}` holds an object of `{class}`");
    let framework = framework_of(module).ok_or(DetectError::UnknownClass { file, class });
    Ok(Inspected { also: also(&framework), framework, why, needs: packages(found), notes: notes(path, found) })
}

fn framework_of(module: &str) -> Option<Framework> {
    match module.split('.').next()? {
        "sklearn" => Some(Framework::ScikitLearn),
        "xgboost" => Some(Framework::XGBoost),
        "lightgbm" => Some(Framework::LightGBM),
        package => RELATED.iter().any(|(related, _)| *related == package).then_some(Framework::ScikitLearn),
    }
}

/// XGBoost's and LightGBM's classes are scikit-learn's as well; what is not known may be, where the user says so.
fn also(framework: &Result<Framework, DetectError>) -> Vec<Framework> {
    match framework {
        Ok(Framework::XGBoost | Framework::LightGBM) | Err(_) => vec![Framework::ScikitLearn],
        Ok(_) => Vec::new(),
    }
}

fn packages(found: &Mentions) -> Vec<String> {
    let has = |package: &str| found.packages.contains(package);
    let mut packages = Vec::new();
    if has("sklearn") || found.imitates_sklearn {
        packages.extend(scikit_learn(found.sklearn.as_deref()));
    }
    if has("xgboost") {
        packages.extend(xgboost(found.xgboost.as_deref()));
    }
    if has("lightgbm") {
        packages.push("lightgbm".to_owned());
    }
    if found.frames {
        packages.push("pandas".to_owned());
    }
    packages.extend(RELATED.iter().filter(|(module, _)| has(module)).map(|(_, package)| (*package).to_owned()));
    packages
}

/// scikit-learn as recorded. Builds before 1.4.2 were made for numpy 1 and cannot be imported with numpy 2, which not
/// all of them say.
fn scikit_learn(version: Option<&str>) -> Vec<String> {
    let Some(version) = version else { return vec!["scikit-learn".to_owned()] };
    let mut packages = vec![format!("scikit-learn=={version}")];
    if is_before(version, [1, 4, 2]) {
        packages.push("numpy<2".to_owned());
    }
    packages
}

/// XGBoost as recorded: the build without CUDA where there is one.
pub(super) fn xgboost(version: Option<&str>) -> Vec<String> {
    match version {
        Some(version) if is_before(version, [2, 1, 0]) => vec![format!("xgboost=={version}"), "numpy<2".to_owned()],
        Some(version) => vec![format!("{}=={version}", crate::requirements::XGBOOST)],
        None => vec![crate::requirements::XGBOOST.to_owned()],
    }
}

fn is_before(version: &str, limit: [u64; 3]) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
    let parts: [u64; 3] = std::array::from_fn(|_| parts.next().unwrap_or(0));
    parts < limit
}

/// Sentences about what is needed besides and cannot be known.
fn notes(path: &Path, found: &Mentions) -> Vec<String> {
    let beside =
        |module: &str| path.with_file_name(module).is_dir() || path.with_file_name(format!("{module}.py")).is_file();
    let known = |module: &str| {
        PRESENT.contains(&module)
            || ["sklearn", "xgboost", "lightgbm", "pandas"].contains(&module)
            || RELATED.iter().any(|(related, _)| *related == module)
            || beside(module)
    };
    let unknown = found.packages.iter().filter(|module| !known(module));
    unknown
        .map(|module| {
            format!("it uses the module `{module}` too: if loading fails, name its package in the requirements")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_kept_from_numpy_2() {
        assert_eq!(scikit_learn(Some("1.3.2")), ["scikit-learn==1.3.2", "numpy<2"]);
        assert_eq!(scikit_learn(Some("1.4.2")), ["scikit-learn==1.4.2"]);
        assert_eq!(scikit_learn(Some("1.10.0")), ["scikit-learn==1.10.0"]);
        assert_eq!(scikit_learn(None), ["scikit-learn"]);
    }
}
