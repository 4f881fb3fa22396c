//! Which version is to answer, and which one beside it: the pure step from a request to what is wanted.

use jiff::Timestamp;
use kea_core::{
    VersionId,
    port::DeployError,
    rollout::{Rollout, RolloutPhase},
    service::{Canary, Service},
    shadow::Shadow,
};

/// What a request says of versions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// The version of the model that it brings.
    pub(crate) model: Option<VersionId>,
    /// The version that it names.
    pub(crate) version: Option<VersionId>,
    /// The version that is to take a share.
    pub(crate) canary: Option<Canary>,
    /// The version that is to get copies of requests, where none is to take a share.
    pub(crate) shadow: Option<Shadow>,
}

impl Asked {
    /// The versions that are to get requests of callers by this, as far as it names them.
    pub(crate) fn named(&self) -> Vec<VersionId> {
        let canary = self.canary.as_ref().map(|canary| &canary.version);
        [self.model.as_ref(), self.version.as_ref(), canary].into_iter().flatten().cloned().collect()
    }

    /// Takes over what is asked of the versions of `service`, all of which are known. A canary or a shadow leaves the version
    /// that is live in its place, and so does a model that takes over step by step, from `now` on.
    pub(crate) fn apply(self, service: &mut Service, now: Timestamp) -> Result<(), DeployError> {
        let by_hand = self.version.is_some();
        let is_model = self.model.is_some();
        let named = self.model.or(self.version);
        let beside = self.canary.as_ref().map(|canary| (&canary.version, "canary"));
        let beside = beside.or(self.shadow.as_ref().map(|shadow| (&shadow.version, "shadow")));
        match (beside, named) {
            (Some((version, role)), named) => {
                service.version =
                    stable_beside(service, version, named).ok_or_else(|| nothing_beside(version, role))?;
                (service.canary, service.shadow, service.rollout) = (self.canary, self.shadow, None);
                Ok(())
            }
            (None, None) => Ok(()),
            (None, Some(named)) => {
                // Whoever says which version is to answer has decided about the one beside it.
                service.canary = service.canary.take().filter(|_| !by_hand);
                service.shadow = service.shadow.take().filter(|_| !by_hand);
                let from = service.live_history.last().filter(|live| **live != named).cloned();
                let by_steps = is_model && service.replicas > 0 && service.settings.rollout.is_asked();
                match from.filter(|_| by_steps) {
                    Some(from) => step_by_step(service, from, named, now),
                    None => {
                        (service.version, service.rollout) = (named, None);
                        Ok(())
                    }
                }
            }
        }
    }
}

/// The version that answers while `version` runs beside it: `named`, or the one that does now.
fn stable_beside(service: &Service, version: &VersionId, named: Option<VersionId>) -> Option<VersionId> {
    let live = service.live_history.last().cloned();
    let others = match named {
        Some(named) if named != *version => [Some(named), None],
        Some(_) => [live, None],
        None => [Some(service.stable().clone()), live],
    };
    others.into_iter().flatten().find(|other| other != version)
}

/// Begins a rollout, unless it is under way already.
fn step_by_step(service: &mut Service, from: VersionId, to: VersionId, now: Timestamp) -> Result<(), DeployError> {
    let canary = service.canary.as_ref().map(|canary| (&canary.version, "has a share of the requests as a canary"));
    let shadow = service.shadow.as_ref().map(|shadow| (&shadow.version, "gets copies of requests as a shadow"));
    if let Some((version, what)) = canary.or(shadow) {
        return Err(DeployError::Conflict(format!(
            "version {version} of `{}` {what}, beside which no other can take over step by step: end it first, with a \
             rollback, or by naming the version that is to answer",
            service.id
        )));
    }
    let goes_on = |rollout: &Rollout| rollout.phase != RolloutPhase::Returned;
    let is_under_way = service.version == to && service.rollout.as_ref().is_some_and(goes_on);
    if !is_under_way {
        service.rollout = Some(Rollout::begin(from, now));
        service.version = to;
    }
    Ok(())
}

