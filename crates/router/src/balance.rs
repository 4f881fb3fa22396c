//! Choosing a replica for a request: by the rule of the service, among those that are in order.
//!
//! Nothing here locks or waits, nor allocates for fewer than 17 replicas: what moves is in atomics, and a look at all
//! replicas is one at a few words of each.

mod latency;
mod rendezvous;
mod schedule;
#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use kea_core::balancing::Algorithm;
use rand::Rng;
use smallvec::SmallVec;

pub(crate) use self::{latency::Latency, schedule::Schedule};
use crate::{
    clock,
    endpoint::Endpoint,
    health::{HealthRule, State},
};

/// The replicas of a version, and the rule by which they share its requests. Made with each snapshot.
pub(crate) struct Pool {
    members: Box<[Member]>,
    /// Whose turn it is, by the weights; over `members`.
    schedule: Schedule,
    algorithm: Algorithm,
    health: HealthRule,
    turns: Arc<Turns>,
}

/// A replica and its part of the whole.
pub(crate) struct Member {
    pub(crate) endpoint: Arc<Endpoint>,
    /// Its share beside the others' ones.
    pub(crate) weight: u32,
}

/// Where a pool stands. Kept from one snapshot to the next, so that no change begins the round anew.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    next: AtomicUsize,
    /// Counts the turns of those that cannot take them.
    instead: AtomicUsize,
}

impl Pool {
    /// A pool of `members`. Where all weights are 0, as when those that had one are gone, all members are alike:
    /// answering is better than refusing.
    pub(crate) fn new(
        mut members: Vec<Member>,
        algorithm: Algorithm,
        health: HealthRule,
        before: Option<&Self>,
    ) -> Self {
        if members.iter().all(|member| member.weight == 0) {
            members.iter_mut().for_each(|member| member.weight = 1);
        }
        if !health.probes() {
            members.iter().for_each(|member| member.endpoint.condition.unprobed());
        }
        let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
        Self {
            schedule: Schedule::new(&weights),
            members: members.into(),
            algorithm,
            health,
            turns: before.map_or_else(Arc::default, |before| before.turns.clone()),
        }
    }

