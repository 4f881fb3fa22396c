//! How many replicas each version is to have, and which one is to answer: the one rule of deployment, on Deployments.

use std::collections::BTreeMap;

use kea_core::{
    VersionId,
    next_step::{Prepared, Seen, SeenReplica, SeenVersion, Step, Wanted, next_steps},
};

/// A version as the rule sees it.
#[derive(Clone, Debug)]
pub(crate) struct Strength {
    /// Replicas that its Deployment asks for now; none where there is no Deployment yet.
    pub(crate) asked: u32,
    /// Replicas that answer.
    pub(crate) ready: u32,
    /// Whether it has an image, and so may have replicas.
    pub(crate) has_image: bool,
    /// Whether it would break callers and nobody has allowed that.
    pub(crate) barred: bool,
}

/// What is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Replicas of each version.
    pub(crate) replicas: BTreeMap<VersionId, u32>,
    /// The version that requests go to.
    pub(crate) live: Option<VersionId>,
}

/// What is to be, from what is wanted and seen. A `canary` and its replicas are beside all that.
pub(crate) fn plan(
    version: &VersionId,
    replicas: u32,
    canary: Option<(&VersionId, u32)>,
    live: Option<&VersionId>,
    seen: &BTreeMap<VersionId, Strength>,
) -> Plan {
    let wanted = Wanted { version: version.clone(), replicas, canary: None, deleted: false };
    let is_canary = |version: &VersionId| canary.is_some_and(|(canary, _)| canary == version);
    let in_turn = seen.iter().filter(|(version, _)| !is_canary(version));
    let versions = in_turn.map(|(version, strength)| (version.clone(), as_seen(strength))).collect();
    let mut plan = Plan {
        replicas: seen.iter().map(|(version, strength)| (version.clone(), strength.asked)).collect(),
        live: live.cloned(),
    };
    for step in next_steps(&wanted, &Seen { live: live.cloned(), versions }) {
        match step {
            Step::Start(version, ordinal) => {
                let replicas = plan.replicas.entry(version).or_default();
                *replicas = (*replicas).max(ordinal + 1);
            }
            Step::Stop(version, ordinal) => {
                let replicas = plan.replicas.entry(version).or_default();
                *replicas = (*replicas).min(ordinal);
            }
            Step::GoLive(version) => plan.live = Some(version),
            // Images are made before the plan; a service is forgotten by Kubernetes, with its owner.
            Step::Prepare(_) | Step::Forget => {}
        }
    }
    if let Some((canary, replicas)) = canary {
        let may_run = seen.get(canary).is_some_and(|strength| strength.has_image && !strength.barred);
        plan.replicas.insert(canary.clone(), if may_run { replicas } else { 0 });
    }
    plan
}

fn as_seen(strength: &Strength) -> SeenVersion {
    let prepared = if strength.has_image { Prepared::Yes } else { Prepared::Running };
    let state = |ordinal| if ordinal < strength.ready { SeenReplica::Ready } else { SeenReplica::Starting };
    let replicas = (0..strength.asked).map(|ordinal| (ordinal, state(ordinal))).collect();
    SeenVersion { prepared, replicas, barred: strength.barred }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(name: &str) -> VersionId {
        name.parse().unwrap()
    }

    fn planned(
        version: &str,
        replicas: u32,
        live: Option<&str>,
        seen: &[(&str, u32, u32)],
    ) -> (Vec<u32>, Option<String>) {
        let strength = |asked, ready| Strength { asked, ready, has_image: true, barred: false };
        let seen = seen.iter().map(|(name, asked, ready)| (v(name), strength(*asked, *ready))).collect();
        let plan = plan(&v(version), replicas, None, live.map(v).as_ref(), &seen);
        (plan.replicas.into_values().collect(), plan.live.map(|live| live.to_string()))
    }

    #[test]
    fn the_old_version_keeps_its_strength_until_the_new_one_has_its_own() {
        assert_eq!(planned("1", 2, None, &[("1", 0, 0)]), (vec![2], None));
        assert_eq!(planned("1", 2, None, &[("1", 2, 1)]), (vec![2], Some("1".into())));
        assert_eq!(planned("2", 2, Some("1"), &[("1", 2, 2), ("2", 0, 0)]), (vec![2, 2], Some("1".into())));
        assert_eq!(planned("2", 2, Some("1"), &[("1", 2, 2), ("2", 2, 1)]), (vec![2, 2], Some("1".into())));
        assert_eq!(planned("2", 2, Some("1"), &[("1", 2, 2), ("2", 2, 2)]), (vec![0, 2], Some("2".into())));
    }

    #[test]
    fn a_version_overtaken_before_it_answered_goes() {
        assert_eq!(
            planned("3", 1, Some("1"), &[("1", 1, 1), ("2", 1, 0), ("3", 0, 0)]),
            (vec![1, 0, 1], Some("1".into()))
        );
    }

    #[test]
    fn scaling_changes_the_live_version_alone() {
        assert_eq!(planned("2", 5, Some("2"), &[("1", 0, 0), ("2", 2, 2)]), (vec![0, 5], Some("2".into())));
        assert_eq!(planned("2", 0, Some("2"), &[("1", 0, 0), ("2", 2, 2)]), (vec![0, 0], Some("2".into())));
        assert_eq!(planned("1", 0, None, &[("1", 0, 0)]), (vec![0], Some("1".into())));
    }

    #[test]
    fn a_canary_runs_beside_the_live_version_and_takes_over_when_it_is_wanted() {
        let strength = |asked, ready| Strength { asked, ready, has_image: true, barred: false };
        let both = |live, canary| BTreeMap::from([(v("1"), live), (v("2"), canary)]);
        let beside = |seen| plan(&v("1"), 4, Some((&v("2"), 1)), Some(&v("1")), &seen);
        let expected = Plan { replicas: BTreeMap::from([(v("1"), 4), (v("2"), 1)]), live: Some(v("1")) };
        assert_eq!(beside(both(strength(4, 4), strength(0, 0))), expected);
        assert_eq!(beside(both(strength(4, 4), strength(1, 1))), expected);
        assert_eq!(planned("2", 4, Some("1"), &[("1", 4, 4), ("2", 1, 1)]), (vec![4, 4], Some("1".into())));
        assert_eq!(planned("1", 4, Some("1"), &[("1", 4, 4), ("2", 1, 1)]), (vec![4, 0], Some("1".into())));
    }

    #[test]
    fn a_version_that_would_break_callers_gets_no_replicas_and_no_requests() {
        let strength = |barred| Strength { asked: 1, ready: 1, has_image: true, barred };
        let seen = BTreeMap::from([(v("1"), strength(false)), (v("2"), strength(true))]);
        let expected = Plan { replicas: BTreeMap::from([(v("1"), 1), (v("2"), 0)]), live: Some(v("1")) };
        assert_eq!(plan(&v("2"), 1, None, Some(&v("1")), &seen), expected);
        assert_eq!(plan(&v("1"), 1, Some((&v("2"), 1)), Some(&v("1")), &seen), expected);
    }

    #[test]
    fn a_version_without_an_image_gets_no_replicas() {
        let seen = BTreeMap::from([(v("1"), Strength { asked: 0, ready: 0, has_image: false, barred: false })]);
        assert_eq!(plan(&v("1"), 3, None, None, &seen), Plan { replicas: BTreeMap::from([(v("1"), 0)]), live: None });
    }
}
