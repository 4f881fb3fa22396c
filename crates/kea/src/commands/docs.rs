//! `kea docs`.

use clap::{Args, ValueEnum};
use kea_core::{ServiceId, VersionId};

use super::Session;
use crate::{failure::Failure, output::pretty};

/// Which document, and how it is written.
#[derive(Debug, Args)]
pub(crate) struct DocsArgs {
    /// The service
    name: ServiceId,
    /// A version other than the live one
    #[arg(long)]
    version: Option<VersionId>,
    /// How the document is written
    #[arg(long, value_enum, default_value = "json")]
    format: DocumentFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DocumentFormat {
    Json,
    Yaml,
}

/// Prints the OpenAPI document of a service.
pub(crate) async fn run(session: &Session, args: &DocsArgs) -> Result<(), Failure> {
    let query: Vec<_> = args.version.iter().map(|version| ("version", version.as_str())).collect();
    let answer = session.client.get(&["openapi", args.name.as_str()], &query).await?;
    match args.format {
        DocumentFormat::Json => session.output.line(&pretty(answer.text())),
        DocumentFormat::Yaml => session.output.line(&yaml(&answer.read()?)),
    }
}

/// The document with its members in the order that the server gave them.
fn yaml(document: &serde_yaml_ng::Value) -> String {
    serde_yaml_ng::to_string(document).expect("what JSON can say, YAML can say too")
}

#[cfg(test)]
mod tests {
    #[test]
    fn yaml_keeps_the_order_and_the_types() {
        let document =
            serde_json::from_str(r#"{"openapi":"3.0.3","info":{"version":"1","x":1.5},"a":[true]}"#).unwrap();
        assert_eq!(super::yaml(&document), "openapi: 3.0.3\ninfo:\n  version: '1'\n  x: 1.5\na:\n- true\n");
    }
}
