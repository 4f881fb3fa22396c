//! How long a replica takes: a moving average in which a peak counts at once, and fades (peak EWMA, as Finagle has it).

use std::sync::atomic::{AtomicU64, Ordering};

/// After this time a peak has faded to a third, in nanoseconds: longer than a pause of a garbage collector, shorter than
/// anybody's patience.
const FADE: f64 = 10e9;

/// Least cost, in nanoseconds, so that requests under way count also for a replica that is not known yet.
const LEAST: f64 = 1e5;

/// The latency of one replica. Two observations at once may lose one of them, which does not matter to an average.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// Nanoseconds.
    average: AtomicU64,
    /// When it was last changed.
    at: AtomicU64,
}

impl Latency {
    /// Takes over that an answer took `took` nanoseconds.
    pub(crate) fn observe(&self, took: u64, now: u64) {
        let before = self.average.load(Ordering::Relaxed);
        let kept = self.kept(now);
        let mean = before as f64 * kept + took as f64 * (1.0 - kept);
        self.average.store(if took > before { took } else { mean as u64 }, Ordering::Relaxed);
        self.at.store(now, Ordering::Relaxed);
    }

    /// What is to be expected, in nanoseconds. It fades while nothing is heard, so that a slow one is tried again.
    pub(crate) fn cost(&self, now: u64) -> f64 {
        (self.average.load(Ordering::Relaxed) as f64 * self.kept(now)).max(LEAST)
    }

    /// How much of the past still counts.
    fn kept(&self, now: u64) -> f64 {
        let age = now.saturating_sub(self.at.load(Ordering::Relaxed));
        (-(age as f64) / FADE).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1000 * MS;

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let latency = Latency::default();
        latency.observe(10 * MS, SECOND);
        latency.observe(500 * MS, SECOND);
        assert!((latency.cost(SECOND) - 500e6).abs() < 1e3);
        let later = latency.cost(11 * SECOND);
        assert!((183e6..185e6).contains(&later), "{later}");
        assert!(latency.cost(200 * SECOND) <= LEAST);
    }

    #[test]
    fn quick_answers_bring_it_down_with_time() {
        let latency = Latency::default();
        latency.observe(500 * MS, SECOND);
        (1..=20).for_each(|n| latency.observe(10 * MS, SECOND + n * SECOND));
        let now = latency.cost(21 * SECOND);
        assert!((10e6..100e6).contains(&now), "{now}");
    }
}