    /// All replicas, whatever their state.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.members.iter().map(|member| &member.endpoint)
    }

    /// How many replicas there are, whatever their state.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no replica at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The rule by which replicas are judged.
    pub(crate) fn health(&self) -> &HealthRule {
        &self.health
    }

    /// The replicas that get requests at this moment.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let now = clock::now();
        let panic = self.panics(now);
        let active = move |member: &&Member| member.weight > 0 && (panic || member.is_up(now));
        self.members.iter().filter(active).map(|member| &member.endpoint)
    }

    /// The replica for a request of `client`, among those that were not `tried` yet; `None` once all were. One that
    /// `may_fail`, as it can be sent again, may find out whether a replica is back; where there are no probes, any may.
    pub(crate) fn pick(&self, tried: &[Arc<Endpoint>], client: IpAddr, may_fail: bool) -> Option<&Arc<Endpoint>> {
        let (now, again) = (clock::now(), !tried.is_empty());
        let untried = |member: &Member| {
            member.weight > 0 && !tried.iter().any(|endpoint| Arc::ptr_eq(endpoint, &member.endpoint))
        };
        if self.panics(now) {
            return self.by_rule(&untried, client, now, again);
        }
        let on_trial = |member: &&Member| untried(member) && member.endpoint.condition.claim_trial(now, &self.health);
        if (may_fail || !self.health.probes())
            && let Some(member) = self.members.iter().find(on_trial)
        {
            return Some(&member.endpoint);
        }
        let up = |member: &Member| untried(member) && member.is_up(now);
        self.by_rule(&up, client, now, again).or_else(|| self.by_rule(&untried, client, now, again))
    }

    /// Where more than half are out of order, the fault is likely elsewhere: sending everything to the rest would only
    /// bring them down as well.
    fn panics(&self, now: u64) -> bool {
        let (mut all, mut down) = (0, 0);
        for member in self.members.iter().filter(|member| member.weight > 0) {
            all += 1;
            down += usize::from(!member.is_up(now));
        }
        down * 2 > all
    }

    fn by_rule(
        &self,
        usable: &dyn Fn(&Member) -> bool,
        client: IpAddr,
        now: u64,
        again: bool,
    ) -> Option<&Arc<Endpoint>> {
        let member = match self.algorithm {
            // A request has one turn, however often it is sent.
            Algorithm::RoundRobin if again => self.instead(usable),
            Algorithm::RoundRobin => self.round_robin(usable, now),
            Algorithm::LeastConnections => self.least_connections(usable, now),
            Algorithm::IpHash => self.members.iter().filter(|member| usable(member)).max_by(|a, b| {
                let score = |member: &Member| rendezvous::score(client, &member.endpoint.name, member.weight);
                score(a).total_cmp(&score(b))
            }),
            Algorithm::PeakEwma => self.better_of_two(usable, now),
        };
        member.map(|member| &member.endpoint)
    }

    /// Whose turn it is; where that one cannot take it, the others do by their own shares.
    fn round_robin(&self, usable: &dyn Fn(&Member) -> bool, now: u64) -> Option<&Member> {
        let turn = &self.members[self.schedule.at(self.turns.next.fetch_add(1, Ordering::Relaxed))?];
        let share = turn.share(now, &self.health);
        let is_its = usable(turn) && (share >= 1.0 || rand::rng().random_bool(share));
        if is_its { Some(turn) } else { self.instead(usable) }
    }

    /// Who takes a turn that another one cannot take.
    fn instead(&self, usable: &dyn Fn(&Member) -> bool) -> Option<&Member> {
        let others = || self.schedule.iter().map(|index| &self.members[index]).filter(|member| usable(member));
        let instead = self.turns.instead.fetch_add(1, Ordering::Relaxed);
        others().nth(instead.checked_rem(others().count())?)
    }

    /// Among those with the fewest requests the turn goes round, so that idle replicas share the work.
    fn least_connections(&self, usable: &dyn Fn(&Member) -> bool, now: u64) -> Option<&Member> {
        let load = |member: &Member| (member.in_flight() + 1.0) / member.weight_now(now, &self.health);
        // Counted once: counts rise in between, and then none would be among the fewest.
        let counted: SmallVec<[(f64, &Member); 16]> =
            self.members.iter().filter(|member| usable(member)).map(|member| (load(member), member)).collect();
        let least = counted.iter().map(|(load, _)| *load).min_by(f64::total_cmp)?;
        let idle = || counted.iter().filter(|(load, _)| *load <= least).map(|(_, member)| *member);
        let turn = self.turns.next.fetch_add(1, Ordering::Relaxed);
        idle().nth(turn.checked_rem(idle().count())?)
    }

    /// Two at random, so that those that share what they know do not all run to the same one.
    fn better_of_two(&self, usable: &dyn Fn(&Member) -> bool, now: u64) -> Option<&Member> {
        let candidates = || self.members.iter().filter(|member| usable(member));
        let count = candidates().count();
        if count <= 1 {
            return candidates().next();
        }
        let mut random = rand::rng();
        let first = random.random_range(0..count);
        let second = (first + random.random_range(1..count)) % count;
        let (first, second) = (candidates().nth(first)?, candidates().nth(second)?);
        let cost = |member: &Member| {
            member.endpoint.latency.cost(now) * (member.in_flight() + 1.0) / member.weight_now(now, &self.health)
        };
        Some(if cost(second) < cost(first) { second } else { first })
    }
}

impl Member {
    fn is_up(&self, now: u64) -> bool {
        self.endpoint.condition.state(now) == State::Up
    }

    fn in_flight(&self) -> f64 {
        self.endpoint.in_flight() as f64
    }

    /// How much of its share it gets already.
    fn share(&self, now: u64, health: &HealthRule) -> f64 {
        self.endpoint.condition.share(now, health)
    }

    fn weight_now(&self, now: u64, health: &HealthRule) -> f64 {
        f64::from(self.weight) * self.share(now, health)
    }
}
