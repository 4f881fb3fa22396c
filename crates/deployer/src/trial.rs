//! A new version on trial at one step of its rollout: since when, and what had been counted by then.
//!
//! This is remembered by the process alone: after another start of KEA the step begins anew.

use std::time::Duration;

use jiff::Timestamp;
use kea_core::{
    rollout::{Rollout, RolloutRules, StepSeen, Verdict, judge},
    tally::Tally,
};
use tokio::time::Instant;

/// One step of one rollout.
#[derive(Debug)]
pub(crate) struct Trial {
    started_at: Timestamp,
    step: usize,
    /// `None` before all replicas for the step are ready.
    begun: Option<Begun>,
    /// What the live version had answered when the rollout was seen first.
    live_at_first: Tally,
    /// Requests that the new version is judged by.
    pub(crate) requests: u64,
    /// What it waits for.
    pub(crate) waits_for: String,
}

/// What there was when the new version got its share.
#[derive(Debug)]
struct Begun {
    at: Instant,
    new: Tally,
    live: Tally,
}

/// What both versions have answered by now, and how the new one is.
pub(crate) struct Looked<'a> {
    pub(crate) at: Instant,
    pub(crate) is_ready: bool,
    pub(crate) failure: Option<&'a str>,
    pub(crate) new: Tally,
    pub(crate) live: Tally,
}

impl Trial {
    /// The one of `rollout` at its step: that of `before` where it still is. The live version's count is kept from one
    /// step to the next.
    pub(crate) fn of(rollout: &Rollout, before: Option<Self>, live: &Tally) -> Self {
        let same = before.filter(|before| before.started_at == rollout.started_at);
        match same {
            Some(same) if same.step == rollout.step => same,
            same => Self {
                started_at: rollout.started_at,
                step: rollout.step,
                begun: None,
                live_at_first: same.map_or_else(|| live.clone(), |same| same.live_at_first),
                requests: 0,
                waits_for: String::new(),
            },
        }
    }

    /// The new version's share while it is on trial, in percent: that of the step once its replicas for it are ready.
    pub(crate) fn weight(trial: Option<&Self>, rollout: &Rollout, rules: &RolloutRules) -> u8 {
        let has_begun = trial.is_some_and(|trial| {
            trial.started_at == rollout.started_at && trial.step == rollout.step && trial.begun.is_some()
        });
        match rollout.step.checked_sub(usize::from(!has_begun)) {
            Some(step) => rules.weight(step),
            None => 0,
        }
    }

    /// Whether all replicas for the step were ready once.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Decides what is to become of it.
    pub(crate) fn look(&mut self, rules: &RolloutRules, looked: &Looked<'_>) -> Verdict {
        let Looked { at, is_ready, failure, new, live } = looked;
        if self.begun.is_none() && *is_ready {
            self.begun = Some(Begun { at: *at, new: new.clone(), live: live.clone() });
        }
        let (new, live) = match &self.begun {
            Some(begun) => (new.since(&begun.new), self.compared(rules, live, begun)),
            None => (Tally::default(), Tally::default()),
        };
        self.requests = rules.judged_by(self.step, &new).requests;
        let elapsed: Option<Duration> = self.begun.as_ref().map(|begun| at.duration_since(begun.at));
        let verdict = judge(rules, self.step, &StepSeen { failure: *failure, elapsed, new: &new, live: &live });
        if let Verdict::Wait(reason) = &verdict {
            self.waits_for.clone_from(reason);
        }
        verdict
    }

