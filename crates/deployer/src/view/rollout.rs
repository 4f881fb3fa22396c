//! What others see of a version that takes over step by step.

use kea_core::{
    management::{StepState, StepStatus},
    rollout::{Rollout, RolloutPhase, RolloutStatus, TAKE_THE_REQUESTS},
};

use crate::{
    state::{ServiceState, VersionState},
    trial::Trial,
};

/// What became of a version that went back.
pub(super) fn returned(state: &ServiceState) -> Option<String> {
    status(state)?.returned()
}

/// What a version that takes over step by step waits for, once it has a share, or gets copies.
pub(super) fn on_trial(state: &ServiceState) -> Option<String> {
    let rollout = status(state)?;
    if gets_copies(state, &rollout) { Some(rollout.in_shadow()) } else { rollout.on_trial() }
}

/// Whether a version under way gets copies alone, and has what it needs for that.
fn gets_copies(state: &ServiceState, rollout: &RolloutStatus) -> bool {
    let begun = state.trial.as_ref().is_some_and(Trial::has_begun);
    rollout.phase == RolloutPhase::Progressing && rollout.weight == 0 && begun && state.shadow().is_some()
}

/// How far a version that takes over step by step is.
pub(super) fn status(state: &ServiceState) -> Option<RolloutStatus> {
    let service = &state.service;
    let Rollout { from, started_at, step, phase, reason } = service.rollout.clone()?;
    let trial = state.trial.as_ref().filter(|_| phase == RolloutPhase::Progressing);
    Some(RolloutStatus {
        version: service.version.clone(),
        from,
        phase,
        step: step + 1,
        steps: service.settings.rollout.steps.len(),
        weight: match state.live.as_ref() == Some(&service.version) {
            true => 100,
            false => state.share().map_or(0, |share| share.weight),
        },
        requests: trial.map_or(0, |trial| trial.requests),
        reason: trial.map_or(reason, |trial| trial.waits_for.clone()),
        started_at,
    })
}

