//! Counters of a service, in the text format that Prometheus reads.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use http::StatusCode;

/// Counters of one service; kept for as long as the service is known.
#[derive(Debug, Default)]
pub(crate) struct ServiceMetrics {
    /// Answers by the first digit of their status.
    answers: [AtomicU64; 6],
    cache_hits: AtomicU64,
    retries: AtomicU64,
}

impl ServiceMetrics {
    pub(crate) fn answered(&self, status: StatusCode) {
        self.answers[usize::from(status.as_u16() / 100).min(5)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn cache_hit(&self) {
        self.cache_hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Appends the counters of `service`.
    pub(crate) fn write(&self, service: &str, out: &mut String) {
        // Writing to a String cannot fail.
        for (class, count) in self.answers.iter().enumerate().skip(2) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "kea_requests_total{{service=\"{service}\",status=\"{class}xx\"}} {count}");
        }
        let hits = self.cache_hits.load(Ordering::Relaxed);
        let _ = writeln!(out, "kea_cache_hits_total{{service=\"{service}\"}} {hits}");
        let retries = self.retries.load(Ordering::Relaxed);
        let _ = writeln!(out, "kea_retries_total{{service=\"{service}\"}} {retries}");
    }
}

/// What the counters mean, once at the head of the page.
pub(crate) const HELP: &str = "\
# HELP kea_requests_total Requests of a service by the class of their status.
# TYPE kea_requests_total counter
# HELP kea_cache_hits_total Requests answered from the response cache.
# TYPE kea_cache_hits_total counter
# HELP kea_retries_total Requests sent to a second replica.
# TYPE kea_retries_total counter
# HELP kea_active_replicas Replicas that take requests.
# TYPE kea_active_replicas gauge
";
