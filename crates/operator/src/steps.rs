//! How a new version takes over step by step in a cluster: from what the status says and what is seen to what the status
//! is to say. Nothing is remembered elsewhere, so that any operator can go on.

use std::time::Duration;

use jiff::Timestamp;
use kea_core::{
    VersionId,
    quantity::Span,
    rollout::{Rollout, RolloutPhase, RolloutRules, RolloutStatus, StepSeen, Verdict, judge},
    service::Canary,
    shadow::Shadow,
    tally::Tally,
};

use crate::{
    names,
    resources::{MlDeployment, RolloutRecord},
    status::Failure,
    version::VersionRecord,
    wish::{CanaryWish, Role, Wish},
};

/// How long each router is to have counted a step before it is passed, where the step's pause is not shorter: what a router
/// has counted is lost with it, and the one in its place may have seen nothing yet.
const COUNTED: Duration = Duration::from_secs(60);

/// How much later than the step a router may begin to count without a word: it hears of the step by its watch.
const LATE: Duration = Duration::from_secs(10);

/// How long a step waits for what may pass, routers that do not tell and images that cannot be pulled, where there is no
/// `progressDeadline`.
const PATIENCE: Duration = Duration::from_secs(600);

/// What all routers have counted at a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) new: Tally,
    pub(crate) live: Tally,
    pub(crate) live_since_first: Tally,
    /// The router that has counted for the shortest time, and for how long.
    pub(crate) shortest: Option<(String, Duration)>,
    /// Why numbers of a router are missing.
    pub(crate) silent: Option<String>,
}

/// What is seen of a new version.
#[derive(Clone, Debug)]
pub(crate) struct Look<'a> {
    pub(crate) now: Timestamp,
    /// Whether all replicas for the step are ready.
    pub(crate) is_ready: bool,
    /// Why it does not run.
    pub(crate) failure: Option<&'a Failure>,
    pub(crate) counts: &'a Counts,
}

/// The rollout of what is asked for: the one that the status tells of, or one that begins `now`. There is none where the
/// version takes over at once.
pub(crate) fn current(
    owner: &MlDeployment,
    wish: &Wish,
    live: Option<&VersionId>,
    now: Timestamp,
) -> Option<RolloutRecord> {
    let live = live?;
    let told = owner.status.as_ref().and_then(|status| status.rollout.clone());
    let before = told.filter(|record| is_about(record, owner, wish));
    if wish.version == *live {
        let done = before.filter(|record| record.told.phase == RolloutPhase::Promoted)?;
        return Some(RolloutRecord { told: RolloutStatus { weight: 100, ..done.told }, ..done });
    }
    // One that went back stays there, also where later ones are to take over at once.
    if let Some(returned) = before.as_ref().filter(|record| record.told.phase == RolloutPhase::Returned)
        && (wish.canary.is_none() && returned.told.from == *live)
    {
        return before;
    }
    let rules = &wish.settings.rollout;
    if !rules.is_asked() || wish.canary.is_some() || is_by_hand(owner, wish) {
        return None;
    }
    match before.filter(|record| record.told.from == *live) {
        Some(before) => Some(before),
        None if wish.replicas == 0 => None,
        None => Some(begin(wish.version.clone(), live.clone(), rules.steps.len(), now)),
    }
}

fn begin(version: VersionId, from: VersionId, steps: usize, started_at: Timestamp) -> RolloutRecord {
    let (phase, reason) = (RolloutPhase::Progressing, String::new());
    let told = RolloutStatus { version, from, phase, step: 1, steps, weight: 0, requests: 0, reason, started_at };
    RolloutRecord { told, step_started_at: None, silent_since: None, failing_since: None }
}

/// Whether a rollout is that of what is asked for now, and nobody has asked for anything else since.
pub(crate) fn is_about(record: &RolloutRecord, owner: &MlDeployment, wish: &Wish) -> bool {
    let RolloutStatus { version, phase, started_at, .. } = &record.told;
    let again = annotation(owner, names::TRY_AGAIN).and_then(|time| time.parse::<Timestamp>().ok());
    let is_again = *phase == RolloutPhase::Returned && again.is_some_and(|again| again > *started_at);
    *version == wish.version && !is_by_hand(owner, wish) && !is_again
}

/// Whether somebody has said that the version is to take over without waiting.
fn is_by_hand(owner: &MlDeployment, wish: &Wish) -> bool {
    wish.is_named || annotation(owner, names::PROMOTE) == Some(wish.version.as_str())
}

fn annotation<'a>(owner: &'a MlDeployment, name: &str) -> Option<&'a str> {
    owner.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// What is to be done for a wish at this stage of its rollout: until it is promoted, the version before stays, with the new
