//! What became of the copies that a version got, counted for Prometheus, the API and whoever judges the version.

use std::{
    fmt::Write,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kea_core::{
    shadow::ShadowCounts,
    tally::{BUCKETS, Latency, ShadowTally},
};

use super::Outcome;

/// What the counters mean, once at the head of the page.
pub(crate) const HELP: &str = "\
# HELP kea_shadow_requests_total Requests of which a version in shadow was to get a copy, by what became of that.
# TYPE kea_shadow_requests_total counter
# HELP kea_shadow_duration_seconds Time until a version in shadow answered or failed, to a sixteenth.
# TYPE kea_shadow_duration_seconds histogram
";

/// The counts of one version. They take room only once there is something to count.
#[derive(Debug, Default)]
pub(crate) struct Copies(OnceLock<Box<Counts>>);

#[derive(Debug)]
struct Counts {
    same: AtomicU64,
    different: AtomicU64,
    failed: AtomicU64,
    not_compared: AtomicU64,
    dropped: AtomicU64,
    skipped: AtomicU64,
    latency: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

impl Copies {
    /// Counts a copy that was sent, and how long the shadow took for the head of its answer.
    pub(super) fn count(&self, outcome: &Outcome, took: Duration) {
        let counts = self.counts();
        // Before the outcome: whoever is told of so many has the times of all of them.
        add(&counts.latency[Latency::bucket(took)], 1);
        add(&counts.micros, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let count = match outcome {
            Outcome::Same => &counts.same,
            Outcome::Different(_) => &counts.different,
            Outcome::Failed(_) => &counts.failed,
            Outcome::NotCompared => &counts.not_compared,
        };
        count.fetch_add(1, Ordering::Release);
    }

    /// A request was too large to be copied.
    pub(super) fn not_compared(&self) {
        add(&self.counts().not_compared, 1);
    }

    /// A request was not copied, as too many copies were under way.
    pub(super) fn dropped(&self) {
        add(&self.counts().dropped, 1);
    }

    /// A request was not copied, as its function may not be called twice.
    pub(super) fn skipped(&self) {
        add(&self.counts().skipped, 1);
    }

    /// What was counted so far.
    pub(crate) fn tally(&self) -> ShadowTally {
        let Some(counts) = self.0.get() else { return ShadowTally::default() };
        let read = |count: &AtomicU64| count.load(Ordering::Acquire);
        let became = ShadowCounts {
            same: read(&counts.same),
            different: read(&counts.different),
            failed: read(&counts.failed),
            not_compared: read(&counts.not_compared),
            dropped: read(&counts.dropped),
            skipped: read(&counts.skipped),
        };
        ShadowTally { counts: became, latency: Latency(counts.latency.iter().map(read).collect()) }
    }

    /// Appends the counters of a version with these labels, once there are any.
    pub(crate) fn write(&self, labels: &str, out: &mut String) {
        let Some(counts) = self.0.get() else { return };
        let ShadowTally { counts: became, latency } = self.tally();
        let ShadowCounts { same, different, failed, not_compared, dropped, skipped } = became;
        let outcomes = [
            ("same", same),
            ("different", different),
            ("failed", failed),
            ("not_compared", not_compared),
            ("dropped", dropped),
            ("skipped", skipped),
        ];
        // Writing to a String cannot fail.
        for (outcome, count) in outcomes {
            let _ = writeln!(out, "kea_shadow_requests_total{{{labels},outcome=\"{outcome}\"}} {count}");
        }
        for (micros, bound) in kea_audit::BUCKETS {
            let below: u64 = latency.0[..=Latency::bucket(Duration::from_micros(micros))].iter().sum();
            let _ = writeln!(out, "kea_shadow_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        let (all, seconds): (u64, _) = (latency.0.iter().sum(), counts.micros.load(Ordering::Relaxed) as f64 / 1e6);
        let _ = writeln!(out, "kea_shadow_duration_seconds_bucket{{{labels},le=\"+Inf\"}} {all}");
        let _ = writeln!(out, "kea_shadow_duration_seconds_sum{{{labels}}} {seconds}");
        let _ = writeln!(out, "kea_shadow_duration_seconds_count{{{labels}}} {all}");
    }

    fn counts(&self) -> &Counts {
        self.0.get_or_init(Box::default)
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

impl Default for Counts {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            same: zero(),
            different: zero(),
            failed: zero(),
            not_compared: zero(),
            dropped: zero(),
            skipped: zero(),
            latency: std::array::from_fn(|_| zero()),
            micros: zero(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_got_no_copies_has_no_line() {
        let mut out = String::new();
        Copies::default().write("service=\"iris\"", &mut out);
        assert_eq!((out.as_str(), Copies::default().tally()), ("", ShadowTally::default()));
    }

    #[test]
    fn copies_are_counted_by_what_became_of_them_with_their_time() {
        let copies = Copies::default();
        copies.count(&Outcome::Same, Duration::from_millis(2));
        copies.count(&Outcome::Same, Duration::from_millis(20));
        copies.count(&Outcome::Different("/a".into()), Duration::from_millis(2));
        copies.count(&Outcome::Failed("gone".into()), Duration::from_secs(20));
        copies.not_compared();
        copies.dropped();
        copies.skipped();
        let ShadowTally { counts, latency } = copies.tally();
        let expected = ShadowCounts { same: 2, different: 1, failed: 1, not_compared: 1, dropped: 1, skipped: 1 };
        assert_eq!((counts, latency.0.iter().sum::<u64>()), (expected, 4));
        let mut page = String::new();
        copies.write("service=\"iris\",version=\"2\"", &mut page);
        for line in [
            "kea_shadow_requests_total{service=\"iris\",version=\"2\",outcome=\"different\"} 1",
            "kea_shadow_duration_seconds_bucket{service=\"iris\",version=\"2\",le=\"0.001\"} 0",
            "kea_shadow_duration_seconds_bucket{service=\"iris\",version=\"2\",le=\"0.0025\"} 2",
            "kea_shadow_duration_seconds_bucket{service=\"iris\",version=\"2\",le=\"10\"} 3",
            "kea_shadow_duration_seconds_bucket{service=\"iris\",version=\"2\",le=\"+Inf\"} 4",
            "kea_shadow_duration_seconds_sum{service=\"iris\",version=\"2\"} 20.024",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }
}
