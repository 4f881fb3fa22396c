//! What a version answered, counted: how often, how often not, and how fast.

mod wire;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::shadow::ShadowCounts;

/// Buckets of each doubling of the time, as a power of two: a bucket is at most a sixteenth wider than its lower bound.
const FINE: u32 = 4;

/// Buckets of a [`Latency`]: up to two hours and a half, and all that takes longer in the last one.
pub const BUCKETS: usize = 496;

/// Requests that a version got, since something began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tally {
    /// All of them.
    pub requests: u64,
    /// Those that did not fit the version's contract, and so never reached it.
    pub rejected: u64,
    /// Those that failed by the fault of the version or of the gateway, and not of their callers.
    pub errors: u64,
    /// How long those took that were not rejected.
    pub latency: Latency,
    /// Copies of requests that it got beside them.
    pub shadow: ShadowTally,
}

/// Copies of requests that a version got in shadow, since something began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShadowTally {
    /// What became of them.
    pub counts: ShadowCounts,
    /// How long those took that were sent.
    pub latency: Latency,
}

/// How often something took how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency(pub Vec<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(vec![0; BUCKETS])
    }
}

impl Latency {
    /// The bucket of a time.
    pub fn bucket(time: Duration) -> usize {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let Some(doublings) = micros.checked_ilog2().filter(|doublings| *doublings >= FINE) else {
            return usize::try_from(micros).unwrap_or_default();
        };
        let shift = doublings - FINE;
        // With its highest bit, which each doubling has anew.
        let within = usize::try_from(micros >> shift).unwrap_or_default();
        ((shift as usize) * (1 << FINE) + within).min(BUCKETS - 1)
    }

    /// The longest time of a bucket.
    fn longest(bucket: usize) -> Duration {
        let shift = (bucket >> FINE).saturating_sub(1);
        let within = bucket - shift * (1 << FINE);
        Duration::from_micros((((within + 1) as u64) << shift) - 1)
    }

    /// What was added to `earlier`.
    fn since(&self, earlier: &Self) -> Self {
        Self(self.0.iter().zip(&earlier.0).map(|(now, then)| now.saturating_sub(*then)).collect())
    }

    /// The time that 99 of 100 did not exceed, to a sixteenth; `None` of nothing.
    pub fn p99(&self) -> Option<Duration> {
        let all: u64 = self.0.iter().sum();
        let rank = (all * 99).div_ceil(100).max(1);
        let mut sum = 0;
        let bucket = self.0.iter().position(|count| {
            sum += count;
            sum >= rank
        });
        bucket.map(Self::longest)
    }
}

impl Tally {
    /// What was added to `earlier`. A count that began anew meanwhile is whole.
    pub fn since(&self, earlier: &Self) -> Self {
        if self.requests < earlier.requests || self.shadow.counts.judged() < earlier.shadow.counts.judged() {
            return self.clone();
        }
        let Self { requests, rejected, errors, latency, shadow } = self;
        Self {
            requests: requests - earlier.requests,
            rejected: rejected.saturating_sub(earlier.rejected),
            errors: errors.saturating_sub(earlier.errors),
            latency: latency.since(&earlier.latency),
            shadow: ShadowTally {
                counts: shadow.counts.since(&earlier.shadow.counts),
                latency: shadow.latency.since(&earlier.shadow.latency),
            },
        }
    }

    /// What it answered to copies of requests, in place of what it answered to callers.
    pub fn of_copies(&self) -> Self {
        let ShadowTally { counts, latency } = self.shadow.clone();
        Self { requests: counts.judged(), rejected: 0, errors: counts.failed, latency, shadow: self.shadow.clone() }
    }

    /// Share of the compared copies that it answered differently, from 0 to 1.
    pub fn difference_rate(&self) -> f64 {
        share(self.shadow.counts.different, self.shadow.counts.compared())
    }

    /// Requests that fitted the contract.
    pub fn taken(&self) -> u64 {
        self.requests.saturating_sub(self.rejected)
    }

    /// Share of those that failed, from 0 to 1.
    pub fn error_rate(&self) -> f64 {
        share(self.errors, self.taken())
    }

    /// Share of all that did not fit the contract, from 0 to 1.
    pub fn rejected_rate(&self) -> f64 {
        share(self.rejected, self.requests)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(micros: impl IntoIterator<Item = u64>) -> Latency {
        let mut latency = Latency::default();
        micros.into_iter().for_each(|micros| latency.0[Latency::bucket(Duration::from_micros(micros))] += 1);
        latency
    }

    #[test]
    fn a_bucket_holds_its_times_to_a_sixteenth() {
        let mut before = 0;
        for micros in (0..5_000).chain((0..60).map(|n| 5_000 << (n / 2))) {
            let bucket = Latency::bucket(Duration::from_micros(micros));
            assert!(bucket >= before && bucket < BUCKETS, "{micros}: {bucket}");
            before = bucket;
            let longest = Latency::longest(bucket).as_micros();
            if bucket < BUCKETS - 1 {
                assert!(
                    u128::from(micros) <= longest && longest <= u128::from(micros + micros / 16),
                    "{micros}: {longest}"
                );
            }
        }
    }

    #[test]
    fn the_p99_leaves_one_in_a_hundred_out() {
        assert_eq!(latency([]).p99(), None);
        assert_eq!(latency([7]).p99(), Some(Duration::from_micros(7)));
        let slow =
            |count: usize| latency(std::iter::repeat_n(10, 100 - count).chain(std::iter::repeat_n(1_000_000, count)));
        assert_eq!(slow(1).p99(), Some(Duration::from_micros(10)));
        assert!(slow(2).p99().unwrap() >= Duration::from_secs(1));
    }

    #[test]
    fn a_difference_counts_what_came_in_between() {
        let tally = |requests, rejected, errors, micros: &[u64]| Tally {
            requests,
            rejected,
            errors,
            latency: latency(micros.iter().copied()),
            shadow: ShadowTally::default(),
        };
        let (then, now) = (tally(2, 1, 0, &[5]), tally(6, 2, 1, &[5, 9, 9, 9]));
        assert_eq!(now.since(&then), tally(4, 1, 1, &[9, 9, 9]));
        assert_eq!((now.since(&then).taken(), now.since(&then).rejected_rate()), (3, 0.25));
        // The router forgot the version in between, and counts anew.
        assert_eq!(then.since(&now), then);
        assert_eq!(Tally::default().error_rate(), 0.0);
    }

    #[test]
    fn copies_are_counted_beside_requests() {
        let tally = |different, failed| {
            let counts = ShadowCounts { same: 6, different, failed, not_compared: 9, dropped: 9, skipped: 9 };
            Tally { requests: 70, shadow: ShadowTally { counts, latency: latency([7, 8]) }, ..Tally::default() }
        };
        let copies = tally(2, 4).of_copies();
        assert_eq!((copies.requests, copies.error_rate(), copies.difference_rate()), (12, 1.0 / 3.0, 0.25));
        assert_eq!(copies.latency, latency([7, 8]));
        let since = tally(2, 4).since(&tally(1, 4)).of_copies();
        assert_eq!((since.requests, since.errors, since.difference_rate(), since.latency.p99()), (1, 0, 1.0, None));
        // Another process counts anew.
        assert_eq!(tally(1, 0).since(&tally(2, 4)), tally(1, 0));
    }
}