/// one as its canary; once it went back, without.
pub(crate) fn acting(wish: Wish, rollout: Option<&RolloutRecord>, records: &[VersionRecord]) -> Wish {
    let Some(told) = rollout.map(|record| &record.told).filter(|told| told.phase != RolloutPhase::Promoted) else {
        return wish;
    };
    let Some(from) = records.iter().find(|record| record.version == told.from) else { return wish };
    let role = role(&wish, told.step.saturating_sub(1));
    let new = CanaryWish { version: wish.version, model: wish.model, role };
    let canary = (told.phase == RolloutPhase::Progressing).then_some(new);
    Wish { version: from.version.clone(), model: from.model.clone(), canary, ..wish }
}

/// What the new version gets at a step, counted from 0.
fn role(wish: &Wish, step: usize) -> Role {
    let (rules, version) = (&wish.settings.rollout, &wish.version);
    let canary = || Role::Canary(Canary { version: version.clone(), weight: rules.weight(step) });
    rules.shadow(step, version).map_or_else(canary, Role::Shadow)
}

/// The new version as the shadow that it is for routers, once its step in shadow has begun.
pub(crate) fn copies(owner: &MlDeployment, wish: &Wish) -> Option<Shadow> {
    let record = owner.status.as_ref()?.rollout.as_ref().filter(|record| record.told.version == wish.version)?;
    let has_begun = record.is_progressing() && record.step_started_at.is_some();
    let shadow = || wish.settings.rollout.shadow(record.told.step.saturating_sub(1), &wish.version);
    has_begun.then(shadow).flatten()
}

/// The share of the requests that routers give the new version. One that was promoted keeps its own until it is live.
pub(crate) fn share(owner: &MlDeployment, version: &VersionId) -> Option<Canary> {
    let status = owner.status.as_ref()?;
    let told = status.rollout.as_ref().map(|record| &record.told).filter(|told| told.version == *version)?;
    let has_share = match told.phase {
        RolloutPhase::Progressing => true,
        RolloutPhase::Promoted => status.live_version.as_ref() != Some(version),
        RolloutPhase::Returned => false,
    };
    has_share.then(|| Canary { version: version.clone(), weight: told.weight })
}

/// What becomes of a rollout that is under way.
pub(crate) fn looked(record: &RolloutRecord, rules: &RolloutRules, look: &Look<'_>) -> RolloutRecord {
    let step = record.told.step.saturating_sub(1);
    let begins = record.step_started_at.is_none() && look.is_ready;
    let mut after = record.clone();
    after.told.steps = rules.steps.len();
    if begins {
        after.step_started_at = Some(look.now);
        after.told.weight = rules.weight(step);
    }
    let is_silent = after.step_started_at.is_some() && look.counts.silent.is_some();
    after.silent_since = is_silent.then(|| record.silent_since.unwrap_or(look.now));
    let passing = look.failure.filter(|failure| failure.passes);
    after.failing_since = passing.map(|_| record.failing_since.unwrap_or(look.now));
    // One that has lasted for long enough does not pass.
    let passing = passing.filter(|_| !is_over(after.failing_since, rules, look));
    let failure = look.failure.filter(|_| passing.is_none()).map(|failure| failure.why.as_str());
    let elapsed = after.step_started_at.map(|began| passed(began, look, rules, step));
    let compared = look.counts.compared(rules);
    let seen = StepSeen { failure, elapsed, new: &look.counts.new, live: compared };
    after.told.requests = rules.judged_by(step, &look.counts.new).requests;
    let verdict = judge(rules, step, &seen);
    let verdict = with_all_numbers(verdict, &after, rules, look);
    let verdict = match passing {
        Some(failure) => once_it_runs(verdict, failure),
        None => verdict,
    };
    decide(after, verdict)
}

fn decide(record: RolloutRecord, verdict: Verdict) -> RolloutRecord {
    let RolloutRecord { told, step_started_at, .. } = record;
    let over = |told, step_started_at| RolloutRecord { told, step_started_at, silent_since: None, failing_since: None };
    match verdict {
        Verdict::Wait(reason) => RolloutRecord { told: RolloutStatus { reason, ..told }, ..record },
        Verdict::Advance(reason) => over(RolloutStatus { step: told.step + 1, requests: 0, reason, ..told }, None),
        Verdict::Promote(reason) => {
            over(RolloutStatus { phase: RolloutPhase::Promoted, reason, ..told }, step_started_at)
        }
        Verdict::Return(reason) => {
            over(RolloutStatus { phase: RolloutPhase::Returned, weight: 0, reason, ..told }, step_started_at)
        }
    }
}

