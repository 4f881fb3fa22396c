//! Progressive rollouts: a new version takes over step by step, as long as what it answers holds.
//!
//! [`judge`] is the rule: from the step that a version is at and what was counted over it to what is to become of it. It is
//! pure; who counts and who remembers is the deployer's matter.

mod rules;
mod told;

use std::{fmt, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    name::VersionId,
    quantity::Span,
    service::{Canary, Service},
    tally::Tally,
};

pub use rules::{RolloutRules, RolloutStep};
pub use told::TAKE_THE_REQUESTS;

/// How far a new version is; kept with its service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// The version that answers meanwhile, and to which it goes back.
    pub from: VersionId,
    /// Tells it from another one of the same versions.
    pub started_at: Timestamp,
    /// The step that it is at, counted from 0.
    pub step: usize,
    /// What became of it.
    pub phase: RolloutPhase,
    /// Why it is there, in one sentence.
    pub reason: String,
}

impl Rollout {
    /// One that begins.
    pub fn begin(from: VersionId, started_at: Timestamp) -> Self {
        Self { from, started_at, step: 0, phase: RolloutPhase::Progressing, reason: String::new() }
    }

    /// Whether it is under way.
    pub fn is_progressing(&self) -> bool {
        self.phase == RolloutPhase::Progressing
    }
}

impl Service {
    /// The version that is to have all requests but for the share of another one.
    pub fn stable(&self) -> &VersionId {
        let rollout = self.rollout.as_ref().filter(|rollout| rollout.phase != RolloutPhase::Promoted);
        rollout.map_or(&self.version, |rollout| &rollout.from)
    }

    /// The version that is to run beside that one: a canary, or one that is to take over step by step.
    pub fn beside(&self) -> Option<Canary> {
        let rollout = self.rollout.as_ref().filter(|rollout| rollout.is_progressing());
        let weight = |rollout: &Rollout| self.settings.rollout.weight(rollout.step);
        let new = rollout.map(|rollout| Canary { version: self.version.clone(), weight: weight(rollout) });
        new.or_else(|| self.canary.clone())
    }
}

/// What became of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RolloutPhase {
    /// It is under way.
    Progressing,
    /// The new version has taken over, or does so as soon as all of its replicas are ready.
    Promoted,
    /// The version before has all requests again.
    Returned,
}

impl RolloutPhase {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Progressing => "progressing",
            Self::Promoted => "promoted",
            Self::Returned => "returned",
        }
    }
}

/// How far a rollout is, as the API tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The new version.
    pub version: VersionId,
    /// The version to which it goes back.
    pub from: VersionId,
    /// What became of it.
    pub phase: RolloutPhase,
    /// The step that it is at, counted from 1, or the last one that it was at.
    pub step: usize,
    /// How many steps there are.
    pub steps: usize,
    /// The new version's share of the requests now, in percent.
    pub weight: u8,
    /// Requests that the new version was judged by at this step.
    pub requests: u64,
    /// Why it is there, or what it waits for.
    pub reason: String,
    /// When it began.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
}

/// What is seen of a rollout at one of its steps.
#[derive(Clone, Debug)]
pub struct StepSeen<'a> {
    /// Why the new version will not run, where that is known.
    pub failure: Option<&'a str>,
    /// How long it has had its share; `None` before all of its replicas for that are ready.
    pub elapsed: Option<Duration>,
    /// What the new version answered at this step.
    pub new: &'a Tally,
    /// What the live version answered meanwhile.
    pub live: &'a Tally,
}

/// What is to become of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays at its step.
    Wait(String),
    /// It goes on to the next step.
    Advance(String),
    /// The new version takes over.
    Promote(String),
    /// All requests go back to the version before.
    Return(String),
}

/// Decides what is to become of a rollout at that step, counted from 0.
pub fn judge(rules: &RolloutRules, step: usize, seen: &StepSeen<'_>) -> Verdict {
    if let Some(failure) = seen.failure {
        return Verdict::Return(format!("it does not run: {failure}"));
    }
    let Some(at) = rules.steps.get(step) else {
        return Verdict::Promote("there are no more steps".into());
    };
    let Some(elapsed) = seen.elapsed else { return Verdict::Wait("its replicas are not ready".into()) };
    let new = &rules.judged_by(step, seen.new);
    if let Some(broken) = broken(rules, new, seen.live) {
        return Verdict::Return(broken);
    }
    // Whoever limits differences wants them looked for.
    let compared = rules.max_difference_rate.filter(|_| at.shadow).map(|_| new.shadow.counts.compared());
    let (pause, taken, needed) = (at.pause(), compared.unwrap_or(new.taken()), rules.min_requests());
    let counted = format!("{taken} of at least {needed} requests{}", if at.shadow { " in shadow" } else { "" });
    match rules.progress_deadline {
        _ if elapsed < pause => Verdict::Wait(format!("{counted} so far, within a pause of {}", Span(pause))),
        _ if taken >= needed && step + 1 < rules.steps.len() => Verdict::Advance(told(new)),
        _ if taken >= needed => Verdict::Promote(told(new)),
        Some(Span(deadline)) if elapsed >= pause + deadline => {
            Verdict::Return(format!("{counted} came within {}", Span(pause + deadline)))
        }
        _ => Verdict::Wait(format!("{counted} so far: it waits for more")),
    }
}

