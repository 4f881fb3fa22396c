//! `kea docs`.

mod local;

use std::{convert::Infallible, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use kea_core::{ServiceId, VersionId};
use kea_openapi::markdown;
use serde_json::Value;

use super::Session;
use crate::{
    failure::Failure,
    output::{Output, pretty},
    progress::note,
};

/// Which document, and how it is written.
#[derive(Debug, Args)]
pub(crate) struct DocsArgs {
    /// A service, or a `.py` file, folder or model file, which is read and never run (write `./iris` for a folder)
    #[arg(value_name = "SERVICE|PATH")]
    subject: Subject,
    /// A version other than the live one; for a path, the version to write
    #[arg(long)]
    version: Option<VersionId>,
    /// For a path, the service's name to write [default: that of the file or folder]
    #[arg(long)]
    name: Option<ServiceId>,
    /// How the document is written
    #[arg(long, value_enum, default_value = "json")]
    format: DocumentFormat,
    /// Fail where something could not be found out, with each reason on standard error
    #[arg(long)]
    check: bool,
}

/// What is documented.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    /// A service of a running KEA.
    Service(ServiceId),
    /// A model on this machine.
    Path(PathBuf),
}

impl FromStr for Subject {
    type Err = Infallible;

    /// What can be a service's name is one, whatever files there are: a line means the same in every folder.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_not_a_name| Self::Path(text.into()), Self::Service))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DocumentFormat {
    Json,
    Yaml,
    Markdown,
}

/// Prints the OpenAPI document of a service, or of a model that is not deployed yet.
pub(crate) async fn run(
    output: Output,
    open: impl FnOnce() -> Result<Session, Failure>,
    args: &DocsArgs,
) -> Result<(), Failure> {
    let json = match &args.subject {
        Subject::Path(path) => local::document(path, args.name.as_ref(), args.version.as_ref())?.to_string(),
        Subject::Service(_) if args.name.is_some() => {
            return Err(Failure::Usage("--name is for paths: a service has its name already".into()));
        }
        Subject::Service(service) => asked(&open()?, service, args.version.as_ref()).await?,
    };
    output.line(&written(&json, args.format)?)?;
    if args.check { checked(&json) } else { Ok(()) }
}

async fn asked(session: &Session, service: &ServiceId, version: Option<&VersionId>) -> Result<String, Failure> {
    let query: Vec<_> = version.iter().map(|version| ("version", version.as_str())).collect();
    let answer = session.client.get(&["openapi", service.as_str()], &query).await.map_err(|failure| {
        let is_path = failure.is_not_found() && PathBuf::from(service.as_str()).exists();
        if is_path { Failure::PathMeant(service.clone()) } else { failure }
    })?;
    Ok(answer.text().to_owned())
}

fn written(json: &str, format: DocumentFormat) -> Result<String, Failure> {
    let read = || serde_json::from_str(json).map_err(Failure::Unreadable);
    Ok(match format {
        DocumentFormat::Json => pretty(json),
        DocumentFormat::Yaml => yaml(serde_json::from_str(json).map_err(Failure::Unreadable)?),
        DocumentFormat::Markdown => markdown::of_document(&read()?),
    })
}

/// The document with its members in the order that the server gave them.
fn yaml(document: serde_yaml_ng::Value) -> String {
    crate::yaml::write(document).expect("what JSON can say, YAML can say too")
}

/// Whether all was found out; what was not is told.
fn checked(json: &str) -> Result<(), Failure> {
    let document: Value = serde_json::from_str(json).map_err(Failure::Unreadable)?;
    let reasons = document["info"]["x-kea-incomplete"].as_array().cloned().unwrap_or_default();
    let reasons: Vec<&str> = reasons.iter().filter_map(Value::as_str).collect();
    reasons.iter().for_each(|reason| note(&format!("incomplete: {reason}")));
    if reasons.is_empty() { Ok(()) } else { Err(Failure::Incomplete(reasons.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_keeps_the_order_and_the_types() {
        let document =
            serde_json::from_str(r#"{"openapi":"3.0.3","info":{"version":"1","x":1.5},"a":[true]}"#).unwrap();
        assert_eq!(yaml(document), "openapi: 3.0.3\ninfo:\n  version: '1'\n  x: 1.5\na:\n- true\n");
    }

    #[test]
    fn what_can_be_a_service_is_one_and_anything_else_is_a_path() {
        let subject = |text: &str| text.parse::<Subject>().unwrap();
        assert_eq!(subject("iris"), Subject::Service("iris".parse().unwrap()));
        for path in ["model.py", "./iris", "models/iris", "/srv/iris", "Iris", "."] {
            assert_eq!(subject(path), Subject::Path(path.into()));
        }
    }

    #[test]
    fn a_check_fails_where_something_is_not_known() {
        assert!(checked(r#"{"info":{}}"#).is_ok());
        let failed = checked(r#"{"info":{"x-kea-incomplete":["`a`: why","`b`: why"]}}"#);
        assert!(matches!(failed, Err(Failure::Incomplete(2))), "{failed:?}");
    }
}
