//! What is said of an MLDeployment: computed anew from what is seen, never counted up.

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kea_core::{
    Engine, VersionId,
    management::{BASE_PATH, Status},
    rollout::{RolloutPhase, RolloutStatus},
    service::Canary,
};

use crate::{
    gate::Barred,
    images::Image,
    names, pods,
    resources::{CanaryStatus, Condition, DeploymentStatus, MlDeployment, RolloutRecord, ShadowVersion},
    settings::ClusterSettings,
    version::VersionRecord,
    wish::{Refusal, Wish},
};

/// Versions that are remembered as having been live.
const HISTORY: usize = 10;

/// A version that is asked for, and how far its image is.
#[derive(Clone, Copy)]
pub(crate) struct VersionWish<'a> {
    pub(crate) wish: &'a Wish,
    pub(crate) image: &'a Image,
}

/// What is said of an image that an earlier KEA has built.
const WITHOUT_TLS: &str =
    "whose pods are reached without TLS, as an earlier KEA has built it: build it again, as a new version";

/// What is seen of a service.
pub(crate) struct Seen<'a> {
    pub(crate) owner: &'a MlDeployment,
    pub(crate) wish: Result<&'a Wish, &'a Refusal>,
    pub(crate) image: Option<&'a Image>,
    pub(crate) canary: Option<VersionWish<'a>>,
    /// How far a version is that takes over step by step. Until it is promoted, `wish` is for the version before.
    pub(crate) rollout: Option<&'a RolloutRecord>,
    pub(crate) records: &'a [VersionRecord],
    pub(crate) pods: &'a [std::sync::Arc<Pod>],
    pub(crate) live: Option<&'a VersionId>,
    /// Versions whose Deployments were changed just now: what is seen of them is what they were.
    pub(crate) written: &'a [VersionId],
    /// Versions that would break callers.
    pub(crate) barred: &'a [Barred],
    /// What Kubernetes said when objects were applied.
    pub(crate) refused: Option<&'a Refusal>,
    pub(crate) settings: &'a ClusterSettings,
}

impl<'a> Seen<'a> {
    /// What is asked for, where that is being done.
    fn acting(&self) -> Option<&'a Wish> {
        self.wish.ok().filter(|wish| !wish.paused)
    }

    /// What is seen of a service before anything is done for it.
    pub(crate) fn before(
        owner: &'a MlDeployment,
        wish: Result<&'a Wish, &'a Refusal>,
        records: &'a [VersionRecord],
        pods: &'a [std::sync::Arc<Pod>],
        live: Option<&'a VersionId>,
        settings: &'a ClusterSettings,
    ) -> Self {
        let rollout = owner.status.as_ref().and_then(|status| status.rollout.as_ref());
        let (image, canary, written, barred, refused) = (None, None, &[][..], &[][..], None);
        Self { owner, wish, image, canary, rollout, records, pods, live, written, barred, refused, settings }
    }
}

/// Ready pods of a version.
pub(crate) fn ready(pods: &[std::sync::Arc<Pod>], version: &VersionId) -> u32 {
    let ready = pods.iter().filter(|pod| pods::version(pod).as_ref() == Some(version) && pods::is_ready(pod)).count();
    u32::try_from(ready).unwrap_or(u32::MAX)
}

