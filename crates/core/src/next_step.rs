//! The one rule of deployment: from what is wanted and what is seen to what is to be done next.
//!
//! Level-triggered and idempotent: it looks at the present alone, so a restart at any moment loses nothing, and asking
//! again gives the same answer. On one machine the steps act on processes, in a cluster on Kubernetes' objects.

use std::collections::BTreeMap;

use crate::name::VersionId;

/// What is wanted of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The version that is to answer.
    pub version: VersionId,
    /// How many replicas of it.
    pub replicas: u32,
    /// A version that runs beside it.
    pub canary: Option<WantedCanary>,
    /// Whether the service is to go.
    pub deleted: bool,
}

/// A version that is to run beside the one that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedCanary {
    /// The version.
    pub version: VersionId,
    /// How many replicas of it.
    pub replicas: u32,
}

/// What is seen of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The version that requests go to.
    pub live: Option<VersionId>,
    /// Each version that anything is known of.
    pub versions: BTreeMap<VersionId, SeenVersion>,
}

/// What is seen of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenVersion {
    /// Whether its model and environment are on this machine.
    pub prepared: Prepared,
    /// Its replicas by ordinal.
    pub replicas: BTreeMap<u32, SeenReplica>,
    /// Whether it would break callers and nobody has allowed that: it is neither started nor sent requests.
    pub barred: bool,
}

/// How far a version's model and environment are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prepared {
    /// Nothing has been done.
    #[default]
    No,
    /// Under way.
    Running,
    /// Done.
    Yes,
    /// Failed; another try needs another wish.
    Failed,
}

/// How far a replica is. One that died and waits to be started again is `Starting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeenReplica {
    /// Not answering yet.
    Starting,
    /// Answering.
    Ready,
    /// Finishing what it has.
    Stopping,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bring the version's model and environment to this machine.
    Prepare(VersionId),
    /// Start the replica of that ordinal.
    Start(VersionId, u32),
    /// Send requests to this version from now on.
    GoLive(VersionId),
    /// Let the replica finish what it has, then end it.
    Stop(VersionId, u32),
    /// Nothing is left of the deleted service: forget it.
    Forget,
}

/// What to do next, in order. Empty where all is as wanted, or where only time is needed.
pub fn next_steps(wanted: &Wanted, seen: &Seen) -> Vec<Step> {
    if wanted.deleted {
        return take_down(seen);
    }
    let nothing = SeenVersion::default();
    let version = seen.versions.get(&wanted.version).unwrap_or(&nothing);
    let is_live = seen.live.as_ref() == Some(&wanted.version);
    let goes_live = !is_live && may_go_live(wanted, seen, version);

    let mut steps = bring_up(&wanted.version, wanted.replicas, version);
    if goes_live {
        steps.push(Step::GoLive(wanted.version.clone()));
    }
    if let Some(serving) = seen.live.as_ref().filter(|live| **live != wanted.version && !goes_live) {
        let version = seen.versions.get(serving).unwrap_or(&nothing);
        steps.extend(bring_up(serving, wanted.replicas, version));
    }
    // One that still serves becomes the canary once the wanted version is live.
    let serves = |version: &VersionId| seen.live.as_ref() == Some(version) && !is_live && !goes_live;
    let canary = wanted.canary.as_ref().filter(|canary| canary.version != wanted.version && !serves(&canary.version));
    if let Some(WantedCanary { version: name, replicas }) = canary {
        steps.extend(bring_up(name, *replicas, seen.versions.get(name).unwrap_or(&nothing)));
    }
    let is_barred = |version: &VersionId| seen.versions.get(version).is_some_and(|version| version.barred);
    let most = |version: &VersionId| match canary.filter(|canary| canary.version == *version) {
        _ if is_barred(version) => 0,
        _ if *version == wanted.version => wanted.replicas,
        _ if serves(version) => u32::MAX,
        canary => canary.map_or(0, |canary| canary.replicas),
    };
    steps.extend(stop_excess(seen, most));
    steps
}

/// Towards all replicas of a version: the wanted one, and the one that serves until that is ready.
fn bring_up(name: &VersionId, replicas: u32, version: &SeenVersion) -> Vec<Step> {
    let missing = (0..replicas).filter(|ordinal| !version.replicas.contains_key(ordinal));
    match version.prepared {
        _ if version.barred => Vec::new(),
        Prepared::No => vec![Step::Prepare(name.clone())],
        Prepared::Yes => missing.map(|ordinal| Step::Start(name.clone(), ordinal)).collect(),
        Prepared::Running | Prepared::Failed => Vec::new(),
    }
}

