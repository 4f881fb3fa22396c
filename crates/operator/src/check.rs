//! What a cluster can run of what is asked for: the same rules for the API, which answers at once, and for documents,
//! whose status tells. What Kubernetes would refuse later is refused here, with what to do.

use std::collections::BTreeMap;

use kea_core::{
    VersionId, change,
    port::DeployError,
    service::{Canary, ModelSpec},
};

use crate::version::ModelRecord;

/// How a model's fields are called where it is asked for.
pub(crate) struct Words {
    pub(crate) source: &'static str,
    pub(crate) image: &'static str,
}

/// The fields of a request of the API.
pub(crate) const API: Words = Words { source: "sourceCode", image: "containerImage" };

/// The fields of an MLModel.
pub(crate) const DOCUMENT: Words = Words { source: "source", image: "image" };

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// JSON pointer to the field.
    pub(crate) pointer: String,
    /// What is wrong and what to do.
    pub(crate) detail: String,
}

impl Fault {
    fn of(field: &str, detail: impl Into<String>) -> Self {
        Self { pointer: format!("/{field}"), detail: detail.into() }
    }
}

impl From<Fault> for DeployError {
    fn from(Fault { pointer, detail }: Fault) -> Self {
        change::invalid(&pointer, detail)
    }
}

/// A Service's name is a label of RFC 1035, which begins with a letter; other objects have it with something behind it.
pub(crate) fn service_name(field: &str, name: &str) -> Result<(), Fault> {
    if name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Ok(());
    }
    let detail = format!(
        "the service would be called `{name}`, but in a cluster its name begins with a letter, as that of a Service of \
         Kubernetes: give another name, for example `model-{name}`"
    );
    Err(Fault::of(field, detail))
}

/// Objects and pods have their version as a label, whose value ends with a letter or digit.
pub(crate) fn version(field: &str, version: &VersionId) -> Result<(), Fault> {
    let text = version.as_str();
    if text.ends_with(|last: char| last.is_ascii_alphanumeric()) {
        return Ok(());
    }
    let plain = text.trim_end_matches(['.', '_', '-']);
    let detail = format!(
        "version `{text}` cannot be a label of Kubernetes, which ends with a letter or digit: name it for example \
         `{plain}`"
    );
    Err(Fault::of(field, detail))
}

/// All versions that are named.
pub(crate) fn versions(named: Option<&VersionId>, canary: Option<&Canary>) -> Result<(), Fault> {
    named.map_or(Ok(()), |named| version("version", named))?;
    canary.map_or(Ok(()), |canary| version("canary/version", &canary.version))
}

/// Variables have the names that Kubernetes takes since long ago: it took `=` alone for wrong only later.
pub(crate) fn env(env: Option<&BTreeMap<String, String>>) -> Result<(), Fault> {
    let fits = |name: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let is_word = name.bytes().all(inner) && !name.starts_with(|first: char| first.is_ascii_digit());
        is_word && !name.is_empty() && name != "." && !name.starts_with("..")
    };
    let wrong = env.into_iter().flatten().map(|(name, _)| name).find(|name| !fits(name));
    wrong.map_or(Ok(()), |name| {
        let detail = format!(
            "`{name}` is no name of a variable that Kubernetes takes: use letters, digits, `_`, `-` and `.`, and begin \
             with none of the digits"
        );
        Err(Fault::of("env", detail))
    })
}

