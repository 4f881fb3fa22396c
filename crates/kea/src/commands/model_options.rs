//! What can be said of a model and of how it is run: the options that `kea deploy` and `kea update` share.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf, absolute},
};

use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use kea_core::{
    Framework, VersionId,
    caching::CacheSettings,
    contract::WebProtocol,
    management::UpdateRequest,
    policy::PolicyName,
    quantity::{Cpu, Memory, Span},
    service::{Access, Amounts, Resources, ServerSettings},
    validation::{ResponseValidation, ValidationSettings},
};

use super::functions;
use crate::{client::ServerUrl, failure::Failure, model_server::protocol};

/// A model and how it is run.
#[derive(Debug, Args)]
pub(crate) struct ModelOptions {
    /// File or folder of the model, or a URL of it
    #[arg(long, value_name = "PATH|URL")]
    source: Option<String>,
    /// What made the model; found from its files where it is not given
    #[arg(long, value_parser = framework_parser(), ignore_case = true, hide_possible_values = true)]
    framework: Option<Framework>,
    /// Name of this version; the next whole number where it is not given
    #[arg(long)]
    version: Option<VersionId>,
    /// How many replicas serve it
    #[arg(long, value_name = "N")]
    replicas: Option<u32>,
    /// A Python package that the model needs, as pip writes it; can be repeated
    #[arg(long = "requirement", value_name = "PACKAGE")]
    requirements: Vec<String>,
    /// File that states what is known better of the model's functions than can be found in it: a list of them, or an MLModel
    #[arg(long, value_name = "FILE")]
    functions: Option<PathBuf>,
    /// An environment variable of the model's processes; can be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Command line of an existing web service, which listens on $PORT
    #[arg(long)]
    command: Option<String>,
    /// Let everybody call it and read its documentation, without a token
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    public: Option<bool>,
    /// A role whose holders alone may call it; can be repeated. Roles of single functions need documents
    #[arg(long = "role", value_name = "ROLE", conflicts_with = "public")]
    roles: Vec<PolicyName>,
    /// A label by which roles find it, in place of those it has; can be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Keep answers that long and give them to equal requests; 0 turns that off
    #[arg(long, value_name = "SPAN")]
    cache_ttl: Option<Span>,
    /// How long the gateway waits for an answer, as 5s or 300ms
    #[arg(long, value_name = "SPAN")]
    timeout: Option<Span>,
    /// What becomes of answers that do not fit the model's contract: `off`, `log`, or `enforce`, which answers 502
    #[arg(long, value_name = "WORD", value_parser = validation_parser())]
    validate_responses: Option<ResponseValidation>,
    /// Most memory of one replica, as 512Mi or 2Gi
    #[arg(long, value_name = "AMOUNT")]
    memory: Option<Memory>,
    /// CPUs of one replica, as 2 or 500m
    #[arg(long, value_name = "AMOUNT")]
    cpu: Option<Cpu>,
    /// Worker processes (Python) or sessions (ONNX) of one replica
    #[arg(long, value_name = "N")]
    workers: Option<u32>,
    /// Most rows that are run together; 1 turns batching off
    #[arg(long, value_name = "N")]
    max_batch_rows: Option<u32>,
    /// Most requests that wait in one replica before further ones are refused
    #[arg(long, value_name = "N")]
    queue_limit: Option<u32>,
    /// What an existing web service speaks: `http1`, or `http2` as servers of gRPC do
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
    protocol: Option<WebProtocol>,
}