/// Returns to the version before. A canary, a shadow, or a version that takes over step by step, is what there is to go back
/// from.
pub(crate) fn go_back(service: &mut Service) -> Result<(), DeployError> {
    let stable = service.stable().clone();
    let (canary, shadow) = (service.canary.take(), service.shadow.take());
    let beside = canary.is_some() || shadow.is_some() || stable != service.version;
    let earlier = service.live_history.iter().rev().find(|version| **version != service.version).cloned();
    let nothing =
        || DeployError::Conflict(format!("no version of `{}` was live before {}", service.id, service.version));
    service.version = if beside { stable } else { earlier.ok_or_else(nothing)? };
    service.rollout = None;
    Ok(())
}

/// The version that the model of a deployment without one gets, where a canary or a shadow is asked for: that one's, unless
/// that is another model's.
pub(crate) fn of_beside(asked: Option<&VersionId>, is_another: impl Fn(&VersionId) -> bool) -> Option<VersionId> {
    asked.filter(|version| !is_another(version)).cloned()
}

fn nothing_beside(version: &VersionId, role: &str) -> DeployError {
    let what = if role == "canary" { "a share" } else { "copies" };
    DeployError::Invalid {
        pointer: format!("/{role}"),
        detail: format!(
            "a {role} gives version `{version}` {what} of the requests beside the version that is live, and there is no \
             other that is: leave `{role}` out, and set it with the next version"
        ),
    }
}

#[cfg(test)]
mod tests {
    use kea_core::Settings;
    use serde_json::json;

    use super::*;

    fn v(name: &str) -> VersionId {
        name.parse().unwrap()
    }

    fn canary(version: &str, weight: u8) -> Option<Canary> {
        Some(Canary { version: v(version), weight })
    }

