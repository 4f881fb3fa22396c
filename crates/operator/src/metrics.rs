//! What the operator counts.

use std::{
    fmt::Write,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the histogram's buckets, in seconds.
const BOUNDS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];

/// Counters of one operator.
#[derive(Default)]
pub(crate) struct Metrics {
    buckets: [AtomicU64; BOUNDS.len()],
    micros: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    written: AtomicU64,
    unchanged: AtomicU64,
    queued: AtomicI64,
    leads: AtomicU64,
}

impl Metrics {
    pub(crate) fn reconciled(&self, took: Duration, well: bool) {
        let seconds = took.as_secs_f64();
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets).filter(|(bound, _)| seconds <= **bound) {
            let _ = bound;
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.done.fetch_add(1, Ordering::Relaxed);
        if !well {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An object was looked at; `written` where it had to be made or repaired.
    pub(crate) fn applied(&self, written: bool) {
        let counter = if written { &self.written } else { &self.unchanged };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn queued(&self, more: i64) {
        self.queued.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leads.store(u64::from(leads), Ordering::Relaxed);
    }

    /// All of it in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let done = self.done.load(Ordering::Relaxed);
        let name = "kea_operator_reconcile_seconds";
        let _ = writeln!(out, "# HELP {name} Time of one reconciliation.\n# TYPE {name} histogram");
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {}", bucket.load(Ordering::Relaxed));
        }
        let sum = Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {done}\n{name}_sum {sum}\n{name}_count {done}");
        let counters = [
            (
                "kea_operator_reconcile_errors_total",
                "counter",
                "Reconciliations that failed.",
                self.failed.load(Ordering::Relaxed),
            ),
            (
                "kea_operator_objects_written_total",
                "counter",
                "Objects made, changed or repaired.",
                self.written.load(Ordering::Relaxed),
            ),
            (
                "kea_operator_objects_unchanged_total",
                "counter",
                "Objects found as they are to be.",
                self.unchanged.load(Ordering::Relaxed),
            ),
            (
                "kea_operator_leader",
                "gauge",
                "Whether this operator is the one that acts.",
                self.leads.load(Ordering::Relaxed),
            ),
        ];
        for (name, kind, help, value) in counters {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        let name = "kea_operator_queue_length";
        let queued = self.queued.load(Ordering::Relaxed).max(0);
        let _ = writeln!(out, "# HELP {name} Changes that wait to be looked at.\n# TYPE {name} gauge\n{name} {queued}");
        out
    }
}