/// The first rule that what was counted breaks.
fn broken(rules: &RolloutRules, new: &Tally, live: &Tally) -> Option<String> {
    let needed = rules.min_requests();
    let both = |count: fn(&Tally) -> u64| (count(new) >= needed, count(live) >= needed);
    let rejected = both(|tally| tally.requests);
    let errors = both(Tally::taken);
    let of_rejected = Rate {
        what: "did not fit its contract",
        of: new.requests,
        new: new.rejected_rate(),
        live: live.rejected_rate(),
        most: rules.max_validation_failure_rate,
        most_above: Some(rules.max_validation_failure_rate_increase()),
    };
    let of_errors = Rate {
        what: "failed",
        of: new.taken(),
        new: new.error_rate(),
        live: live.error_rate(),
        most: Some(rules.max_error_rate()),
        most_above: rules.max_error_rate_increase,
    };
    let compared = new.shadow.counts.compared();
    let of_differences = Rate {
        what: "were answered differently by the live version",
        of: compared,
        new: new.difference_rate(),
        live: 0.0,
        most: rules.max_difference_rate,
        most_above: None,
    };
    let by_rate = of_rejected.broken(rejected).or_else(|| of_errors.broken(errors));
    let by_rate = by_rate.or_else(|| of_differences.broken((compared >= needed, false)));
    by_rate.or_else(|| too_slow(rules, errors, new.latency.p99()?, live.latency.p99()))
}

/// A share of the new version's requests, and how large it may be.
struct Rate {
    what: &'static str,
    of: u64,
    new: f64,
    live: f64,
    most: Option<f64>,
    most_above: Option<f64>,
}

impl Rate {
    /// Why it is too large, where enough was counted of the new version, and of the live one to compare it with.
    fn broken(&self, (enough, comparable): (bool, bool)) -> Option<String> {
        let Self { what, of, new, live, most, most_above } = self;
        let told = |rule: String| format!("{} % of its {of} requests {what}, {rule}", Percent(*new));
        if let Some(most) = most.filter(|most| enough && new > most) {
            return Some(told(format!("and at most {} % may", Percent(most))));
        }
        let above = most_above.filter(|above| enough && comparable && *new > live + above)?;
        let live = format!("against {} % of the live version's", Percent(*live));
        Some(told(format!("{live}, and at most {} points more may", Percent(above))))
    }
}

fn too_slow(
    rules: &RolloutRules,
    (enough, comparable): (bool, bool),
    new: Duration,
    live: Option<Duration>,
) -> Option<String> {
    if let Some(Span(most)) = rules.max_p99.filter(|most| enough && new > most.0) {
        return Some(format!("its p99 is {}, and at most {} may be", Millis(new), Millis(most)));
    }
    let live = live.filter(|_| enough && comparable)?;
    let increase = rules.max_p99_increase.filter(|increase| new > live.mul_f64(1.0 + increase))?;
    let (new, live, increase) = (Millis(new), Millis(live), Percent(increase));
    Some(format!("its p99 is {new} against {live} of the live version, and at most {increase} % more may be"))
}

/// The numbers that a step was passed with.
fn told(new: &Tally) -> String {
    let p99 = new.latency.p99().map(|p99| format!(", p99 {}", Millis(p99))).unwrap_or_default();
    let (failed, rejected) = (Percent(new.error_rate()), Percent(new.rejected_rate()));
    let compared = new.shadow.counts.compared();
    let differ = match compared {
        0 => String::new(),
        _ => format!(", {} % of {compared} were answered differently", Percent(new.difference_rate())),
    };
    format!("of {} requests {failed} % failed and {rejected} % did not fit{differ}{p99}", new.requests)
}

/// A share as people read it: to a tenth of a percent.
struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", (self.0 * 1000.0).round() / 10.0)
    }
}

/// A time in milliseconds, to a tenth.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", (self.0.as_secs_f64() * 10_000.0).round() / 10.0)
    }
}

#[cfg(test)]
mod tests;