/// The status, whole. `now` stamps the conditions that are others than in the status before.
pub(crate) fn status(seen: &Seen<'_>, now: Timestamp) -> DeploymentStatus {
    let owner = seen.owner;
    let before = owner.status.as_ref();
    let wish = seen.wish.ok();
    let acting = seen.acting();
    let version = wish.map(|wish| wish.version.clone()).or_else(|| before?.version.clone());
    let wanted = wish.map_or_else(|| owner.replicas(), |wish| wish.replicas);
    let of_wanted = version.as_ref().map_or(0, |version| ready(seen.pods, version));
    let is_live = version.is_some() && seen.live == version.as_ref();
    let trouble = trouble(seen);
    let is_there = is_live
        && version.as_ref().is_some_and(|version| is_whole(seen, version, wanted))
        && seen.canary.is_none_or(|canary| is_whole(seen, &canary.wish.version, canary.wish.replicas));
    let state = state(seen, is_there, trouble.as_ref());
    let why = why(seen, version.as_ref(), of_wanted, wanted, trouble.as_ref()).filter(|_| state != Status::Deployed);
    let record = version.as_ref().and_then(|version| seen.records.iter().find(|record| record.version == *version));
    let image = match seen.image {
        Some(Image::Known(image)) => Some(image.clone()),
        _ => record.and_then(|record| record.image.clone()),
    };
    // As Kubernetes counts its own: a pod that was told to end is none any more, however long it takes.
    let stays = |pod: &&std::sync::Arc<Pod>| version.is_some() && pods::version(pod) == version && pods::stays(pod);
    let pods_of_wanted = seen.pods.iter().filter(stays).count();
    let mut status = DeploymentStatus {
        observed_generation: owner.metadata.generation.unwrap_or_default(),
        state,
        live_version: seen.live.cloned(),
        live_history: history(before, seen.live),
        replicas: u32::try_from(pods_of_wanted).unwrap_or(u32::MAX),
        ready_replicas: seen.live.map_or(0, |live| ready(seen.pods, live)),
        ready: format!("{of_wanted}/{wanted}"),
        selector: version.as_ref().map(|version| selector(owner, version)),
        model: wish.map(|wish| wish.model_name.clone()).or_else(|| before?.model.clone()),
        url: Some(url(seen.settings, owner.name())),
        framework: image.as_ref().and_then(|image| image.framework).or(wish.and_then(|wish| wish.model.framework)),
        engine: record.and_then(|record| record.replica.as_ref()).map(|replica| replica.engine).or_else(|| {
            let web_service = image.as_ref()?.web_service;
            web_service.map(|_| Engine::External)
        }),
        image: image.map(|image| image.reference),
        reason: why.as_ref().map(|why| why.message.clone()),
        canary: canary(seen),
        shadow: shadow(seen),
        rollout: seen.rollout.cloned(),
        settings: acting.map(|wish| wish.settings.clone()).or_else(|| before?.settings.clone()),
        conditions: Vec::new(),
        version: taking_over(seen).map(|told| told.version.clone()).or(version),
    };
    status.conditions = conditions(seen, &status, why.as_ref(), record, trouble.as_ref(), now);
    status
}

/// The canary that is asked for; that of before while nothing is changed.
fn canary(seen: &Seen<'_>) -> Option<CanaryStatus> {
    let ready_replicas = |version: &VersionId| ready(seen.pods, version);
    let Some(wish) = seen.acting() else {
        let before = seen.owner.status.as_ref()?.canary.clone()?;
        return Some(CanaryStatus { ready_replicas: ready_replicas(&before.version), ..before });
    };
    let Canary { version, weight } = wish.canary()?;
    let weight = taking_over(seen).map_or(weight, |told| told.weight);
    let replicas = wish.of_canary()?.replicas;
    Some(CanaryStatus { ready_replicas: ready_replicas(&version), version, weight, replicas })
}

/// The shadow that is asked for; that of before while nothing is changed.
fn shadow(seen: &Seen<'_>) -> Option<ShadowVersion> {
    let ready_replicas = |version: &VersionId| ready(seen.pods, version);
    let Some(wish) = seen.acting() else {
        let before = seen.owner.status.as_ref()?.shadow.clone()?;
        return Some(ShadowVersion { ready_replicas: ready_replicas(&before.version), ..before });
    };
    let (shadow, replicas) = (wish.shadow()?, wish.of_canary()?.replicas);
    let (percent, tolerance) = (shadow.percent(), shadow.tolerance());
    let ready_replicas = ready_replicas(&shadow.version);
    Some(ShadowVersion { version: shadow.version, percent, tolerance, replicas, ready_replicas })
}

/// The rollout of a version that is asked for, and that has not been promoted.
fn taking_over<'a>(seen: &Seen<'a>) -> Option<&'a RolloutStatus> {
    let told = seen.rollout.map(|record| &record.told)?;
    (told.phase != RolloutPhase::Promoted).then_some(told)
}

/// What a version waits for whose rollout is at a step in shadow that has begun.
fn in_shadow(seen: &Seen<'_>) -> Option<String> {
    let record = seen.rollout.filter(|record| record.is_progressing() && record.step_started_at.is_some())?;
    seen.acting()?.shadow().map(|_| record.told.in_shadow())
}

