//! The document of a model on this machine: of its source or its file, neither imported nor run.

use std::path::Path;

use kea_core::{ServiceId, VersionId, management::BASE_PATH};
use kea_openapi::{
    describe::{self, DescribeError},
    document::{DocumentInfo, service_document},
};
use serde_json::Value;

use crate::{client::ServerUrl, failure::Failure};

/// The service's name where that of the file cannot be one.
const UNNAMED: &str = "model";

/// The OpenAPI document that the model at `path` would have as the service `name`.
pub(super) fn document(path: &Path, name: Option<&ServiceId>, version: Option<&VersionId>) -> Result<Value, Failure> {
    if !path.exists() {
        return Err(Failure::NoSource(path.to_owned()));
    }
    let service = name.cloned().unwrap_or_else(|| named_after(path));
    let contract = describe::describe(path).map_err(|error| told(error, path, &service))?;
    let version = version.cloned().unwrap_or_else(VersionId::first);
    let info = DocumentInfo {
        service: &service,
        model_name: service.as_str(),
        version: &version,
        base_path: BASE_PATH,
        public: false,
        server: &ServerUrl::default().to_string(),
        is_pinned: false,
    };
    Ok(service_document(&info, Some(&contract)))
}

/// The name of the file or folder as a service's. Files that are called `model.py` or the like say less than their folder.
fn named_after(path: &Path) -> ServiceId {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let own = stem(&whole);
    let general = whole.is_file() && ["model", "app", "main", "service", "server"].contains(&own.as_str());
    let outer = whole.parent().map(stem).filter(|_| general);
    let derived = outer.into_iter().chain([own]).find_map(|name| ServiceId::derive(&name).ok());
    derived.unwrap_or_else(|| UNNAMED.parse().expect("it is a DNS label"))
}

fn told(error: DescribeError, path: &Path, service: &ServiceId) -> Failure {
    match error {
        DescribeError::NeedsRunning => Failure::NeedsRunning { path: path.to_owned(), service: service.clone() },
        error => Failure::Describe(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(file: &str, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(named_after(&path).as_str(), expected);
    }

    #[test]
    fn a_service_is_named_after_its_file_or_folder() {
        check("house_prices.py", "house-prices");
        check("loans/model.py", "loans");
        check("Loans 2/app.py", "loans-2");
        check("loans/iris.v2.onnx", "iris-v2");
        check("loans/__.py", "model");
    }

    #[test]
    fn a_model_that_has_to_be_loaded_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("iris.joblib");
        fs::write(&path, "\u{80}").unwrap();
        let failure = document(&path, None, None).unwrap_err().to_string();
        assert!(failure.contains("`kea deploy iris --source "), "{failure}");
        assert!(failure.ends_with("then run `kea docs iris`"), "{failure}");
    }
}