impl ModelOptions {
    /// What was said, as the API takes it.
    pub(super) fn changes(self, server: &ServerUrl) -> Result<UpdateRequest, Failure> {
        let server_settings = ServerSettings {
            workers: self.workers,
            max_batch_rows: self.max_batch_rows,
            queue_limit: self.queue_limit,
            protocol: self.protocol,
        };
        let limits = Amounts { cpu: self.cpu, memory: self.memory };
        Ok(UpdateRequest {
            replicas: self.replicas,
            container_image: None,
            source_code: self.source.map(|source| source_for(server, &source, Path::new("."))).transpose()?,
            version: self.version,
            // A command is a web service whatever it is written with.
            framework: self.framework.or(self.command.as_ref().map(|_| Framework::Custom)),
            command: self.command.map(|line| vec!["sh".into(), "-c".into(), line]),
            requirements: Some(self.requirements).filter(|requirements| !requirements.is_empty()),
            functions: self.functions.as_deref().map(functions::of_file).transpose()?,
            env: Some(self.env.into_iter().collect::<BTreeMap<_, _>>()).filter(|env| !env.is_empty()),
            resources: given(limits).map(|limits| Resources { limits, ..Resources::default() }),
            cache: self.cache_ttl.map(cache),
            timeout: self.timeout,
            access: access(self.public, self.roles),
            labels: Some(self.labels.into_iter().collect::<BTreeMap<_, _>>()).filter(|labels| !labels.is_empty()),
            load_balancer: None,
            health: None,
            limits: None,
            rate_limit: None,
            server: given(server_settings),
            routes: None,
            canary: None,
            shadow: None,
            // Of documents: too much for an option.
            rollout: None,
            // Rules are for the security role: `PUT /logs/rules`, or the document.
            audit: None,
            validation: self.validate_responses.map(|responses| ValidationSettings { responses }),
            allow_breaking: None,
        })
    }
}

/// Who may call it, where that is said.
fn access(public: Option<bool>, roles: Vec<PolicyName>) -> Option<Access> {
    let is_said = public.is_some() || !roles.is_empty();
    is_said.then(|| Access { public: public.unwrap_or_default(), roles, ..Access::default() })
}

/// What differs from saying nothing.
fn given<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|value| *value != T::default())
}

fn cache(ttl: Span) -> CacheSettings {
    match ttl.0.is_zero() {
        true => CacheSettings::default(),
        false => CacheSettings { enabled: true, ttl: Some(ttl), ..CacheSettings::default() },
    }
}

/// A source as the server finds it: a path relative to `folder` becomes absolute where both see the same files.
pub(super) fn source_for(server: &ServerUrl, source: &str, folder: &Path) -> Result<String, Failure> {
    let is_url = source.contains("://") || source.starts_with("git+");
    if is_url || Path::new(source).is_absolute() {
        return Ok(source.into());
    }
    if !server.is_loopback() {
        return Err(Failure::Usage(format!(
            "`{source}` is a path of this machine, but {server} reads its own: give an absolute path as that server sees it, or a URL"
        )));
    }
    let path = absolute(folder.join(source))?;
    if !path.exists() {
        return Err(Failure::NoSource(path));
    }
    path.into_os_string().into_string().map_err(|path| Failure::NotText(path.into()))
}

pub(super) fn framework_parser() -> impl TypedValueParser<Value = Framework> {
    let names = Framework::ALL.map(|framework| PossibleValue::new(framework.as_str()).aliases(aliases(framework)));
    PossibleValuesParser::new(names).try_map(|name| {
        let named = |framework: &Framework| {
            let names = std::iter::once(framework.as_str()).chain(aliases(*framework).iter().copied());
            names.into_iter().any(|known| known.eq_ignore_ascii_case(&name))
        };
        Framework::ALL.into_iter().find(named).ok_or("no such framework")
    })
}

fn validation_parser() -> impl TypedValueParser<Value = ResponseValidation> {
    let named = |word: String| ResponseValidation::ALL.into_iter().find(|one| one.as_str() == word);
    let words = PossibleValuesParser::new(ResponseValidation::ALL.map(ResponseValidation::as_str));
    words.try_map(move |word| named(word).ok_or("no such word"))
}