/// Whether a version is as it was asked for.
fn is_whole(seen: &Seen<'_>, version: &VersionId, wanted: u32) -> bool {
    ready(seen.pods, version) >= wanted && !seen.written.contains(version) && rolled_out(seen, version, wanted)
}

fn history(before: Option<&DeploymentStatus>, live: Option<&VersionId>) -> Vec<VersionId> {
    let mut history = before.map_or_else(Vec::new, |before| before.live_history.clone());
    if let Some(live) = live
        && history.last() != Some(live)
    {
        history.push(live.clone());
    }
    let excess = history.len().saturating_sub(HISTORY);
    history.split_off(excess)
}

fn selector(owner: &MlDeployment, version: &VersionId) -> String {
    let labels = names::version_selector(owner, version);
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Where the default function of a service is called.
pub(crate) fn url(settings: &ClusterSettings, service: &str) -> String {
    let base = settings.url.as_deref().unwrap_or_default().trim_end_matches('/');
    format!("{base}{BASE_PATH}/services/{service}/predict")
}

/// What keeps what is asked for from being there, that time alone will not mend.
fn trouble(seen: &Seen<'_>) -> Option<Refusal> {
    let wish = match seen.wish {
        Ok(wish) => wish,
        Err(refusal) => return Some(refusal.clone()),
    };
    let of_wanted = || of_version(seen, wish, seen.image);
    let of_canary = || {
        let VersionWish { wish, image } = seen.canary?;
        let trouble = of_version(seen, wish, Some(image))?;
        Some(Refusal { message: format!("{} {}: {}", beside(seen), wish.version, trouble.message), ..trouble })
    };
    let returned = || {
        let message = taking_over(seen)?.returned()?;
        Some(Refusal { reason: "RolloutReturned", message })
    };
    seen.refused.cloned().or_else(returned).or_else(of_wanted).or_else(of_canary)
}

/// What the version beside the live one is called.
fn beside(seen: &Seen<'_>) -> &'static str {
    if seen.rollout.is_some() { "version" } else { seen.wish.map_or("canary", Wish::role) }
}

/// What keeps one version from being there.
fn of_version(seen: &Seen<'_>, wish: &Wish, image: Option<&Image>) -> Option<Refusal> {
    if let Some(Image::Failed(refusal)) = image {
        return Some(refusal.clone());
    }
    if let Some(barred) = seen.barred.iter().find(|barred| barred.version == wish.version) {
        return Some(barred.refusal());
    }
    let enough = ready(seen.pods, &wish.version) >= wish.replicas;
    if enough && rolled_out(seen, &wish.version, wish.replicas) {
        return None;
    }
    let of_pod = || {
        let (reason, message) = lasting(seen.pods, &wish.version, |_| true)?;
        Some(Refusal::of_kubernetes(&reason, message))
    };
    let record = seen.records.iter().find(|record| record.version == wish.version);
    of_pod().or_else(|| record.and_then(|record| replica_failure(&record.deployment)))
}

/// What time alone will not mend of a version's pods, of those troubles that count: its reason and a sentence.
fn lasting(
    pods: &[std::sync::Arc<Pod>],
    version: &VersionId,
    counts: impl Fn(&str) -> bool,
) -> Option<(String, String)> {
    let of_version = pods.iter().filter(|pod| pods::version(pod).as_ref() == Some(version));
    let mut troubles = of_version.filter_map(|pod| Some((pod, pods::trouble(pod)?)));
    let (pod, trouble) = troubles.find(|(_, trouble)| trouble.lasting && counts(&trouble.reason))?;
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    Some((trouble.reason, format!("pod {name}: {}", trouble.message)))
}

/// Why a version does not run.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) why: String,
    /// Whether it may pass, as a registry that does not answer.
    pub(crate) passes: bool,
}

/// Why a version does not run by a fault of its own. A node that a cluster has not got yet is none.
pub(crate) fn failure(VersionWish { wish, image }: VersionWish<'_>, pods: &[std::sync::Arc<Pod>]) -> Option<Failure> {
    if let Image::Failed(Refusal { reason, message }) = image {
        return Some(Failure { why: message.clone(), passes: *reason == "ImageUnknown" });
    }
    if ready(pods, &wish.version) >= wish.replicas {
        return None;
    }
    let (reason, why) = lasting(pods, &wish.version, |reason| reason != "Unschedulable")?;
    Some(Failure { why, passes: reason == "ImagePull" })
}

/// Why Kubernetes makes no pods of a Deployment: a quota, or an admission that refuses them.
fn replica_failure(deployment: &Deployment) -> Option<Refusal> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions.iter().find(|c| c.type_ == "ReplicaFailure" && c.status == "True")?;
    let message = failure.message.clone().unwrap_or_else(|| "no reason was given".into());
    let hint = if wants_resources(&message) { QUOTA_HINT } else { "" };
    Some(Refusal::of_kubernetes("ReplicaFailure", format!("its pods cannot be made: {message}{hint}")))
}

