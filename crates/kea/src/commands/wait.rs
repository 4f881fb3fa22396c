//! Waiting until a service is where it was asked to be, with the steps shown.

use std::time::Duration;

use kea_core::{
    ServiceId, VersionId,
    management::{ServiceDetails, Status},
};
use tokio::time::sleep;

use crate::{
    client::{Answer, Client, service_path},
    failure::Failure,
    progress::Progress,
};

/// How often the API is asked; it offers no event to wait for. Short enough that nobody notices, and cheap for it.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Where a service is to be.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    /// The version that is to answer.
    pub(super) version: VersionId,
    /// How many replicas of it, where that was asked for.
    pub(super) replicas: Option<u32>,
}

/// A service that is where it was asked to be.
#[derive(Debug)]
pub(super) struct Deployed {
    pub(super) answer: Answer,
    pub(super) details: ServiceDetails,
}

/// How far a service is from its goal.
#[derive(Debug, PartialEq)]
enum Verdict {
    Wait,
    Reached,
    Failed(String),
    Gone,
    Overtaken(String),
}

/// Waits until the service answers as was asked, or will not.
pub(super) async fn until_deployed(client: &Client, service: &ServiceId, goal: &Goal) -> Result<Deployed, Failure> {
    let mut progress = Progress::new();
    let result = poll(client, service, goal, &mut progress).await;
    progress.finish();
    result
}

async fn poll(client: &Client, service: &ServiceId, goal: &Goal, progress: &mut Progress) -> Result<Deployed, Failure> {
    loop {
        let answer = client.get(&service_path(service), &[]).await;
        if answer.as_ref().is_err_and(Failure::is_not_found) {
            return Err(Failure::Gone(service.clone()));
        }
        let answer = answer?;
        let details: ServiceDetails = answer.read()?;
        progress.show(&details);
        match verdict(&details, goal) {
            Verdict::Wait => sleep(POLL_INTERVAL).await,
            Verdict::Reached => return Ok(Deployed { answer, details }),
            Verdict::Failed(reason) => return Err(Failure::Deployment { service: service.clone(), reason }),
            Verdict::Gone => return Err(Failure::Gone(service.clone())),
            Verdict::Overtaken(what) => return Err(Failure::Overtaken { service: service.clone(), what }),
        }
    }
}

fn verdict(details: &ServiceDetails, goal: &Goal) -> Verdict {
    let ServiceDetails { status, version, live_version, replicas, ready_replicas, reason, .. } = details;
    if *status == Status::Terminating {
        return Verdict::Gone;
    }
    if *version != goal.version {
        return Verdict::Overtaken(format!("version {version} is to answer now, not {}", goal.version));
    }
    if let Some(wanted) = goal.replicas.filter(|wanted| wanted != replicas) {
        return Verdict::Overtaken(format!("there are to be {replicas} replicas now, not {wanted}"));
    }
    let complete = live_version.as_ref() == Some(version) && ready_replicas == replicas;
    match status {
        Status::Failed => Verdict::Failed(reason.clone().unwrap_or_else(|| "KEA gives no reason".into())),
        Status::Deployed if complete => Verdict::Reached,
        Status::Deployed | Status::Deploying | Status::Updating | Status::Terminating => Verdict::Wait,
    }
}

/// Waits until the service is gone.
pub(super) async fn until_gone(client: &Client, service: &ServiceId) -> Result<(), Failure> {
    loop {
        match client.get(&service_path(service), &[]).await {
            Ok(_) => sleep(POLL_INTERVAL).await,
            Err(failure) if failure.is_not_found() => return Ok(()),
            Err(failure) => return Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(changes: &Value, expected: &Verdict) {
        let mut details = json!({
            "serviceId": "iris", "modelName": "iris", "status": "deployed", "version": "2", "liveVersion": "2",
            "kubernetesService": {"name": "iris", "clusterIP": "127.0.0.1", "ports": []},
            "replicas": 2, "readyReplicas": 2, "url": "/x", "steps": [], "replicaStatuses": [], "settings": {},
            "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z"
        });
        details.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let goal = Goal { version: "2".parse().unwrap(), replicas: Some(2) };
        assert_eq!(&verdict(&serde_json::from_value(details).unwrap(), &goal), expected, "{changes}");
    }

    #[test]
    fn it_is_deployed_once_all_replicas_of_the_version_answer() {
        check(&json!({}), &Verdict::Reached);
        check(&json!({"readyReplicas": 1}), &Verdict::Wait);
        check(&json!({"liveVersion": "1"}), &Verdict::Wait);
        check(&json!({"status": "updating"}), &Verdict::Wait);
        check(&json!({"status": "deploying", "liveVersion": null, "readyReplicas": 0}), &Verdict::Wait);
    }

    #[test]
    fn waiting_ends_when_it_cannot_succeed() {
        check(&json!({"status": "failed", "reason": "no memory"}), &Verdict::Failed("no memory".into()));
        check(&json!({"status": "terminating"}), &Verdict::Gone);
        check(&json!({"version": "3"}), &Verdict::Overtaken("version 3 is to answer now, not 2".into()));
        check(&json!({"replicas": 5}), &Verdict::Overtaken("there are to be 5 replicas now, not 2".into()));
    }
}
