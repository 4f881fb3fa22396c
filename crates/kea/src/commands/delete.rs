//! `kea delete`.

use clap::Args;
use kea_core::{ServiceId, management::Status};
use serde_json::json;

use super::{Session, wait};
use crate::{client::service_path, failure::Failure};

/// What is to go.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The service
    name: ServiceId,
    /// Return at once, while its replicas finish what they have
    #[arg(long)]
    no_wait: bool,
}

/// Deletes a service and waits until it is gone.
pub(crate) async fn run(session: &Session, args: &DeleteArgs) -> Result<(), Failure> {
    let name = &args.name;
    session.client.delete(&service_path(name), &[]).await?;
    if args.no_wait {
        let result = json!({"serviceId": name, "status": Status::Terminating.as_str()});
        return session.output.result(&result, &format!("{name} is being deleted"));
    }
    wait::until_gone(&session.client, name).await?;
    session.output.result(&json!({"serviceId": name, "status": "deleted"}), &format!("{name} is deleted"))
}
