//! Counters of a version of a service, in the text format that Prometheus reads.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

use http::StatusCode;

use crate::{cache::CacheCounters, reply::Checks, shadow::Copies, table::ServiceEntry, trial::Trial};

/// Counters of one version; kept for as long as it has replicas.
#[derive(Debug, Default)]
pub(crate) struct VersionMetrics {
    /// Answers by the first digit of their status.
    answers: [AtomicU64; 6],
    pub(crate) cache: CacheCounters,
    /// What whoever judges a new version asks for.
    pub(crate) trial: Trial,
    /// Copies of requests that it got.
    pub(crate) copies: Copies,
    /// What became of answers that were to be held against the contract.
    pub(crate) checks: Checks,
    retries: AtomicU64,
    retries_refused: AtomicU64,
    ejections: AtomicU64,
}

impl VersionMetrics {
    pub(crate) fn answered(&self, status: StatusCode) {
        self.answers[usize::from(status.as_u16() / 100).min(5)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was not sent again, as the budget was used up.
    pub(crate) fn retry_refused(&self) {
        self.retries_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A replica is left alone for a while.
    pub(crate) fn ejected(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    /// Appends the counters of a version of `service`, which has `active` replicas.
    pub(crate) fn write(&self, service: &str, version: &str, active: usize, out: &mut String) {
        let labels = format!("service=\"{service}\",version=\"{version}\"");
        // Writing to a String cannot fail.
        for (class, count) in self.answers.iter().enumerate().skip(2) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "kea_requests_total{{{labels},status=\"{class}xx\"}} {count}");
        }
        self.cache.write(&labels, out);
        let retries = self.retries.load(Ordering::Relaxed);
        let _ = writeln!(out, "kea_retries_total{{{labels}}} {retries}");
        let refused = self.retries_refused.load(Ordering::Relaxed);
        let _ = writeln!(out, "kea_retries_refused_total{{{labels}}} {refused}");
        let ejections = self.ejections.load(Ordering::Relaxed);
        let _ = writeln!(out, "kea_ejections_total{{{labels}}} {ejections}");
        let _ = writeln!(out, "kea_active_replicas{{{labels}}} {active}");
        self.copies.write(&labels, out);
        self.checks.write(&labels, out);
    }
}

/// Appends what is counted of a whole service.
pub(crate) fn write_service(service: &str, entry: &ServiceEntry, out: &mut String) {
    let (shed, limit) = (entry.gate.shed(), entry.gate.limit());
    let _ = writeln!(out, "kea_shed_total{{service=\"{service}\"}} {shed}");
    let _ = writeln!(out, "kea_concurrency_limit{{service=\"{service}\"}} {limit}");
}

/// What the counters mean, once at the head of the page.
pub(crate) const HELP: &str = "\
# HELP kea_requests_total Requests of a version by the class of their status.
# TYPE kea_requests_total counter
# HELP kea_retries_total Requests sent to a second replica.
# TYPE kea_retries_total counter
# HELP kea_retries_refused_total Requests not sent again, as the budget for that was used up.
# TYPE kea_retries_refused_total counter
# HELP kea_ejections_total How often replicas were left alone for a while after failures.
# TYPE kea_ejections_total counter
# HELP kea_shed_total Requests refused, as they would not have got their turn in time.
# TYPE kea_shed_total counter
# HELP kea_concurrency_limit Requests that may be at the replicas at once, as latency allows.
# TYPE kea_concurrency_limit gauge
# HELP kea_active_replicas Replicas that take requests.
# TYPE kea_active_replicas gauge
";
