//! What became of the requests of services whose answers are kept, counted for each version.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

/// How the cache took part in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The answer was kept.
    Hit,
    /// It was kept, and past its time.
    Stale,
    /// Another request was asking for it already.
    Coalesced,
    /// The model answered.
    Miss,
    /// The cache was not asked, or could not be.
    Bypass,
}

/// Counters of one version.
#[derive(Debug, Default)]
pub(crate) struct CacheCounters([AtomicU64; 5]);

const NAMES: [&str; 5] = [
    "kea_cache_hits_total",
    "kea_cache_stale_total",
    "kea_cache_coalesced_total",
    "kea_cache_misses_total",
    "kea_cache_bypasses_total",
];

impl CacheCounters {
    pub(crate) fn count(&self, part: Part) {
        self.0[part as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Appends the counters, under `labels`.
    pub(crate) fn write(&self, labels: &str, out: &mut String) {
        for (name, count) in NAMES.iter().zip(&self.0) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name}{{{labels}}} {}", count.load(Ordering::Relaxed));
        }
    }
}

/// What the counters mean, those of the caches among them.
pub(crate) const HELP: &str = "\
# HELP kea_cache_hits_total Requests answered from the response cache.
# TYPE kea_cache_hits_total counter
# HELP kea_cache_stale_total Requests answered from the response cache with an answer that was being fetched anew.
# TYPE kea_cache_stale_total counter
# HELP kea_cache_coalesced_total Requests answered together with an equal one that was under way.
# TYPE kea_cache_coalesced_total counter
# HELP kea_cache_misses_total Requests whose answer was not in the response cache.
# TYPE kea_cache_misses_total counter
# HELP kea_cache_bypasses_total Requests of services with a response cache which did not use it.
# TYPE kea_cache_bypasses_total counter
# HELP kea_cache_bytes Bytes of the answers in memory.
# TYPE kea_cache_bytes gauge
# HELP kea_cache_entries Answers in memory.
# TYPE kea_cache_entries gauge
# HELP kea_cache_evictions_total Answers that made room for others in memory.
# TYPE kea_cache_evictions_total counter
# HELP kea_cache_redis_up Whether Redis is asked for answers.
# TYPE kea_cache_redis_up gauge
# HELP kea_cache_redis_failures_total Questions to Redis that it did not answer in time.
# TYPE kea_cache_redis_failures_total counter
# HELP kea_cache_redis_dropped_total Answers that were not kept, since too many were on their way to Redis.
# TYPE kea_cache_redis_dropped_total counter
# HELP kea_cache_redis_bytes_total Bytes of answers that were sent to Redis.
# TYPE kea_cache_redis_bytes_total counter
";