    fn service(version: &str, live: &[&str]) -> Service {
        Service {
            id: "iris".parse().unwrap(),
            model_name: "iris".into(),
            version: v(version),
            replicas: 2,
            settings: Settings::default(),
            canary: None,
            shadow: None,
            rollout: None,
            live_history: live.iter().copied().map(v).collect(),
            may_break: Vec::new(),
            deleted: false,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// The version that is to answer, and the canary.
    fn wanted(mut service: Service, asked: Asked) -> Result<(String, Option<Canary>), String> {
        asked.apply(&mut service, Timestamp::UNIX_EPOCH).map_err(|error| error.to_string())?;
        Ok((service.version.to_string(), service.canary))
    }

    #[test]
    fn a_new_model_that_is_the_canary_leaves_the_live_version_in_its_place() {
        let asked = Asked { model: Some(v("2")), version: Some(v("2")), canary: canary("2", 10), shadow: None };
        assert_eq!(wanted(service("1", &["1"]), asked.clone()), Ok(("1".into(), canary("2", 10))));
        // A version on its way that never was live is no version to stay with.
        assert_eq!(wanted(service("broken", &["1"]), asked), Ok(("1".into(), canary("2", 10))));
    }

    #[test]
    fn an_earlier_version_can_be_the_canary() {
        let asked = |version: &str| Asked { canary: canary(version, 30), ..Asked::default() };
        assert_eq!(wanted(service("2", &["1", "2"]), asked("1")), Ok(("2".into(), canary("1", 30))));
        // The one that is on its way becomes the canary of the one that is live.
        assert_eq!(wanted(service("2", &["1"]), asked("2")), Ok(("1".into(), canary("2", 30))));
        let with_model = Asked { model: Some(v("3")), canary: canary("1", 30), ..Asked::default() };
        assert_eq!(wanted(service("2", &["1", "2"]), with_model), Ok(("3".into(), canary("1", 30))));
    }

    #[test]
    fn a_canary_beside_nothing_is_refused() {
        let first = Asked { model: Some(v("1")), canary: canary("1", 10), ..Asked::default() };
        let told = wanted(service("1", &[]), first).unwrap_err();
        assert!(told.contains("beside the version that is live") && told.contains("leave `canary` out"), "{told}");
        let live = Asked { canary: canary("1", 10), ..Asked::default() };
        assert!(wanted(service("1", &["1"]), live).is_err());
    }

    #[test]
    fn naming_a_version_ends_the_canary_and_other_changes_keep_it() {
        let before = || Service { canary: canary("2", 10), ..service("1", &["1"]) };
        let named = |version: &str| Asked { version: Some(v(version)), ..Asked::default() };
        assert_eq!(wanted(before(), named("2")), Ok(("2".into(), None)));
        assert_eq!(wanted(before(), named("1")), Ok(("1".into(), None)));
        assert_eq!(wanted(before(), Asked::default()), Ok(("1".into(), canary("2", 10))));
        let model = Asked { model: Some(v("3")), ..Asked::default() };
        assert_eq!(wanted(before(), model), Ok(("3".into(), canary("2", 10))));
    }

    #[test]
    fn a_rollback_ends_the_canary_first() {
        let mut service = Service { canary: canary("3", 10), ..service("2", &["1", "2"]) };
        let mut back = || go_back(&mut service).map(|()| (service.version.to_string(), service.canary.clone()));
        assert_eq!(back().unwrap(), ("2".into(), None));
        assert_eq!(back().unwrap(), ("1".into(), None));
        service.live_history = vec![v("1")];
        assert!(go_back(&mut service).unwrap_err().to_string().contains("no version of `iris` was live before 1"));
    }

    /// A service whose new versions take over step by step.
    fn by_steps(version: &str, live: &[&str]) -> Service {
        let rollout = serde_json::from_value(json!({"steps": [{"weight": 10}, {"weight": 50}]})).unwrap();
        Service { settings: Settings { rollout, ..Settings::default() }, ..service(version, live) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// The version that is to answer, the one that has the requests meanwhile, and when the rollout began.
    fn after(service: &mut Service, asked: Asked, seconds: i64) -> (String, String, Option<i64>) {
        asked.apply(service, at(seconds)).unwrap();
        let began = service.rollout.as_ref().map(|rollout| rollout.started_at.as_second());
        (service.version.to_string(), service.stable().to_string(), began)
    }

    fn model(version: &str) -> Asked {
        Asked { model: Some(v(version)), ..Asked::default() }
    }

    fn told(version: &str, stable: &str, began: impl Into<Option<i64>>) -> (String, String, Option<i64>) {
        (version.into(), stable.into(), began.into())
    }

    #[test]
    fn a_new_model_takes_over_step_by_step_where_that_is_asked_for() {
        let mut service = by_steps("1", &["1"]);
        assert_eq!(after(&mut service, model("2"), 1), told("2", "1", 1));
        assert_eq!(service.beside(), canary("2", 10));
        // Other changes, and the same document again, leave it where it is.
        assert_eq!(after(&mut service, Asked::default(), 2), told("2", "1", 1));
        let again = Asked { version: Some(v("2")), ..model("2") };
        assert_eq!(after(&mut service, again.clone(), 3), told("2", "1", 1));
        // A further one begins anew from the version that is live; and the same one once it went back.
        assert_eq!(after(&mut service, model("3"), 4), told("3", "1", 4));
        service.rollout.as_mut().unwrap().phase = RolloutPhase::Returned;
        assert_eq!((service.stable(), service.beside()), (&v("1"), None));
        assert_eq!(after(&mut service, Asked::default(), 5), told("3", "1", 4));
        assert_eq!(after(&mut service, model("3"), 6), told("3", "1", 6));
        service.rollout.as_mut().unwrap().phase = RolloutPhase::Promoted;
        assert_eq!((service.stable(), service.beside()), (&v("3"), None));
        // Until it is live it is on its way.
        assert_eq!(after(&mut service, model("3"), 7), told("3", "3", 6));
    }

    #[test]
    fn without_anything_to_compare_with_a_version_takes_over_at_once() {
        assert_eq!(after(&mut by_steps("1", &[]), model("1"), 1), told("1", "1", None));
        assert_eq!(after(&mut by_steps("1", &[]), model("2"), 1), told("2", "2", None));
        let mut stopped = Service { replicas: 0, ..by_steps("1", &["1"]) };
        assert_eq!(after(&mut stopped, model("2"), 1), told("2", "2", None));
    }

    #[test]
    fn whoever_names_a_version_ends_the_rollout() {
        let named = |version: &str| Asked { version: Some(v(version)), ..Asked::default() };
        for (version, canary) in [("2", None), ("1", None), ("1", canary("2", 30))] {
            let mut service = by_steps("1", &["1"]);
            after(&mut service, model("2"), 1);
            let asked =
                Asked { canary: canary.clone(), ..if canary.is_some() { Asked::default() } else { named(version) } };
            assert_eq!(after(&mut service, asked, 2), told(version, version, None));
            assert_eq!(service.beside(), canary);
        }
    }

    #[test]
    fn a_rollback_ends_the_rollout_first() {
        for phase in [RolloutPhase::Progressing, RolloutPhase::Returned] {
            let mut service = by_steps("2", &["1", "2"]);
            after(&mut service, model("3"), 1);
            service.rollout.as_mut().unwrap().phase = phase;
            go_back(&mut service).unwrap();
            assert_eq!((service.version.as_str(), &service.rollout), ("2", &None));
        }
        let mut promoted = by_steps("1", &["1"]);
        after(&mut promoted, model("2"), 1);
        promoted.rollout.as_mut().unwrap().phase = RolloutPhase::Promoted;
        go_back(&mut promoted).unwrap();
        assert_eq!((promoted.version.as_str(), promoted.rollout), ("1", None));
    }

    #[test]
    fn beside_a_canary_nothing_takes_over_step_by_step() {
        let mut service = Service { canary: canary("2", 10), ..by_steps("1", &["1"]) };
        let refused = model("3").apply(&mut service, at(1)).unwrap_err();
        assert!(
            matches!(refused, DeployError::Conflict(_)) && refused.to_string().contains("end it first"),
            "{refused}"
        );
        let named = Asked { version: Some(v("3")), ..model("3") };
        assert_eq!(after(&mut service, named, 2), told("3", "1", 2));
        assert_eq!(service.beside(), canary("3", 10));
    }

    #[test]
    fn a_model_without_a_version_is_the_canary_by_name() {
        assert_eq!(of_beside(Some(&v("2")), |_| false), Some(v("2")));
        assert_eq!(of_beside(Some(&v("2")), |_| true), None);
        assert_eq!(of_beside(None, |_| false), None);
    }

    fn shadow(version: &str) -> Option<Shadow> {
        Some(Shadow { version: v(version), percent: None, tolerance: None })
    }

    #[test]
    fn a_shadow_leaves_the_live_version_in_its_place_and_takes_turns_with_a_canary() {
        let mut service = service("1", &["1"]);
        let mut asked = |asked: Asked| {
            asked.apply(&mut service, at(1)).unwrap();
            (service.version.to_string(), service.canary.is_some(), service.in_shadow().map(|s| s.version.to_string()))
        };
        let of = |version: &str| Asked { shadow: shadow(version), ..Asked::default() };
        assert_eq!(asked(Asked { model: Some(v("2")), ..of("2") }), ("1".into(), false, Some("2".into())));
        assert_eq!(asked(Asked { canary: canary("2", 10), ..Asked::default() }), ("1".into(), true, None));
        assert_eq!(asked(of("2")), ("1".into(), false, Some("2".into())));
        assert_eq!(asked(Asked { model: Some(v("3")), ..Asked::default() }), ("3".into(), false, Some("2".into())));
        assert_eq!(asked(Asked { version: Some(v("2")), ..Asked::default() }), ("2".into(), false, None));
    }

    #[test]
    fn the_live_version_is_no_shadow_of_its_own() {
        let told = wanted(service("1", &["1"]), Asked { shadow: shadow("1"), ..Asked::default() }).unwrap_err();
        assert!(
            told.contains("a shadow gives version `1` copies of the requests beside the version that is live"),
            "{told}"
        );
    }

    #[test]
    fn a_rollback_ends_the_shadow_and_no_rollout_begins_beside_it() {
        let mut service = Service { shadow: shadow("2"), ..by_steps("1", &["0", "1"]) };
        let refused = model("3").apply(&mut service, at(1)).unwrap_err().to_string();
        assert!(refused.contains("gets copies of requests as a shadow, beside which no other"), "{refused}");
        go_back(&mut service).unwrap();
        assert_eq!((service.version.as_str(), &service.shadow), ("1", &None));
    }

    #[test]
    fn a_rollout_may_begin_in_shadow() {
        let rollout = serde_json::from_value(json!({"steps": [{"shadow": true}, {"weight": 50}]})).unwrap();
        let mut service = Service { settings: Settings { rollout, ..Settings::default() }, ..service("1", &["1"]) };
        after(&mut service, model("2"), 1);
        assert_eq!((service.in_shadow(), service.beside()), (shadow("2"), canary("2", 0)));
        service.rollout.as_mut().unwrap().step = 1;
        assert_eq!((service.in_shadow(), service.beside()), (None, canary("2", 50)));
        service.rollout.as_mut().unwrap().step = 0;
        service.rollout.as_mut().unwrap().phase = RolloutPhase::Returned;
        assert_eq!((service.in_shadow(), service.beside()), (None, None));
    }
}
