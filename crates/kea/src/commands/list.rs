//! `kea list`.

use kea_core::management::ServiceInfo;

use super::Session;
use crate::{failure::Failure, output::table};

/// Lists the services.
pub(crate) async fn run(session: &Session) -> Result<(), Failure> {
    let answer = session.client.get(&["services"], &[]).await?;
    session.output.answer(&answer, |services: &Vec<ServiceInfo>| match services.is_empty() {
        true => "there are no services yet: deploy one with `kea deploy NAME --source PATH`".into(),
        false => table(&["NAME", "MODEL", "VERSION", "STATUS", "READY"], services.iter().map(row)),
    })
}

fn row(service: &ServiceInfo) -> Vec<String> {
    vec![
        service.service_id.to_string(),
        service.model_name.clone(),
        service.version.to_string(),
        service.status.as_str().into(),
        format!("{}/{}", service.ready_replicas, service.replicas),
    ]
}
