//! The condition of one replica: a circuit breaker that its answers move, and a verdict of the probes.
//!
//! Closed: requests go there. Open: failures in a row have ejected it for a while, which grows each time. Half open: the
//! while is over, and a probe finds out, or one request that can be sent again if it fails. A probe alone proves less than
//! an answer, so after it a single failure ejects again.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::HealthRule;

/// Longest ejection, in nanoseconds.
const EJECTION_MAX: u64 = 300_000_000_000;

/// Who has answered for that long begins anew with short ejections, in nanoseconds.
const FORGIVEN_AFTER: u64 = EJECTION_MAX;

/// The share that a replica begins with when it starts slowly.
const FIRST_SHARE: f64 = 0.1;

/// Whether a replica gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It does.
    Up,
    /// One that finds out whether it is back, unless a probe does.
    Trial,
    /// None.
    Down,
}

/// How a replica is. Times are those of [`crate::clock`].
#[derive(Debug, Default)]
pub(crate) struct Condition {
    /// Requests that failed in a row.
    failures: AtomicU32,
    /// End of the ejection; 0: it is not ejected.
    until: AtomicU64,
    /// Ejections without a long time of health between them.
    ejections: AtomicU32,
    /// Whether a request or a probe is on its way that finds out.
    on_trial: AtomicBool,
    /// What the probes say.
    unfit: AtomicBool,
    /// Probes in a row that say otherwise.
    contrary: AtomicU32,
    /// Since when it gets requests, where it starts slowly; 0: it has its full share.
    since: AtomicU64,
    /// When it last answered.
    answered: AtomicU64,
    /// When the next probe is due.
    next_probe: AtomicU64,
}

impl Condition {
    /// That of a replica that joins others, or is one of the first, which need not start slowly.
    pub(crate) fn new(joins: Option<u64>) -> Self {
        Self { since: joins.unwrap_or_default().into(), ..Self::default() }
    }

    /// Whether it gets requests.
    pub(crate) fn state(&self, now: u64) -> State {
        if self.unfit.load(Relaxed) {
            return State::Down;
        }
        match self.until.load(Relaxed) {
            0 => State::Up,
            until if until > now => State::Down,
            _over => State::Trial,
        }
    }

    /// Whether the request or the probe that asks is the one that finds out. Should nothing be heard of it, another one
    /// may after as long as the first ejection took.
    pub(crate) fn claim_trial(&self, now: u64, rule: &HealthRule) -> bool {
        if self.state(now) != State::Trial {
            return false;
        }
        let until = self.until.load(Relaxed);
        let claimed = until != 0
            && until <= now
            && self.until.compare_exchange(until, now + rule.ejection, Relaxed, Relaxed).is_ok();
        if claimed {
            self.on_trial.store(true, Relaxed);
        }
        claimed
    }

    /// It has answered as it should.
    pub(crate) fn succeeded(&self, now: u64) {
        self.answered.store(now, Relaxed);
        // Most of the time there is nothing to write, and the line stays in each processor's cache.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        self.readmit(now);
    }

    /// Ends an ejection. True where there was one.
    fn readmit(&self, now: u64) -> bool {
        let was_ejected = self.until.load(Relaxed) != 0 && self.until.swap(0, Relaxed) != 0;
        if was_ejected {
            self.on_trial.store(false, Relaxed);
            self.since.store(now, Relaxed);
        }
        was_ejected
    }

    /// It has failed a request. True where that has ejected it.
    pub(crate) fn failed(&self, now: u64, rule: &HealthRule) -> bool {
        if rule.eject_after == 0 {
            return false;
        }
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        if self.until.load(Relaxed) == 0 {
            return failures >= rule.eject_after && self.eject(now, rule);
        }
        // Of requests that were under way when it was ejected nothing new is learnt.
        self.on_trial.swap(false, Relaxed) && self.eject(now, rule)
    }

    fn eject(&self, now: u64, rule: &HealthRule) -> bool {
        let healthy_for = now.saturating_sub(self.since.load(Relaxed));
        if self.until.load(Relaxed) == 0 && healthy_for > FORGIVEN_AFTER {
            self.ejections.store(0, Relaxed);
        }
        let times = self.ejections.fetch_add(1, Relaxed).saturating_add(1);
        let span = rule.ejection.saturating_mul(times.into()).min(EJECTION_MAX.max(rule.ejection));
        self.until.store(now + span, Relaxed);
        true
    }