const QUOTA_HINT: &str = ": give `resources` with `requests` and `limits` of `cpu` and `memory` in the MLDeployment";

/// Whether a quota refuses a pod because it counts what the pod's containers do not say.
fn wants_resources(message: &str) -> bool {
    message.contains("failed quota") && message.contains("must specify")
}

/// Whether all pods of a version are as its Deployment asks now: after a change of it, old ones answer for a while.
fn rolled_out(seen: &Seen<'_>, version: &VersionId, wanted: u32) -> bool {
    if wanted == 0 {
        return true;
    }
    let Some(record) = seen.records.iter().find(|record| record.version == *version) else { return false };
    let Some(status) = &record.deployment.status else { return false };
    let is_current = status.observed_generation >= record.deployment.metadata.generation;
    let updated = status.updated_replicas.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    is_current && updated >= wanted
}

fn state(seen: &Seen<'_>, is_there: bool, trouble: Option<&Refusal>) -> Status {
    match () {
        () if seen.owner.is_leaving() => Status::Terminating,
        () if trouble.is_none() && taking_over(seen).is_some() => Status::Updating,
        () if trouble.is_some_and(|trouble| trouble.reason == "RolloutReturned") => Status::Failed,
        () if seen.wish.is_ok() && seen.refused.is_none() && is_there => Status::Deployed,
        () if trouble.is_some() => Status::Failed,
        () if seen.live.is_some() => Status::Updating,
        () => Status::Deploying,
    }
}

/// Why it is not deployed: what is in the way, or what it waits for.
fn why(
    seen: &Seen<'_>,
    version: Option<&VersionId>,
    ready: u32,
    wanted: u32,
    trouble: Option<&Refusal>,
) -> Option<Refusal> {
    let waits = |message: String| Refusal::of_kubernetes("Progressing", message);
    let mut why = match (trouble, seen.image) {
        (Some(trouble), _) => trouble.clone(),
        (None, image) => {
            let is_whole = seen.live == version && version.is_some_and(|version| is_whole(seen, version, wanted));
            let of_canary = |VersionWish { wish, image }: VersionWish<'_>| {
                let ready = self::ready(seen.pods, &wish.version);
                let waiting = waiting(seen, Some(&wish.version), Some(image), ready, wish.replicas);
                format!("{} {}: {waiting}", beside(seen), wish.version)
            };
            let on_trial = in_shadow(seen).or_else(|| taking_over(seen)?.on_trial());
            waits(match (on_trial, seen.canary, taking_over(seen)) {
                (Some(on_trial), ..) => on_trial,
                (None, Some(canary), Some(told)) => {
                    format!("{}; version {} keeps serving", of_canary(canary), told.from)
                }
                (None, Some(canary), None) if is_whole => of_canary(canary),
                _ => waiting(seen, version, image, ready, wanted),
            })
        }
    };
    if let (Some(live), Some(version)) = (seen.live, version)
        && live != version
    {
        why.message = format!("version {version}: {}; version {live} keeps serving", why.message);
    }
    Some(why)
}

/// What a version waits for.
fn waiting(seen: &Seen<'_>, version: Option<&VersionId>, image: Option<&Image>, ready: u32, wanted: u32) -> String {
    if let Some(Image::Building(message)) = image {
        return format!("its image is not there yet: {message}");
    }
    let of_pod = seen.pods.iter().filter(|pod| pods::version(pod).as_ref() == version).find_map(|pod| {
        let trouble = pods::trouble(pod)?;
        Some(format!("; pod {}: {}", pod.metadata.name.as_deref().unwrap_or_default(), trouble.message))
    });
    format!("{ready} of {wanted} replicas are ready{}", of_pod.unwrap_or_default())
}

