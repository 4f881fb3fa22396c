//! What a cluster can run of what is asked for: the same rules for the API, which answers at once, and for documents,
//! whose status tells. What Kubernetes would refuse later is refused here, with what to do.

use std::collections::BTreeMap;

use kea_core::{
    VersionId, change,
    port::DeployError,
    service::{Canary, ModelSpec, Resources},
    shadow::Shadow,
    stated,
};

use crate::{objects::BUILD_SETTINGS, version::ModelRecord};

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

/// The version that is to be a shadow.
pub(crate) fn shadow(shadow: Option<&Shadow>) -> Result<(), Fault> {
    shadow.map_or(Ok(()), |shadow| version("shadow/version", &shadow.version))
}

/// Variables have the names that every Kubernetes takes; newer ones take more.
pub(crate) fn env(env: Option<&BTreeMap<String, String>>) -> Result<(), Fault> {
    let wrong = env.into_iter().flatten().map(|(name, _)| name).find(|name| !is_env_name(name));
    wrong.map_or(Ok(()), |name| {
        let detail = format!(
            "`{name}` is no name of a variable that Kubernetes takes: use letters, digits, `_`, `-` and `.`, and begin \
             with none of the digits"
        );
        Err(Fault::of("env", detail))
    })
}

fn is_env_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_word = name.bytes().all(inner) && !name.starts_with(|first: char| first.is_ascii_digit());
    is_word && !name.is_empty() && name != "." && !name.starts_with("..")
}

/// A cluster runs an image that is given, or builds one from a URL.
pub(crate) fn model(model: &ModelRecord, words: &Words) -> Result<(), Fault> {
    let Words { source: source_field, image: image_field } = words;
    if !model.functions.is_empty() && !model.command.is_empty() {
        return Err(Fault::of("functions", stated::OF_A_WEB_SERVICE));
    }
    stated::check(&model.functions).map_err(|(pointer, detail)| {
        let detail = format!("`{pointer}`: {detail}");
        Fault { pointer, detail }
    })?;
    match (&model.source, &model.image) {
        (Some(source), None) => to_build(source, model, words),
        (None, Some(_)) => Ok(()),
        (Some(_), Some(_)) => {
            let detail = format!("`{source_field}` and `{image_field}` exclude each other: keep one");
            Err(Fault::of(image_field, detail))
        }
        (None, None) => {
            let detail = format!(
                "neither `{source_field}`, the URL of a model, nor `{image_field}`, an image that serves it, is given: \
                 give one of them"
            );
            Err(Fault::of(source_field, detail))
        }
    }
}

/// What a build can read: a URL without secrets in it, never a path of somebody's machine.
fn to_build(source: &str, model: &ModelRecord, words: &Words) -> Result<(), Fault> {
    let Words { source: source_field, image: image_field } = words;
    if [source].into_iter().chain(model.requirements.iter().map(String::as_str)).any(has_login) {
        let detail = format!(
            "`{source_field}` or `requirements` hold a login, which all who may read the cluster's objects would see: \
             keep it as a key of the Secret `{BUILD_SETTINGS}` in the service's namespace, and write the key in its \
             place, as in `git+https://$(GIT_TOKEN)@host/repository`"
        );
        return Err(Fault::of(source_field, detail));
    }
    if is_path(source) {
        let detail = format!(
            "`{source_field}: {source}` is a path, which a cluster cannot read: give a URL (`s3://…`, `https://…`, \
             `git+https://…`, `oci://…`), or build the image with `kea build` and name it as `{image_field}`"
        );
        return Err(Fault::of(source_field, detail));
    }
    let spec = ModelSpec {
        source: Some(source.into()),
        framework: model.framework,
        requirements: model.requirements.clone(),
        command: model.command.clone(),
        functions: Vec::new(),
        env: BTreeMap::new(),
        resources: Resources::default(),
    };
    kea_containerizer::check(&spec).map_err(|error| Fault::of(source_field, error.to_string()))
}

fn is_path(source: &str) -> bool {
    let scheme = source.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_none_or(|scheme| scheme == "file" || scheme == "git+file")
}

/// Whether a text has a URL with a login in it that is none of a build's variables. The user's name alone is a login,
/// too, since hosts take a token in its place; ssh has a key besides.
fn has_login(text: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || "/?#'\"<>`".contains(c);
    let mut urls = text.split("://");
    let mut before = urls.next().unwrap_or_default();
    urls.any(|after| {
        let is_ssh = std::mem::replace(&mut before, after).ends_with("ssh");
        let authority = after.split(ends).next().unwrap_or_default();
        let Some((login, _host)) = authority.rsplit_once('@') else { return false };
        match login.split_once(':') {
            Some((_user, password)) => !is_variable(password),
            None => !is_ssh && !is_variable(login),
        }
    })
}

/// Whether a text is `$(NAME)`, in whose place Kubernetes puts the variable.
fn is_variable(text: &str) -> bool {
    let name = text.strip_prefix("$(").and_then(|text| text.strip_suffix(')'));
    name.is_some_and(is_env_name)
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
    fn a_login_stands_in_a_secret_and_never_in_a_document() {
        for plain in [
            "https://me:secret@host/m.onnx",
            "git+https://secret@host/m.git@main",
            "https://secret:@host/m.onnx",
            "https://$(USER):secret@host/m.onnx",
            "https://$(USER)secret@host/m.onnx",
            "git+ssh://git:secret@host/m.git",
        ] {
            let told = source(plain);
            assert!(told.contains("hold a login") && told.contains("Secret `kea-build`"), "{plain}: {told}");
            assert!(!told.contains("secret@"), "{told}");
        }
        for good in [
            "git+https://$(GIT_TOKEN)@host/m.git@main#folder",
            "https://me:$(TOKEN)@host/m.onnx",
            "git+ssh://git@host/m.git@main",
            "hf://organisation/name@revision",
            "https://host/m@2.onnx",
        ] {
            assert_eq!(source(good), "taken", "{good}");
        }
        let packages = |line: &str| ModelRecord {
            source: Some("s3://m/x".into()),
            requirements: vec!["numpy".into(), line.into()],
            ..ModelRecord::default()
        };
        assert!(told(model(&packages("x @ git+https://secret@host/x.git"), &API)).contains("hold a login"));
        assert_eq!(told(model(&packages("x @ git+https://$(GIT_TOKEN)@host/x.git"), &API)), "taken");
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
