//! `kea update`, `kea scale` and `kea rollback`.

use clap::Args;
use kea_core::{
    ServiceId,
    management::{ServiceDetails, UpdateRequest, UpdateResponse},
    name::NameError,
    service::{Access, Canary},
    shadow::Shadow,
};

use super::{Session, deploy::wait_for_change, model_options::ModelOptions};
use crate::{
    client::{Answer, service_path},
    failure::Failure,
};

/// What is changed.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The service
    name: ServiceId,
    #[command(flatten)]
    options: ModelOptions,
    /// Give that version a share of the requests beside the live one, in percent. `--version` without it ends
    /// that
    #[arg(long, value_name = "VERSION=PERCENT", value_parser = canary)]
    canary: Option<Canary>,
    /// Send that version copies of the requests, or of a share of them, beside the live one, and compare what it
    /// answers. `--version` without it ends that
    #[arg(long, value_name = "VERSION[=PERCENT]", value_parser = shadow, conflicts_with = "canary")]
    shadow: Option<Shadow>,
    /// Let the version that is named, or else the one that was held back, answer although it would break callers
    #[arg(long)]
    allow_breaking: bool,
    /// Return at once, while it is changed
    #[arg(long)]
    no_wait: bool,
}

/// How many replicas there are to be.
#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// The service
    name: ServiceId,
    /// How many replicas serve it
    replicas: u32,
    /// Return at once, while replicas start or stop
    #[arg(long)]
    no_wait: bool,
}

/// What is returned to its version before.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The service
    name: ServiceId,
    /// Return at once, while that version starts
    #[arg(long)]
    no_wait: bool,
}

/// Changes what is named, and waits until that answers.
pub(crate) async fn update(session: &Session, args: UpdateArgs) -> Result<(), Failure> {
    let UpdateArgs { canary, shadow, allow_breaking, .. } = args;
    let allow_breaking = allow_breaking.then_some(true);
    let changes = UpdateRequest { canary, shadow, allow_breaking, ..args.options.changes(session.client.server())? };
    if changes == UpdateRequest::default() {
        let hint = "there is nothing to change: name it, for example with --source or --replicas";
        return Err(Failure::Usage(hint.into()));
    }
    let access = kept_access(session, &args.name, changes.access.clone()).await?;
    put(session, &args.name, &UpdateRequest { access, ..changes }, args.no_wait).await
}

/// A change of access replaces all of it: what options cannot say of it, or do not say, stays as it is.
pub(super) async fn kept_access(
    session: &Session,
    name: &ServiceId,
    asked: Option<Access>,
) -> Result<Option<Access>, Failure> {
    let Some(mut access) = asked else { return Ok(None) };
    let before = match session.client.get(&service_path(name), &[]).await {
        Ok(answer) => answer.read::<ServiceDetails>()?.settings.access,
        Err(failure) if failure.is_not_found() => return Ok(Some(access)),
        Err(failure) => return Err(failure),
    };
    access.functions = before.functions;
    if !access.public && access.roles.is_empty() {
        access.roles = before.roles;
    }
    Ok(Some(access))
}

fn canary(text: &str) -> Result<Canary, String> {
    let expected = || format!("`{text}` is not a version and its share, as `2=10` for 10 percent");
    let (version, weight) = text.split_once('=').ok_or_else(expected)?;
    let weight = weight.trim_end_matches('%').parse().ok().filter(|weight| *weight <= 100).ok_or_else(expected)?;
    Ok(Canary { version: version.parse().map_err(|error: NameError| error.to_string())?, weight })
}

fn shadow(text: &str) -> Result<Shadow, String> {
    let (version, percent) = text.split_once('=').map_or((text, None), |(version, percent)| (version, Some(percent)));
    let share =
        |percent: &str| percent.trim_end_matches('%').parse().ok().filter(|percent| (1..=100).contains(percent));
    let expected = || format!("`{text}` is not a version and how many requests are copied, as `2=10` for 10 percent");
    let percent = percent.map(|percent| share(percent).ok_or_else(expected)).transpose()?;
    let version = version.parse().map_err(|error: NameError| error.to_string())?;
    Ok(Shadow { version, percent, tolerance: None })
}

/// Changes the number of replicas, and waits until they answer.
pub(crate) async fn scale(session: &Session, args: &ScaleArgs) -> Result<(), Failure> {
    let changes = UpdateRequest { replicas: Some(args.replicas), ..UpdateRequest::default() };
    put(session, &args.name, &changes, args.no_wait).await
}

/// Returns to the version that was live before, and waits until it answers.
pub(crate) async fn rollback(session: &Session, args: &RollbackArgs) -> Result<(), Failure> {
    let answer = session.client.post_empty(&["services", args.name.as_str(), "rollback"]).await?;
    follow(session, &answer, None, args.no_wait).await
}

async fn put(session: &Session, name: &ServiceId, changes: &UpdateRequest, no_wait: bool) -> Result<(), Failure> {
    let answer = session.client.put(&service_path(name), changes).await?;
    follow(session, &answer, changes.replicas, no_wait).await
}

async fn follow(session: &Session, answer: &Answer, replicas: Option<u32>, no_wait: bool) -> Result<(), Failure> {
    if no_wait {
        return session.output.answer(answer, |response: &UpdateResponse| {
            let UpdateResponse { service_id, version, status } = response;
            let status = status.as_str();
            format!("{service_id} is {status}, version {version}: see `kea status {service_id}`")
        });
    }
    let UpdateResponse { service_id, version, .. } = answer.read()?;
    wait_for_change(session, &service_id, version, replicas).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_a_version_and_its_share() {
        assert_eq!(canary("2=10"), Ok(Canary { version: "2".parse().unwrap(), weight: 10 }));
        assert_eq!(canary("exp-1=0%"), Ok(Canary { version: "exp-1".parse().unwrap(), weight: 0 }));
        for text in ["2", "2=", "2=x", "2=101", "2=-1", "2=1.5"] {
            assert!(canary(text).unwrap_err().contains("as `2=10` for 10 percent"), "{text}");
        }
        assert!(canary("=10").is_err() && canary("a b=10").is_err());
    }

    #[test]
    fn a_shadow_is_a_version_and_perhaps_a_share() {
        let of = |version: &str, percent| Ok(Shadow { version: version.parse().unwrap(), percent, tolerance: None });
        assert_eq!((shadow("2"), shadow("exp-1=5%")), (of("2", None), of("exp-1", Some(5))));
        for text in ["2=", "2=x", "2=0", "2=101"] {
            assert!(shadow(text).unwrap_err().contains("as `2=10` for 10 percent"), "{text}");
        }
        assert!(shadow("").is_err() && shadow("a b").is_err());
    }
}