    /// What the live version answered at this step; since the first one where that is too little to compare with, as
    /// where the new version has all requests.
    fn compared(&self, rules: &RolloutRules, live: &Tally, begun: &Begun) -> Tally {
        let at_step = live.since(&begun.live);
        if at_step.taken() >= rules.min_requests() { at_step } else { live.since(&self.live_at_first) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> RolloutRules {
        let steps = json!([{"weight": 10, "pause": "60s"}, {"weight": 100, "pause": "60s"}]);
        serde_json::from_value(json!({"steps": steps, "minRequests": 10, "maxErrorRateIncrease": 0.01})).unwrap()
    }

    fn tally(requests: u64, errors: u64) -> Tally {
        Tally { requests, errors, ..Tally::default() }
    }

    /// A rollout on trial, and a clock that moves as the test says.
    struct Scene {
        rollout: Rollout,
        trial: Option<Trial>,
        now: Instant,
        new: Tally,
        live: Tally,
    }

    impl Scene {
        fn new() -> Self {
            let rollout = Rollout::begin("1".parse().unwrap(), Timestamp::UNIX_EPOCH);
            // Counted before, as when another rollout was given up.
            Self { rollout, trial: None, now: Instant::now(), new: tally(500, 500), live: tally(900, 0) }
        }

        /// So much later both have answered more: requests, and those that failed.
        fn after(&mut self, seconds: u64, new: (u64, u64), live: (u64, u64)) -> &mut Self {
            self.now += Duration::from_secs(seconds);
            for (tally, (requests, errors)) in [(&mut self.new, new), (&mut self.live, live)] {
                tally.requests += requests;
                tally.errors += errors;
            }
            self
        }

        fn look(&mut self, is_ready: bool) -> Verdict {
            let (new, live) = (self.new.clone(), self.live.clone());
            let mut trial = Trial::of(&self.rollout, self.trial.take(), &live);
            let verdict = trial.look(&rules(), &Looked { at: self.now, is_ready, failure: None, new, live });
            self.trial = Some(trial);
            if let Verdict::Advance(_) = verdict {
                self.rollout.step += 1;
            }
            verdict
        }

        fn weight(&self) -> u8 {
            Trial::weight(self.trial.as_ref(), &self.rollout, &rules())
        }
    }

    #[test]
    fn the_share_and_the_pause_begin_once_the_replicas_are_ready() {
        let mut scene = Scene::new();
        assert!(matches!(scene.look(false), Verdict::Wait(_)));
        assert_eq!(scene.weight(), 0);
        scene.after(3_600, (0, 0), (50, 0));
        assert!(matches!(scene.look(true), Verdict::Wait(_)));
        assert_eq!(scene.weight(), 10);
        scene.after(59, (20, 0), (50, 0));
        assert!(matches!(scene.look(true), Verdict::Wait(_)));
        assert_eq!(scene.trial.as_ref().unwrap().requests, 20, "what was counted before is none of this step's");
        // A replica that is lost meanwhile does not begin it anew.
        assert!(matches!(scene.after(1, (0, 0), (0, 0)).look(false), Verdict::Advance(_)));
        // More replicas are needed for the next share: until they are there, it has that of before.
        assert!(matches!(scene.look(false), Verdict::Wait(_)));
        assert_eq!(scene.weight(), 10);
        scene.look(true);
        assert_eq!(scene.weight(), 100);
    }

    #[test]
    fn with_all_requests_it_is_compared_with_what_the_live_version_answered_before() {
        let mut scene = Scene::new();
        scene.look(true);
        assert!(matches!(scene.after(60, (20, 0), (100, 2)).look(true), Verdict::Advance(_)));
        scene.look(true);
        let verdict = scene.after(1, (100, 4), (0, 0)).look(true);
        let Verdict::Return(reason) = verdict else { panic!("{verdict:?}") };
        assert!(reason.starts_with("4 % of its 100 requests failed, against 2 % of the live version's"), "{reason}");
    }

    #[test]
    fn another_rollout_is_judged_by_its_own_numbers() {
        let mut scene = Scene::new();
        scene.look(true);
        scene.after(30, (100, 0), (100, 0)).look(true);
        scene.rollout.started_at = Timestamp::now();
        assert_eq!(scene.weight(), 0);
        scene.look(true);
        assert_eq!(scene.trial.as_ref().unwrap().requests, 0);
    }
}