    /// What a probe has found.
    pub(crate) fn probed(&self, healthy: bool, now: u64, rule: &HealthRule) {
        if self.on_trial.swap(false, Relaxed) {
            self.tried(healthy, now, rule);
        }
        let unfit = self.unfit.load(Relaxed);
        if healthy != unfit {
            self.contrary.store(0, Relaxed);
            return;
        }
        let needed = if healthy { rule.healthy_after } else { rule.unhealthy_after };
        if self.contrary.fetch_add(1, Relaxed) + 1 < needed {
            return;
        }
        self.contrary.store(0, Relaxed);
        self.unfit.store(!healthy, Relaxed);
        if healthy {
            self.since.store(now, Relaxed);
        }
    }

    /// Nobody probes it any more: what probes have found is forgotten.
    pub(crate) fn unprobed(&self) {
        if self.unfit.load(Relaxed) {
            self.unfit.store(false, Relaxed);
            self.contrary.store(0, Relaxed);
        }
    }

    /// What a probe on trial has found.
    fn tried(&self, healthy: bool, now: u64, rule: &HealthRule) {
        if !healthy {
            self.eject(now, rule);
        } else if self.readmit(now) {
            self.failures.store(rule.eject_after.saturating_sub(1), Relaxed);
        }
    }

    /// Whether a probe is due; the next one is then due after the interval. Who has answered meanwhile needs none; who was
    /// ejected is asked as soon as that is over.
    ///
    /// No two probes come in a shorter time than `pace`, but for the one that is a trial.
    pub(crate) fn claim_probe(&self, now: u64, rule: &HealthRule, pace: u64) -> bool {
        let due = self.next_probe.load(Relaxed);
        if !rule.probes() {
            return false;
        }
        let interval = rule.interval.max(pace);
        if self.claim_trial(now, rule) {
            self.next_probe.store(now + interval, Relaxed);
            return true;
        }
        if now < due {
            return false;
        }
        self.next_probe.store(now + interval, Relaxed);
        let answered = self.answered.load(Relaxed);
        let is_known = answered != 0 && answered + interval > now && self.state(now) == State::Up;
        // The first probe is due an interval after the replica came: who starts it has just asked it.
        due != 0 && !is_known
    }

