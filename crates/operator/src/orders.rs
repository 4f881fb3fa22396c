//! What somebody asks of a rollout that is under way, or over: annotations of the MLDeployment, as a document says what is
//! to be and not what is to happen now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kea_core::{VersionId, rollout::RolloutPhase};

use crate::{
    names::{ALLOW_BREAKING, PROMOTE, TRY_AGAIN},
    resources::MlDeployment,
};

/// What a change of a service says of its rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing.
    Keep,
    /// Whatever was said before is over.
    Forget,
    /// The version is to take over now.
    Promote(VersionId),
    /// The version that went back is to be tried again, as is asked at that time.
    TryAgain(Timestamp),
}

impl Order {
    /// What a request with a model says, of which `version` is made.
    pub(crate) fn of_model(found: Option<&MlDeployment>, version: Option<&VersionId>, now: Timestamp) -> Self {
        let told = found.and_then(|found| Some(&found.status.as_ref()?.rollout.as_ref()?.told));
        let went_back = told.filter(|told| told.phase == RolloutPhase::Returned && Some(&told.version) == version);
        went_back.map_or(Self::Forget, |_| Self::TryAgain(now))
    }

    /// What a request says that names a version: it need not wait for steps, unless it has them behind it.
    pub(crate) fn of_name(found: &MlDeployment, version: &VersionId) -> Self {
        let live = found.status.as_ref().and_then(|status| status.live_version.as_ref());
        if live == Some(version) { Self::Forget } else { Self::Promote(version.clone()) }
    }

    /// Notes it.
    pub(crate) fn note(&self, mut metadata: ObjectMeta) -> ObjectMeta {
        if *self == Self::Keep {
            return metadata;
        }
        let mut annotations = metadata.annotations.take().unwrap_or_default();
        annotations.retain(|name, _| ![PROMOTE, TRY_AGAIN].contains(&name.as_str()));
        match self {
            Self::Keep | Self::Forget => {}
            Self::Promote(version) => drop(annotations.insert(PROMOTE.into(), version.to_string())),
            Self::TryAgain(time) => drop(annotations.insert(TRY_AGAIN.into(), time.to_string())),
        }
        metadata.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
        metadata
    }
}

/// Whether two states of an object say the same of its rollout, and of what may break callers.
pub(crate) fn are_same(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    let said = |metadata: &ObjectMeta| {
        let said = |name: &str| metadata.annotations.as_ref().and_then(|annotations| annotations.get(name).cloned());
        BTreeMap::from([ALLOW_BREAKING, PROMOTE, TRY_AGAIN].map(|name| (name, said(name))))
    };
    said(one) == said(other)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(phase: &str) -> MlDeployment {
        let rollout = json!({"version": "2", "from": "1", "phase": phase, "step": 1, "steps": 1, "weight": 0, "requests": 0,
                             "reason": "", "startedAt": "2026-01-01T00:00:00Z"});
        let live = if phase == "promoted" { "2" } else { "1" };
        let status = json!({"state": "failed", "rollout": rollout, "liveVersion": live});
        serde_json::from_value(json!({"metadata": {"name": "iris"}, "status": status})).unwrap()
    }

    fn noted(order: &Order, before: Value) -> Value {
        let metadata: ObjectMeta = serde_json::from_value(json!({"annotations": before})).unwrap();
        serde_json::to_value(order.note(metadata)).unwrap()["annotations"].clone()
    }

    #[test]
    fn a_version_that_is_asked_for_again_is_tried_again_only_where_it_went_back() {
        let two: VersionId = "2".parse().unwrap();
        let order = |phase: &str, version: &VersionId| {
            Order::of_model(Some(&service(phase)), Some(version), Timestamp::UNIX_EPOCH)
        };
        assert_eq!(order("returned", &two), Order::TryAgain(Timestamp::UNIX_EPOCH));
        assert_eq!(order("progressing", &two), Order::Forget);
        assert_eq!(order("returned", &"3".parse().unwrap()), Order::Forget);
        assert_eq!(Order::of_model(None, Some(&two), Timestamp::UNIX_EPOCH), Order::Forget);
    }

    #[test]
    fn a_version_that_is_named_takes_over_only_where_it_waits() {
        let two: VersionId = "2".parse().unwrap();
        assert_eq!(Order::of_name(&service("progressing"), &two), Order::Promote(two.clone()));
        assert_eq!(Order::of_name(&service("returned"), &two), Order::Promote(two.clone()));
        assert_eq!(Order::of_name(&service("promoted"), &two), Order::Forget);
        assert_eq!(Order::of_name(&service("progressing"), &"1".parse().unwrap()), Order::Forget);
    }

    #[test]
    fn what_is_said_replaces_what_was_said_and_leaves_the_rest() {
        let before = json!({PROMOTE: "1", "team": "risk"});
        assert_eq!(noted(&Order::Keep, before.clone()), before);
        assert_eq!(noted(&Order::Promote("2".parse().unwrap()), before.clone()), json!({PROMOTE: "2", "team": "risk"}));
        assert_eq!(noted(&Order::Forget, before), json!({"team": "risk"}));
        assert_eq!(noted(&Order::Forget, json!({PROMOTE: "1"})), Value::Null);
    }
}
