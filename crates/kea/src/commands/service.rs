//! `kea get`, and how a service is shown wherever a command ends with one.

use clap::Args;
use kea_core::{
    Engine, ServiceId,
    management::{ServiceDetails, Status},
};

use super::{Session, or_dash, time};
use crate::{client::service_path, failure::Failure, output::pairs};

/// Which service.
#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// The service
    pub(super) name: ServiceId,
}

/// Shows a service.
pub(crate) async fn run(session: &Session, args: &ServiceArgs) -> Result<(), Failure> {
    let answer = session.client.get(&service_path(&args.name), &[]).await?;
    session.output.answer(&answer, |details: &ServiceDetails| describe(details, session))
}

fn describe(details: &ServiceDetails, session: &Session) -> String {
    let mut lines = vec![
        ("Service", details.service_id.to_string()),
        ("Model", details.model_name.clone()),
        ("Status", details.status.as_str().into()),
        ("Version", version(details)),
        ("Framework", or_dash(details.framework)),
        ("Engine", or_dash(details.engine.map(engine))),
        ("Replicas", format!("{} of {} ready", details.ready_replicas, details.replicas)),
        ("API", absolute(&details.url, session)),
        ("Docs", docs_page(&details.service_id, session)),
        ("Address", address(details)),
        ("Settings", settings(details)),
        ("Deployed", time(details.created_at)),
        ("Changed", time(details.updated_at)),
    ];
    if let Some(image) = &details.image {
        lines.insert(6, ("Image", image.clone()));
    }
    if let Some(reason) = &details.reason {
        lines.insert(3, ("Reason", reason.clone()));
    }
    pairs(lines)
}

/// One sentence: whether a service answers, and if not, why.
pub(super) fn sentence(details: &ServiceDetails) -> String {
    let ServiceDetails { service_id, ready_replicas, replicas, status, .. } = details;
    let because = details.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match status {
        Status::Deployed => {
            let version = version(details);
            format!("{service_id} is deployed: version {version}, {ready_replicas} of {replicas} replicas ready")
        }
        Status::Deploying => format!("{service_id} is not ready yet{because}"),
        Status::Updating => format!("{service_id} answers while it is changed{because}"),
        Status::Failed if *ready_replicas > 0 => format!("{service_id} answers, but not as it was asked to{because}"),
        Status::Failed => format!("{service_id} has failed{because}"),
        Status::Terminating => format!("{service_id} is being deleted{because}"),
    }
}

/// The page that documents a service.
pub(super) fn docs_page(service: &ServiceId, session: &Session) -> String {
    session.client.server().join(["docs", service.as_str()].into_iter(), &[]).to_string()
}

/// The URL of a service as it can be called from here: an answer may name the path alone.
pub(super) fn absolute(url: &str, session: &Session) -> String {
    if url.contains("://") { url.into() } else { format!("{}{url}", session.client.server()) }
}

fn version(details: &ServiceDetails) -> String {
    let version = match &details.live_version {
        Some(live) if *live == details.version => live.to_string(),
        Some(live) => format!("{live}, to be replaced by {}", details.version),
        None => details.version.to_string(),
    };
    match (&details.canary, &details.shadow) {
        (_, Some(shadow)) => {
            format!("{version}, with shadow {} for {} % of the requests", shadow.version, shadow.percent)
        }
        (Some(canary), None) => {
            format!("{version}, with canary {} for {} % of the requests", canary.version, canary.weight)
        }
        (None, None) => version,
    }
}

fn engine(engine: Engine) -> &'static str {
    match engine {
        Engine::Python => "python",
        Engine::Onnx => "onnx",
        Engine::External => "external",
    }
}

fn address(details: &ServiceDetails) -> String {
    let service = &details.kubernetes_service;
    let ports: Vec<_> = service.ports.iter().map(u16::to_string).collect();
    format!(
        "{} {} ports {}",
        service.name,
        service.cluster_ip,
        if ports.is_empty() { "-".into() } else { ports.join(", ") }
    )
}

fn settings(details: &ServiceDetails) -> String {
    let settings = &details.settings;
    let cache = match (settings.cache.enabled, settings.cache.ttl) {
        (false, _) => "no cache".into(),
        (true, Some(ttl)) => format!("cache {ttl}"),
        (true, None) => "cache".into(),
    };
    let access = if settings.access.public { "public" } else { "token needed" };
    let timeout = settings.timeout.map(|timeout| format!(", timeout {timeout}")).unwrap_or_default();
    format!("{access}, {cache}{timeout}")
}