/// The first version answers as soon as one replica does; a later one replaces it with its full strength.
fn may_go_live(wanted: &Wanted, seen: &Seen, version: &SeenVersion) -> bool {
    let ready = version.replicas.values().filter(|replica| **replica == SeenReplica::Ready).count();
    let needed = if seen.live.is_none() { wanted.replicas.min(1) } else { wanted.replicas };
    version.prepared == Prepared::Yes && !version.barred && ready >= needed as usize
}

/// Stops what is above the number of replicas that a version may have.
fn stop_excess(seen: &Seen, most: impl Fn(&VersionId) -> u32) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, version) in &seen.versions {
        for (ordinal, replica) in version.replicas.iter().rev() {
            if *ordinal >= most(name) && *replica != SeenReplica::Stopping {
                steps.push(Step::Stop(name.clone(), *ordinal));
            }
        }
    }
    steps
}

fn take_down(seen: &Seen) -> Vec<Step> {
    let all = seen.versions.iter().flat_map(|(name, version)| version.replicas.iter().map(move |r| (name, r)));
    if all.clone().next().is_none() {
        return vec![Step::Forget];
    }
    let running = all.filter(|(_, (_, replica))| **replica != SeenReplica::Stopping);
    running.map(|(name, (ordinal, _))| Step::Stop(name.clone(), *ordinal)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Prepared::*, SeenReplica::*, *};

    fn v(name: &str) -> VersionId {
        name.parse().unwrap()
    }

    fn wanted(version: &str, replicas: u32) -> Wanted {
        Wanted { version: v(version), replicas, canary: None, deleted: false }
    }

    fn seen(live: Option<&str>, versions: &[(&str, Prepared, &[SeenReplica])]) -> Seen {
        let version = |(name, prepared, replicas): &(&str, Prepared, &[SeenReplica])| {
            let replicas = (0..).zip(replicas.iter().copied()).collect();
            (v(name), SeenVersion { prepared: *prepared, replicas, barred: false })
        };
        Seen { live: live.map(v), versions: versions.iter().map(version).collect() }
    }

    fn check(wanted: Wanted, seen: Seen, expected: &[Step]) {
        assert_eq!(next_steps(&wanted, &seen), expected);
    }

    #[test]
    fn a_new_version_is_prepared_first() {
        check(wanted("1", 2), Seen::default(), &[Step::Prepare(v("1"))]);
        check(wanted("1", 2), seen(None, &[("1", Running, &[])]), &[]);
        check(wanted("1", 2), seen(None, &[("1", Failed, &[])]), &[]);
    }

    #[test]
    fn a_prepared_version_gets_its_replicas() {
        let both = [Step::Start(v("1"), 0), Step::Start(v("1"), 1)];
        check(wanted("1", 2), seen(None, &[("1", Yes, &[])]), &both);
        check(wanted("1", 2), seen(None, &[("1", Yes, &[Starting, Starting])]), &[]);
    }

    #[test]
    fn the_first_version_goes_live_with_its_first_ready_replica() {
        check(wanted("1", 2), seen(None, &[("1", Yes, &[Ready, Starting])]), &[Step::GoLive(v("1"))]);
        check(wanted("1", 0), seen(None, &[("1", Yes, &[])]), &[Step::GoLive(v("1"))]);
    }

    #[test]
    fn the_old_version_serves_until_the_new_one_is_at_full_strength() {
        let half = seen(Some("1"), &[("1", Yes, &[Ready, Ready]), ("2", Yes, &[Ready, Starting])]);
        check(wanted("2", 2), half, &[]);
        let full = seen(Some("1"), &[("1", Yes, &[Ready, Ready]), ("2", Yes, &[Ready, Ready])]);
        let steps = [Step::GoLive(v("2")), Step::Stop(v("1"), 1), Step::Stop(v("1"), 0)];
        check(wanted("2", 2), full, &steps);
    }

    #[test]
    fn a_version_that_cannot_be_prepared_leaves_the_old_one_alone() {
        check(wanted("2", 1), seen(Some("1"), &[("1", Yes, &[Ready]), ("2", Failed, &[])]), &[]);
    }

    #[test]
    fn after_a_restart_the_version_that_served_comes_back_beside_the_wanted_one() {
        let nothing_runs = seen(Some("1"), &[("1", Yes, &[]), ("2", Yes, &[])]);
        check(wanted("2", 1), nothing_runs, &[Step::Start(v("2"), 0), Step::Start(v("1"), 0)]);
    }

    #[test]
    fn a_version_overtaken_before_it_was_live_is_stopped() {
        let overtaken = seen(Some("1"), &[("1", Yes, &[Ready]), ("2", Yes, &[Starting]), ("3", Running, &[])]);
        check(wanted("3", 1), overtaken, &[Step::Stop(v("2"), 0)]);
    }

    #[test]
    fn scaling_starts_or_stops_the_highest_ordinals() {
        check(wanted("1", 2), seen(Some("1"), &[("1", Yes, &[Ready])]), &[Step::Start(v("1"), 1)]);
        let three = seen(Some("1"), &[("1", Yes, &[Ready, Ready, Ready])]);
        check(wanted("1", 1), three, &[Step::Stop(v("1"), 2), Step::Stop(v("1"), 1)]);
        check(wanted("1", 1), seen(Some("1"), &[("1", Yes, &[Ready, Stopping])]), &[]);
    }

    #[test]
    fn a_canary_runs_beside_the_live_version_with_replicas_of_its_own() {
        let beside = |version: &str, replicas| {
            let canary = Some(WantedCanary { version: v(version), replicas });
            Wanted { canary, ..wanted("1", 2) }
        };
        let live: (&str, Prepared, &[SeenReplica]) = ("1", Yes, &[Ready, Ready]);
        check(beside("2", 1), seen(Some("1"), &[live]), &[Step::Prepare(v("2"))]);
        check(beside("2", 1), seen(Some("1"), &[live, ("2", Yes, &[])]), &[Step::Start(v("2"), 0)]);
        check(beside("2", 1), seen(Some("1"), &[live, ("2", Yes, &[Ready])]), &[]);
        check(beside("2", 2), seen(Some("1"), &[live, ("2", Yes, &[Ready])]), &[Step::Start(v("2"), 1)]);
        check(beside("2", 1), seen(Some("1"), &[live, ("2", Yes, &[Ready, Ready])]), &[Step::Stop(v("2"), 1)]);
        check(beside("2", 1), seen(Some("1"), &[live, ("2", Failed, &[])]), &[]);
        check(wanted("1", 2), seen(Some("1"), &[live, ("2", Yes, &[Ready])]), &[Step::Stop(v("2"), 0)]);
    }

    #[test]
    fn a_version_that_still_serves_becomes_the_canary_later() {
        let canary = Some(WantedCanary { version: v("2"), replicas: 1 });
        let wish = Wanted { canary, ..wanted("1", 2) };
        let serving: (&str, Prepared, &[SeenReplica]) = ("2", Yes, &[Ready, Ready]);
        check(wish.clone(), seen(Some("2"), &[("1", Yes, &[Starting, Ready]), serving]), &[]);
        let steps = [Step::GoLive(v("1")), Step::Stop(v("2"), 1)];
        check(wish, seen(Some("2"), &[("1", Yes, &[Ready, Ready]), serving]), &steps);
    }

    #[test]
    fn a_version_that_would_break_callers_runs_nowhere() {
        let barred = |replicas: &[SeenReplica], prepared| {
            let mut seen = seen(Some("1"), &[("1", Yes, &[Ready]), ("2", prepared, replicas)]);
            seen.versions.get_mut("2").unwrap().barred = true;
            seen
        };
        check(wanted("2", 1), barred(&[], No), &[]);
        check(wanted("2", 1), barred(&[], Yes), &[]);
        check(wanted("2", 1), barred(&[Ready], Yes), &[Step::Stop(v("2"), 0)]);
        let canary = Some(WantedCanary { version: v("2"), replicas: 1 });
        check(Wanted { canary, ..wanted("1", 1) }, barred(&[Ready], Yes), &[Step::Stop(v("2"), 0)]);
        // Nor is the live one stopped before there is another.
        check(wanted("2", 1), barred(&[Stopping], Yes), &[]);
    }

    #[test]
    fn a_deleted_service_is_forgotten_once_its_replicas_are_gone() {
        let gone = Wanted { deleted: true, ..wanted("1", 2) };
        check(gone.clone(), seen(Some("1"), &[("1", Yes, &[Ready])]), &[Step::Stop(v("1"), 0)]);
        check(gone.clone(), seen(Some("1"), &[("1", Yes, &[Stopping])]), &[]);
        check(gone, seen(Some("1"), &[("1", Yes, &[])]), &[Step::Forget]);
    }
}