/// Whether what may pass has lasted for as long as it is waited for.
fn is_over(since_when: Option<Timestamp>, rules: &RolloutRules, look: &Look<'_>) -> bool {
    since_when.is_some_and(|when| since(when, look.now) >= patience(rules))
}

fn patience(rules: &RolloutRules) -> Duration {
    rules.progress_deadline.map_or(PATIENCE, |deadline| deadline.0)
}

/// The same verdict, unless it would let a version go on of which a replica does not run.
fn once_it_runs(verdict: Verdict, Failure { why, .. }: &Failure) -> Verdict {
    match verdict {
        Verdict::Return(reason) => Verdict::Return(reason),
        Verdict::Wait(reason) => Verdict::Wait(format!("{reason}: {why}")),
        Verdict::Advance(_) | Verdict::Promote(_) => Verdict::Wait(format!("it does not run: {why}")),
    }
}

/// How much of the step has passed: as long as a router has not counted for long enough, no more than it has counted.
fn passed(began: Timestamp, look: &Look<'_>, rules: &RolloutRules, step: usize) -> Duration {
    let whole = since(began, look.now);
    let needed = needed(rules, step);
    let shortest = look.counts.shortest.as_ref().map(|(_, counted)| *counted).filter(|counted| *counted < needed);
    shortest.map_or(whole, |counted| counted.min(whole))
}

/// How long each router is to have counted a step before it is passed.
fn needed(rules: &RolloutRules, step: usize) -> Duration {
    rules.steps.get(step).map_or(COUNTED, |step| step.pause().min(COUNTED))
}

/// The same verdict, unless it would let a version go on by numbers of which some are missing. It goes back by what there
/// is, since those who get its failures do not wait either.
fn with_all_numbers(verdict: Verdict, record: &RolloutRecord, rules: &RolloutRules, look: &Look<'_>) -> Verdict {
    let Some(began) = record.step_started_at else { return verdict };
    let whole = since(began, look.now);
    let needed = needed(rules, record.told.step.saturating_sub(1));
    let Some(missing) = look.counts.missing(whole, needed) else { return verdict };
    // A router that counts anew will have counted for long enough; one that says nothing may never say anything.
    let most = patience(rules);
    let is_over = is_over(record.silent_since, rules, look);
    match verdict {
        Verdict::Return(reason) => Verdict::Return(reason),
        _ if is_over => Verdict::Return(format!("it could not be judged for {}: {missing}", Span(most))),
        Verdict::Wait(reason) => Verdict::Wait(format!("{reason}; {missing}")),
        Verdict::Advance(_) | Verdict::Promote(_) => {
            Verdict::Wait(format!("it is not judged without all numbers: {missing}"))
        }
    }
}

/// Clocks of machines differ, and never by less than nothing.
fn since(began: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(began)).unwrap_or_default()
}

impl Counts {
    /// What the live version is compared by: its step alone, or, where too little came to it, all since the first one.
    fn compared(&self, rules: &RolloutRules) -> &Tally {
        if self.live.taken() >= rules.min_requests() { &self.live } else { &self.live_since_first }
    }

    /// Which numbers there are not, of a step that has lasted so long, where each router is `needed` for some time.
    fn missing(&self, whole: Duration, needed: Duration) -> Option<String> {
        let late = || {
            let (router, counted) = self.shortest.as_ref()?;
            let is_late = *counted < needed && *counted + LATE < whole;
            is_late.then(|| format!("router {router} has counted for {} s only", counted.as_secs()))
        };
        self.silent.clone().or_else(late)
    }
}

impl RolloutRecord {
    /// Whether it is under way.
    pub(crate) fn is_progressing(&self) -> bool {
        self.told.phase == RolloutPhase::Progressing
    }

    /// What has happened since `before`, where it has come to another step or phase, as people are told.
    pub(crate) fn change(&self, before: Option<&Self>, rules: &RolloutRules) -> Option<String> {
        let RolloutStatus { version, from, phase, step, reason, started_at, .. } = &self.told;
        let same = before.filter(|before| before.told.started_at == *started_at);
        let Some(before) = same else {
            let told = || format!("version {version} is to take over from version {from} in {} steps", self.told.steps);
            return self.is_progressing().then(told);
        };
        let is_same = (before.told.phase, before.told.step) == (*phase, *step);
        let rollout = Rollout {
            from: from.clone(),
            started_at: *started_at,
            step: step.saturating_sub(1),
            phase: *phase,
            reason: reason.clone(),
        };
        (!is_same).then(|| rollout.change(version, rules))
    }
}

#[cfg(test)]
mod tests;