/// A cluster reads URLs and images, never a path of somebody's machine.
pub(crate) fn model(model: &ModelRecord, words: &Words) -> Result<(), Fault> {
    let Words { source: source_field, image: image_field } = words;
    let source = match (&model.source, &model.image) {
        (None, None) => {
            let detail = format!(
                "neither `{source_field}`, the URL of a model, nor `{image_field}`, an image that serves it, is given: \
                 give one of them"
            );
            return Err(Fault::of(source_field, detail));
        }
        (Some(_), Some(_)) => {
            let detail = format!("`{source_field}` and `{image_field}` exclude each other: keep one");
            return Err(Fault::of(image_field, detail));
        }
        (None, Some(_)) => return Ok(()),
        (Some(source), None) => source,
    };
    if is_path(source) {
        let detail = format!(
            "`{source_field}: {source}` is a path, which a cluster cannot read: give a URL (`s3://…`, `https://…`, \
             `git+https://…`, `oci://…`), or build the image with `kea build` and name it as `{image_field}`"
        );
        return Err(Fault::of(source_field, detail));
    }
    let spec = ModelSpec {
        source: Some(source.clone()),
        framework: model.framework,
        requirements: model.requirements.clone(),
        command: model.command.clone(),
        env: BTreeMap::new(),
        resources: Default::default(),
    };
    kea_containerizer::check(&spec).map_err(|error| Fault::of(source_field, error.to_string()))
}

fn is_path(source: &str) -> bool {
    let scheme = source.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_none_or(|scheme| scheme == "file" || scheme == "git+file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(found: Result<(), Fault>) -> String {
        found.map_or_else(|Fault { pointer, detail }| format!("{pointer}: {detail}"), |()| "taken".into())
    }

    fn source(text: &str) -> String {
        told(model(&ModelRecord { source: Some(text.into()), ..ModelRecord::default() }, &API))
    }

    #[test]
    fn a_model_is_a_url_or_an_image() {
        assert_eq!(source("s3://models/iris.onnx"), "taken");
        let image = ModelRecord { image: Some("r/iris:1".into()), ..ModelRecord::default() };
        assert_eq!(told(model(&image, &API)), "taken");
        let both = ModelRecord { source: Some("s3://m/x".into()), ..image };
        assert_eq!(told(model(&both, &DOCUMENT)), "/image: `source` and `image` exclude each other: keep one");
        let neither = told(model(&ModelRecord::default(), &API));
        assert!(neither.starts_with("/sourceCode: neither `sourceCode`") && neither.contains("`containerImage`"));
    }

    #[test]
    fn a_path_is_refused_and_so_is_a_source_of_no_known_kind() {
        for path in ["./iris.joblib", "/models/iris", "file:///models/iris", "git+file:///models", "models"] {
            let told = source(path);
            assert!(told.starts_with("/sourceCode: ") && told.contains("is a path, which a cluster"), "{told}");
        }
        assert!(source("ftp://host/iris.onnx").contains("`ftp:` sources are not known"));
    }

    #[test]
    fn services_begin_with_a_letter() {
        assert_eq!(told(service_name("serviceId", "iris-2")), "taken");
        let refused = told(service_name("modelName", "9iris"));
        assert!(refused.starts_with("/modelName: ") && refused.contains("`model-9iris`"), "{refused}");
    }

    #[test]
    fn versions_end_with_a_letter_or_digit() {
        for good in ["1", "2.1.0", "v2_a-b"] {
            assert_eq!(told(version("version", &good.parse().unwrap())), "taken");
        }
        for bad in ["1.", "2_", "3-", "4.-"] {
            let canary = Canary { version: bad.parse().unwrap(), weight: 1 };
            let refused = told(versions(None, Some(&canary)));
            let plain = &bad[..1];
            assert!(refused.starts_with("/canary/version: ") && refused.ends_with(&format!("`{plain}`")), "{refused}");
        }
    }

    #[test]
    fn variables_have_names_that_kubernetes_takes() {
        let of = |name: &str| told(env(Some(&BTreeMap::from([(name.to_string(), String::new())]))));
        for good in ["LOG", "_a", "a.b-c"] {
            assert_eq!(of(good), "taken");
        }
        for bad in ["", "9", "a=b", "a b", ".", "..a", "é"] {
            assert!(of(bad).starts_with("/env: "), "{bad}");
        }
    }
}