/// Whether the wanted version has the requests, or which of them.
pub(super) fn taking(state: &ServiceState, version: &VersionState) -> StepStatus {
    let version = &version.version.id;
    let is_live = state.live.as_ref() == Some(version);
    let told = |state, detail| StepStatus { name: TAKE_THE_REQUESTS.into(), state, detail };
    match status(state).filter(|_| !is_live) {
        Some(rollout) if gets_copies(state, &rollout) => rollout.copying(),
        Some(rollout) => rollout.taking(),
        None => told(if is_live { StepState::Done } else { StepState::Pending }, format!("version {version}")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use jiff::Timestamp;
    use kea_core::{
        Settings, VersionId,
        management::Status,
        service::{Canary, ModelSpec, Resources, Service, Version},
        tally::Tally,
    };
    use serde_json::json;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use crate::{
        replica::ReplicaEvent,
        state::ReplicaState,
        trial::{Looked, Trial},
        view::{PublicAddress, details, route},
    };

    use super::*;

    fn v(name: &str) -> VersionId {
        name.parse().unwrap()
    }

    fn version(name: &str) -> Version {
        let model = ModelSpec {
            source: None,
            framework: None,
            requirements: Vec::new(),
            command: Vec::new(),
            functions: Vec::new(),
            env: std::collections::BTreeMap::new(),
            resources: Resources::default(),
        };
        let contract = Some(std::sync::Arc::default());
        Version { id: v(name), model, contract, prepared: None, created_at: Timestamp::UNIX_EPOCH }
    }

    /// Version 1 is live, version 2 takes over step by step, and both have one replica that is ready.
    fn scene() -> ServiceState {
        let rollout = serde_json::from_value(json!({"steps": [{"weight": 10}, {"weight": 50}]})).unwrap();
        let service = Service {
            id: "iris".parse().unwrap(),
            model_name: "iris".into(),
            version: v("2"),
            replicas: 1,
            settings: Settings { rollout, ..Settings::default() },
            canary: None,
            shadow: None,
            rollout: Some(Rollout::begin(v("1"), Timestamp::UNIX_EPOCH)),
            live_history: vec![v("1")],
            may_break: Vec::new(),
            deleted: false,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        let mut state = ServiceState::new(service, vec![version("1"), version("2")]);
        for (name, version) in &mut state.versions {
            version.replicas.insert(0, ReplicaState::new(name.as_str().into(), CancellationToken::new()));
            version.note(0, ReplicaEvent::Listening { address: SocketAddr::from(([127, 0, 0, 1], 1)) });
            version.note(0, ReplicaEvent::Ready { contract: std::sync::Arc::default() });
        }
        state
    }

    fn look(state: &mut ServiceState) {
        let service = &state.service;
        let mut trial = Trial::of(service.rollout.as_ref().unwrap(), state.trial.take(), &Tally::default());
        let (new, live) = (Tally::default(), Tally::default());
        trial.look(&service.settings.rollout, &Looked { at: Instant::now(), is_ready: true, failure: None, new, live });
        state.trial = Some(trial);
    }

    /// The status, the share that the router gives the new version, the versions that it knows, and the reason.
    fn seen(state: &mut ServiceState) -> (Status, Option<u8>, Vec<String>, String) {
        let route = route(state);
        let address = PublicAddress { listen: SocketAddr::from(([127, 0, 0, 1], 1)), url: String::new() };
        let details = details(state, &address);
        assert_eq!(details.canary, route.canary);
        let versions = route.versions.iter().map(|version| version.version.to_string()).collect();
        let weight = route.canary.as_ref().map(|Canary { weight, .. }| *weight);
        (details.status, weight, versions, details.reason.unwrap_or_default())
    }

    #[test]
    fn a_share_is_given_once_it_is_looked_at() {
        let mut state = scene();
        let (status, weight, versions, _) = seen(&mut state);
        assert_eq!((status, weight, versions.len()), (Status::Updating, Some(0), 2));
        look(&mut state);
        let (status, weight, _, reason) = seen(&mut state);
        assert_eq!((status, weight), (Status::Updating, Some(10)));
        let told = "version 2 has 10 % of the requests at step 1 of 2: 0 of at least 20 requests so far";
        assert!(reason.starts_with(told) && reason.ends_with("; version 1 has the rest"), "{reason}");
    }

    #[test]
    fn in_shadow_it_has_no_share_but_copies() {
        let mut state = scene();
        let steps = json!({"steps": [{"shadow": true}, {"weight": 50}]});
        state.service.settings.rollout = serde_json::from_value(steps).unwrap();
        assert_eq!(state.canary().map(|(_, replicas)| replicas), Some(1));
        look(&mut state);
        let (status, weight, versions, reason) = seen(&mut state);
        assert_eq!((status, weight, versions.len()), (Status::Updating, Some(0), 2));
        assert_eq!(route(&mut state).shadow.as_ref().map(|shadow| &shadow.version), Some(&v("2")));
        let told = "version 2 gets copies of the requests at step 1 of 2: 0 of at least 20 requests in shadow so far";
        assert!(reason.starts_with(told) && reason.ends_with("; version 1 answers"), "{reason}");
        state.service.rollout.as_mut().unwrap().step = 1;
        look(&mut state);
        assert_eq!((seen(&mut state).1, route(&mut state).shadow.clone()), (Some(50), None));
    }

    #[test]
    fn a_shadow_by_hand_has_replicas_and_a_route_and_no_share() {
        let mut state = scene();
        let shadow = serde_json::from_value(json!({"version": "2", "percent": 50})).unwrap();
        (state.service.version, state.service.rollout, state.service.shadow) = (v("1"), None, Some(shadow));
        let (status, weight, versions, _) = seen(&mut state);
        assert_eq!((status, weight, versions.len()), (Status::Deployed, None, 2));
        state.versions.get_mut(&v("2")).unwrap().note(0, ReplicaEvent::Unready { reason: "it died".into() });
        let (status, _, _, reason) = seen(&mut state);
        assert_eq!((status, reason.as_str()), (Status::Updating, "shadow 2: replica 2: it died"));
        // Once it is live it shadows nobody.
        state.live = Some(v("2"));
        assert_eq!(route(&mut state).shadow, None);
    }

    #[test]
    fn a_version_that_went_back_has_nothing_and_says_why() {
        let mut state = scene();
        look(&mut state);
        let rollout = state.service.rollout.as_mut().unwrap();
        (rollout.phase, rollout.reason) = (RolloutPhase::Returned, "half of it failed".into());
        let (status, weight, versions, reason) = seen(&mut state);
        assert_eq!((status, weight, versions), (Status::Failed, None, vec!["1".to_string()]));
        assert_eq!(reason, "version 2 went back at step 1 of 2: half of it failed; version 1 keeps serving");
    }

    #[test]
    fn a_version_that_was_promoted_keeps_its_share_until_it_is_live() {
        let mut state = scene();
        let rollout = state.service.rollout.as_mut().unwrap();
        (rollout.phase, rollout.step) = (RolloutPhase::Promoted, 1);
        assert_eq!(seen(&mut state).1, Some(50));
        state.live = Some(v("2"));
        let (status, weight, versions, _) = seen(&mut state);
        assert_eq!((status, weight, versions), (Status::Deployed, None, vec!["2".to_string()]));
        assert_eq!(super::status(&state).unwrap().weight, 100);
    }
}