    /// The part of its share that it gets, from 0.1 to 1.
    pub(crate) fn share(&self, now: u64, rule: &HealthRule) -> f64 {
        let since = self.since.load(Relaxed);
        if since == 0 || rule.slow_start == 0 {
            return 1.0;
        }
        (now.saturating_sub(since) as f64 / rule.slow_start as f64).clamp(FIRST_SHARE, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use kea_core::Settings;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rule() -> HealthRule {
        HealthRule::of(&Settings::default())
    }

    fn fail(condition: &Condition, times: u32, now: u64) -> u32 {
        (0..times).map(|_| u32::from(condition.failed(now, &rule()))).sum()
    }

    #[test]
    fn failures_in_a_row_eject_and_others_do_not() {
        let condition = Condition::default();
        for _ in 0..10 {
            assert_eq!(fail(&condition, 4, SECOND), 0);
            condition.succeeded(SECOND);
        }
        assert_eq!(condition.state(SECOND), State::Up);
        assert_eq!(fail(&condition, 5, SECOND), 1);
        assert_eq!(condition.state(2 * SECOND), State::Down);
    }

    #[test]
    fn one_request_alone_finds_out_whether_a_replica_is_back() {
        let condition = Condition::default();
        fail(&condition, 5, SECOND);
        assert!(!condition.claim_trial(5 * SECOND, &rule()));
        assert_eq!(condition.state(6 * SECOND), State::Trial);
        assert!(condition.claim_trial(6 * SECOND, &rule()));
        assert!(!condition.claim_trial(6 * SECOND, &rule()));
        assert_eq!(condition.state(6 * SECOND), State::Down);
        condition.succeeded(7 * SECOND);
        assert_eq!(condition.state(7 * SECOND), State::Up);
        assert!(condition.share(7 * SECOND, &rule()) < 0.2, "it starts slowly");
        assert!(condition.share(17 * SECOND, &rule()) >= 1.0);
    }

    #[test]
    fn a_trial_of_which_nothing_is_heard_is_followed_by_another() {
        let condition = Condition::default();
        fail(&condition, 5, SECOND);
        assert!(condition.claim_trial(6 * SECOND, &rule()));
        assert!(!condition.claim_trial(10 * SECOND, &rule()));
        assert!(condition.claim_trial(11 * SECOND, &rule()));
    }

    #[test]
    fn each_ejection_is_longer_and_health_is_rewarded() {
        let condition = Condition::default();
        let mut now = SECOND;
        fail(&condition, 5, now);
        for times in 1..100 {
            let span = (5 * times * SECOND).min(EJECTION_MAX);
            assert_eq!(condition.state(now + span - 1), State::Down, "{times}");
            now += span;
            assert!(condition.claim_trial(now, &rule()), "{times}");
            assert_eq!(fail(&condition, 1, now), 1, "a failed trial is enough");
        }
        now += EJECTION_MAX;
        assert!(condition.claim_trial(now, &rule()));
        condition.succeeded(now);
        now += FORGIVEN_AFTER + 1;
        assert_eq!(fail(&condition, 5, now), 1);
        assert_eq!(condition.state(now + 5 * SECOND), State::Trial);
    }

    #[test]
    fn requests_that_were_under_way_do_not_lengthen_an_ejection() {
        let condition = Condition::default();
        assert_eq!(fail(&condition, 50, SECOND), 1);
        assert_eq!(condition.state(6 * SECOND), State::Trial);
    }

    #[test]
    fn probes_take_a_replica_out_and_bring_it_back() {
        let condition = Condition::default();
        condition.probed(false, SECOND, &rule());
        condition.probed(true, SECOND, &rule());
        condition.probed(false, SECOND, &rule());
        assert_eq!(condition.state(SECOND), State::Up);
        condition.probed(false, SECOND, &rule());
        assert_eq!(condition.state(SECOND), State::Down);
        condition.probed(true, 2 * SECOND, &rule());
        assert_eq!(condition.state(2 * SECOND), State::Up);
    }

    #[test]
    fn a_probe_brings_an_ejected_replica_back_on_probation() {
        let condition = Condition::default();
        fail(&condition, 5, SECOND);
        assert!(!condition.claim_probe(2 * SECOND, &rule(), 0));
        assert!(condition.claim_probe(6 * SECOND, &rule(), 0), "the ejection is over");
        assert!(!condition.claim_trial(6 * SECOND, &rule()), "no request does the same");
        condition.probed(true, 6 * SECOND, &rule());
        assert_eq!(condition.state(6 * SECOND), State::Up);
        assert_eq!(fail(&condition, 1, 7 * SECOND), 1, "a probe proves little");
        assert!(condition.claim_probe(17 * SECOND, &rule(), 0));
        condition.probed(false, 17 * SECOND, &rule());
        assert_eq!(condition.state(31 * SECOND), State::Down, "the third ejection is longer");
        assert!(condition.claim_probe(32 * SECOND, &rule(), 0));
        condition.probed(true, 32 * SECOND, &rule());
        condition.succeeded(33 * SECOND);
        assert_eq!(fail(&condition, 4, 34 * SECOND), 0, "an answer proves more");
    }

    #[test]
    fn who_answers_requests_is_not_probed() {
        let condition = Condition::default();
        assert!(!condition.claim_probe(SECOND, &rule(), 0));
        assert!(!condition.claim_probe(5 * SECOND, &rule(), 0));
        assert!(condition.claim_probe(6 * SECOND, &rule(), 0));
        condition.succeeded(10 * SECOND);
        assert!(!condition.claim_probe(11 * SECOND, &rule(), 0));
        assert!(condition.claim_probe(16 * SECOND, &rule(), 0));
    }

    #[test]
    fn among_many_replicas_each_is_probed_more_seldom() {
        let condition = Condition::default();
        let pace = 60 * SECOND;
        assert!(!condition.claim_probe(SECOND, &rule(), pace));
        assert!(!condition.claim_probe(60 * SECOND, &rule(), pace));
        assert!(condition.claim_probe(61 * SECOND, &rule(), pace));
        fail(&condition, 5, 62 * SECOND);
        assert!(condition.claim_probe(67 * SECOND, &rule(), pace), "a trial does not wait");
    }
}