/// What people also call it.
fn aliases(framework: Framework) -> &'static [&'static str] {
    match framework {
        Framework::ScikitLearn => &["sklearn", "scikit-learn"],
        Framework::PyTorch => &["torch"],
        Framework::TensorFlow => &["tf"],
        Framework::Custom | Framework::XGBoost | Framework::LightGBM | Framework::Onnx | Framework::Keras => &[],
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    variable(text).map_err(|_| "write NAME=VALUE, as team=risk".into())
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: ModelOptions,
    }

    fn changes(line: &[&str]) -> Value {
        let line = Line::try_parse_from(["kea"].iter().chain(line)).unwrap();
        serde_json::to_value(line.options.changes(&ServerUrl::default()).unwrap()).unwrap()
    }

    #[test]
    fn only_what_is_said_is_sent() {
        assert_eq!(changes(&[]), json!({}));
        assert_eq!(changes(&["--replicas", "3"]), json!({"replicas": 3}));
        assert_eq!(changes(&["--memory", "2Gi"])["resources"]["limits"], json!({"memory": "2Gi"}));
        assert_eq!(changes(&["--workers", "2"]), json!({"server": {"workers": 2}}));
        let enforced = changes(&["--validate-responses", "enforce"]);
        assert_eq!(enforced, json!({"validation": {"responses": "enforce"}}));
        assert!(Line::try_parse_from(["kea", "--validate-responses", "maybe"]).is_err());
    }

    #[test]
    fn frameworks_are_known_by_their_usual_names() {
        for (name, framework) in
            [("sklearn", "ScikitLearn"), ("onnx", "ONNX"), ("TORCH", "PyTorch"), ("Keras", "Keras")]
        {
            assert_eq!(changes(&["--framework", name]), json!({"framework": framework}), "{name}");
        }
        assert!(Line::try_parse_from(["kea", "--framework", "fortran"]).is_err());
    }

    #[test]
    fn switches_can_be_turned_off_again() {
        let access = |public, roles: &[&str]| json!({"access": {"public": public, "roles": roles, "functions": {}}});
        assert_eq!(changes(&["--public"]), access(true, &[]));
        assert_eq!(changes(&["--public=false"]), access(false, &[]));
        assert_eq!(changes(&["--role", "student", "--role", "teacher"]), access(false, &["student", "teacher"]));
        assert_eq!(changes(&["--label", "team=risk"]), json!({"labels": {"team": "risk"}}));
        assert_eq!(changes(&["--cache-ttl", "60s"])["cache"], json!({"enabled": true, "ttl": "60s", "shared": false}));
        assert_eq!(changes(&["--cache-ttl", "0"])["cache"]["enabled"], json!(false));
    }

    #[test]
    fn a_command_line_is_run_by_the_shell() {
        let sent = changes(&["--command", "exec uvicorn app:app --port $PORT", "--env", "A=b=c"]);
        assert_eq!(sent["command"], json!(["sh", "-c", "exec uvicorn app:app --port $PORT"]));
        assert_eq!((&sent["framework"], &sent["env"]), (&json!("Custom"), &json!({"A": "b=c"})));
    }

    #[test]
    fn a_path_is_made_absolute_for_this_machine_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("iris.onnx"), "").unwrap();
        let local = ServerUrl::default();
        let found = source_for(&local, "./iris.onnx", folder.path()).unwrap();
        assert_eq!(Path::new(&found), folder.path().join("iris.onnx"));
        assert!(matches!(source_for(&local, "./other.onnx", folder.path()), Err(Failure::NoSource(_))));

        let remote: ServerUrl = "https://kea.example".parse().unwrap();
        assert!(matches!(source_for(&remote, "./iris.onnx", folder.path()), Err(Failure::Usage(_))));
        for source in [
            "/models/iris.onnx",
            "s3://bucket/iris.onnx",
            "git+https://git.example/iris@main#folder",
            "hf://org/iris",
            "oci://registry.example/iris:1",
        ] {
            assert_eq!(source_for(&remote, source, folder.path()).unwrap(), source);
        }
    }
}
