//! `kea status`: why a service is not ready, step by step.

use kea_core::{
    management::{ReplicaStatus, ServiceDetails, StepStatus},
    rollout::{RolloutPhase, RolloutStatus},
    shadow::{ShadowCounts, ShadowStatus},
};

use super::{Session, diff, or_dash, service, service::ServiceArgs};
use crate::{client::service_path, failure::Failure, output::table, progress::state_word};

/// Tells how far a service is.
pub(crate) async fn run(session: &Session, args: &ServiceArgs) -> Result<(), Failure> {
    let answer = session.client.get(&service_path(&args.name), &[]).await?;
    session.output.answer(&answer, describe)
}

fn describe(details: &ServiceDetails) -> String {
    let mut parts = vec![service::sentence(details)];
    if !details.breaking_changes.is_empty() {
        parts.push(diff::changes_table(&details.breaking_changes));
    }
    if !details.incomplete.is_empty() {
        parts.push(incomplete(&details.incomplete));
    }
    parts.extend(details.rollout.as_ref().and_then(promoted));
    parts.extend(details.shadow.as_ref().map(shadowed));
    if !details.steps.is_empty() {
        parts.push(table(&["STEP", "STATE", "DETAIL"], details.steps.iter().map(step_row)));
    }
    if !details.replica_statuses.is_empty() {
        let header = ["REPLICA", "VERSION", "STATE", "ADDRESS", "PID", "RESTARTS", "REASON"];
        parts.push(table(&header, details.replica_statuses.iter().map(replica_row)));
    }
    parts.iter().map(|part| part.trim_end()).collect::<Vec<_>>().join("\n\n")
}

/// What its documentation does not say, and who can say it.
fn incomplete(reasons: &[String]) -> String {
    let reasons: Vec<String> = reasons.iter().map(|reason| format!("- {reason}")).collect();
    format!("its documentation is incomplete; `functions` of its MLModel can say more:\n{}", reasons.join("\n"))
}

/// How a version came to answer that took over step by step; why one is on its way or went back is said already.
fn promoted(rollout: &RolloutStatus) -> Option<String> {
    let RolloutStatus { version, from, phase, steps, reason, .. } = rollout;
    let is_promoted = *phase == RolloutPhase::Promoted;
    is_promoted.then(|| format!("version {version} took over from version {from} after {steps} steps: {reason}"))
}

/// How a version in shadow answered copies of requests.
fn shadowed(ShadowStatus { version, counts, .. }: &ShadowStatus) -> String {
    let ShadowCounts { same, different, failed, not_compared, dropped, skipped } = counts;
    let compared =
        format!("{same} answers the same, {different} different, {failed} failed, {not_compared} not compared");
    let copied = format!("{dropped} requests not copied, {skipped} that may not be sent twice");
    format!("version {version} in shadow: {compared}; {copied}")
}

fn step_row(step: &StepStatus) -> Vec<String> {
    vec![step.name.clone(), state_word(step.state).into(), step.detail.clone()]
}

fn replica_row(replica: &ReplicaStatus) -> Vec<String> {
    let ReplicaStatus { name, version, state, address, pid, restarts, reason } = replica;
    vec![
        name.clone(),
        version.to_string(),
        state.clone(),
        or_dash(address.as_ref()),
        or_dash(*pid),
        restarts.to_string(),
        or_dash(reason.as_ref()),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn how_a_version_took_over_is_told() {
        let rollout = |phase: &str| {
            let rollout = json!({
                "version": "2", "from": "1", "phase": phase, "step": 2, "steps": 2, "weight": 100, "requests": 0,
                "reason": "of 50 requests 0 % failed", "startedAt": "2026-01-01T00:00:00Z",
            });
            promoted(&serde_json::from_value(rollout).unwrap())
        };
        let told = "version 2 took over from version 1 after 2 steps: of 50 requests 0 % failed";
        assert_eq!(rollout("promoted").as_deref(), Some(told));
        assert_eq!((rollout("progressing"), rollout("returned")), (None, None));
    }

    #[test]
    fn what_is_not_known_is_told() {
        let told = incomplete(&["`predict`: argument `x`: why".to_owned(), "another".to_owned()]);
        assert!(told.ends_with("\n- `predict`: argument `x`: why\n- another"), "{told}");
    }

    #[test]
    fn how_a_shadow_answers_is_told() {
        let counts = json!({"same": 90, "different": 5, "failed": 1, "notCompared": 2, "dropped": 3, "skipped": 4});
        let shadow = json!({"version": "2", "percent": 100, "tolerance": 1e-6, "counts": counts});
        let told = shadowed(&serde_json::from_value(shadow).unwrap());
        let compared = "version 2 in shadow: 90 answers the same, 5 different, 1 failed, 2 not compared";
        assert_eq!(told, format!("{compared}; 3 requests not copied, 4 that may not be sent twice"));
    }

    #[test]
    fn why_a_service_is_not_ready_comes_first() {
        let details: ServiceDetails = serde_json::from_value(json!({
            "serviceId": "iris", "modelName": "iris", "status": "failed", "version": "2", "liveVersion": "1",
            "kubernetesService": {"name": "iris", "clusterIP": "127.0.0.1", "ports": []},
            "replicas": 1, "readyReplicas": 1, "url": "/api/v1/k8c/services/iris/predict",
            "reason": "the file is no pickle",
            "steps": [{"name": "fetch the model", "state": "failed", "detail": "byte 0"}],
            "replicaStatuses": [{"name": "iris-1-0", "version": "1", "state": "ready", "address": "127.0.0.1:4000",
                "pid": 7, "restarts": 0, "reason": null}],
            "settings": {}, "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z"
        }))
        .unwrap();
        let expected = "iris answers, but not as it was asked to: the file is no pickle\n\n\
            STEP             STATE   DETAIL\nfetch the model  failed  byte 0\n\n\
            REPLICA   VERSION  STATE  ADDRESS         PID  RESTARTS  REASON\n\
            iris-1-0  1        ready  127.0.0.1:4000  7    0         -";
        assert_eq!(describe(&details), expected);
    }
}
