//! `kea versions`.

use kea_core::management::VersionInfo;

use super::{Session, or_dash, service::ServiceArgs, time};
use crate::{failure::Failure, output::table};

/// Lists the versions of a service.
pub(crate) async fn run(session: &Session, args: &ServiceArgs) -> Result<(), Failure> {
    let answer = session.client.get(&["services", args.name.as_str(), "versions"], &[]).await?;
    session.output.answer(&answer, |versions: &Vec<VersionInfo>| {
        table(&["VERSION", "LIVE", "FRAMEWORK", "DEPLOYED", "SOURCE", "IMAGE"], versions.iter().map(row))
    })
}

fn row(version: &VersionInfo) -> Vec<String> {
    vec![
        version.version.to_string(),
        if version.live { "yes" } else { "no" }.into(),
        or_dash(version.framework),
        time(version.created_at),
        or_dash(version.source.as_ref()),
        or_dash(version.image.as_ref()),
    ]
}
