//! `kea client`.

use clap::{Args, ValueEnum};
use kea_core::{ServiceId, VersionId};
use kea_openapi::client;
use serde_json::Value;

use super::Session;
use crate::failure::Failure;

/// Which client.
#[derive(Debug, Args)]
pub(crate) struct ModuleArgs {
    /// The service
    name: ServiceId,
    /// The language
    #[arg(long, value_enum, default_value = "python")]
    lang: Language,
    /// The version that is called, always; without it, the one that is live then
    #[arg(long)]
    version: Option<VersionId>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Language {
    Python,
}

/// Prints a typed client of a service.
pub(crate) async fn run(session: &Session, args: &ModuleArgs) -> Result<(), Failure> {
    let ModuleArgs { name, lang: Language::Python, version } = args;
    let query: Vec<_> = version.iter().map(|version| ("version", version.as_str())).collect();
    let document: Value = session.client.get(&["openapi", name.as_str()], &query).await?.read()?;
    let server = session.client.server().to_string();
    let module = client::python(&document, name.as_str(), &server, version.as_ref().map(VersionId::as_str));
    session.output.line(module.trim_end())
}