fn conditions(
    seen: &Seen<'_>,
    status: &DeploymentStatus,
    why: Option<&Refusal>,
    record: Option<&VersionRecord>,
    trouble: Option<&Refusal>,
    now: Timestamp,
) -> Vec<Condition> {
    let paused = seen.wish.is_ok_and(|wish| wish.paused);
    let live = status.live_version.as_ref();
    let answers = live.is_some() && (status.ready_replicas > 0 || seen.wish.is_ok_and(|wish| wish.replicas == 0));
    let built = match (seen.image, record) {
        (Some(Image::Known(image)), _) if seen.settings.replica_mtls && !image.can_tls() => {
            ("True", "ImageWithoutTls", format!("{}, {WITHOUT_TLS}", image.reference))
        }
        (Some(Image::Known(image)), _) => ("True", "ImageKnown", image.reference.clone()),
        (Some(Image::Building(message)), _) => ("False", "Building", message.clone()),
        (Some(Image::Failed(refusal)), _) => ("False", refusal.reason, refusal.message.clone()),
        // Nothing is done now: what was done before is there.
        (None, Some(VersionRecord { image: Some(image), .. })) => ("True", "ImageKnown", image.reference.clone()),
        (None, _) => ("Unknown", "NotAsked", "what is asked for is not known".to_string()),
    };
    let documented = match record.and_then(|record| record.replica.as_ref()) {
        Some(replica) if replica.contract.incomplete.is_empty() => {
            ("True", "Complete", "its inputs and outputs are known".to_string())
        }
        Some(replica) => ("True", "Incomplete", replica.contract.incomplete.join("; ")),
        None => ("False", "NoReplica", "no replica has told yet what it offers".to_string()),
    };
    let ready = match (answers, why) {
        (true, None) => ("True", "Deployed", format!("{} replicas are ready", status.ready)),
        (true, Some(why)) => ("True", "Serving", why.message.clone()),
        (false, why) => {
            let message = why.map_or_else(|| "no replica is ready".to_string(), |why| why.message.clone());
            ("False", why.map_or("NotReady", |why| why.reason), message)
        }
    };
    let progressing = match (paused, why, trouble) {
        (true, ..) => ("False", "Paused", "`spec.paused` is set: nothing is changed".to_string()),
        (false, None, _) => ("False", "Done", "what was asked for is there".to_string()),
        (false, Some(why), None) => ("True", "Working", why.message.clone()),
        (false, Some(_), Some(trouble)) => ("False", trouble.reason, trouble.message.clone()),
    };
    let degraded = match trouble {
        Some(trouble) => ("True", trouble.reason, trouble.message.clone()),
        None => ("False", "AsAsked", "nothing is in the way".to_string()),
    };
    let all = [
        ("Ready", ready),
        ("Built", built),
        ("Documented", documented),
        ("Progressing", progressing),
        ("Degraded", degraded),
    ];
    let before = seen.owner.status.as_ref().map(|status| &status.conditions[..]).unwrap_or_default();
    all.into_iter()
        .map(|(kind, (status_word, reason, message))| {
            let same = before.iter().find(|condition| condition.kind == kind && condition.status == status_word);
            Condition {
                kind: kind.into(),
                status: status_word.into(),
                reason: reason.into(),
                message,
                last_transition_time: same.map_or(whole_seconds(now), |condition| condition.last_transition_time),
                observed_generation: status.observed_generation,
            }
        })
        .collect()
}

/// Kubernetes writes times to the second.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failure(message: &str) -> String {
        let condition =
            json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message});
        let deployment = json!({"metadata": {}, "status": {"conditions": [condition]}});
        replica_failure(&serde_json::from_value(deployment).unwrap()).unwrap().message
    }

    #[test]
    fn a_quota_that_wants_resources_says_where_to_give_them() {
        let told = failure("pods \"iris-1-\" is forbidden: failed quota: team: must specify limits.cpu for: model");
        assert!(
            told.ends_with(
                "for: model: give `resources` with `requests` and `limits` of `cpu` and `memory` in the MLDeployment"
            ),
            "{told}"
        );
        let told = failure(
            "pods \"iris-1-\" is forbidden: exceeded quota: team, requested: pods=1, used: pods=1, limited: pods=1",
        );
        assert!(told.ends_with("limited: pods=1"), "{told}");
    }
}
