//! `kea cache`.

use clap::{Args, Subcommand};
use kea_core::ServiceId;
use serde_json::json;

use super::Session;
use crate::failure::Failure;

/// What is to be done with kept answers.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Remove them, so that the model answers again
    Clear(ClearArgs),
}

/// Which answers are to go.
#[derive(Debug, Args)]
pub(crate) struct ClearArgs {
    /// The service
    name: ServiceId,
    /// Those of this function alone
    #[arg(long)]
    function: Option<String>,
}

/// Runs one of the commands.
pub(crate) async fn run(session: &Session, command: &CacheCommand) -> Result<(), Failure> {
    match command {
        CacheCommand::Clear(args) => clear(session, args).await,
    }
}

async fn clear(session: &Session, ClearArgs { name, function }: &ClearArgs) -> Result<(), Failure> {
    let mut query = vec![("serviceId", name.as_str())];
    query.extend(function.iter().map(|function| ("function", function.as_str())));
    session.client.delete(&["router", "cache"], &query).await?;
    let what = function.as_ref().map_or_else(|| name.to_string(), |function| format!("{name}/{function}"));
    let result = json!({"serviceId": name, "function": function, "status": "cleared"});
    session.output.result(&result, &format!("the kept answers of {what} are removed"))
}
