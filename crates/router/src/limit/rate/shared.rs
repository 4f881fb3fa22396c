//! Rates that several routers count together, in a Redis: the same exchange as in memory, done there by one script.
//!
//! Redis is asked once for a request that this router would let pass, for a few milliseconds at most; where it does not
//! answer, this router's own count decides alone.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use kea_core::resilience::RateKey;
use redis::{RedisResult, Script, ScriptInvocation, aio::MultiplexedConnection};

use super::{Bucket, Quota, Rule, who::Who};
use crate::{
    clock,
    link::{Away, Link, Purpose, RedisUrl},
};

/// How long a request waits for the count. With the timer's own millisecond it goes on within five.
const COUNT: Duration = Duration::from_millis(3);

/// For each key the time at which its bucket is full again, in microseconds of Redis's own clock, is moved on by one
/// request, unless that would be more than one of the buckets holds. Told is how much is used with it, or, below zero, how
/// long the request is too early.
const SCRIPT: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local told, allowed = {}, true
for i, key in ipairs(KEYS) do
  local emission, depth = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local used = math.max(tonumber(redis.call('GET', key) or now) - now, 0) + emission
  allowed = allowed and used <= depth
  told[i] = used <= depth and used or depth - used
end
if allowed then
  for i, key in ipairs(KEYS) do
    redis.call('SET', key, string.format('%.0f', now + told[i]), 'PX', math.ceil(told[i] / 1000))
  end
end
return told
";

/// Help texts of the metrics.
pub(crate) const HELP: &str = "\
# HELP kea_rates_redis_up Whether the rates of all routers are counted in Redis at the moment.
# TYPE kea_rates_redis_up gauge
# HELP kea_rates_redis_failures_total Counts that Redis did not take in time, so that this router's own decided.
# TYPE kea_rates_redis_failures_total counter
";

/// The count of all routers.
pub struct SharedRates {
    link: Link,
    patience: Duration,
    script: Script,
}

/// What a rule has counted of a request, and how it is counted in Redis.
pub(super) struct Taken {
    key: String,
    by: RateKey,
    bucket: Bucket,
    level: Arc<AtomicU64>,
}

impl Taken {
    /// The request of `who` by the rule of that index. Another rule in its place counts anew.
    pub(super) fn new(service: &str, index: usize, rule: &Rule, who: &Who<'_>, level: Arc<AtomicU64>) -> Self {
        let Rule { by, bucket, .. } = rule;
        let Bucket { requests, per, burst } = bucket;
        let (by_word, millis, who) = (by.as_str(), per.as_millis(), who.digest());
        // The braces keep the keys of a service in one slot.
        let key = format!("kea1:{{{service}}}:r:{index}:{by_word}:{requests}:{millis}:{burst}:{who}");
        Self { key, by: *by, bucket: *bucket, level }
    }

    /// Settles this router's own count of a request that was let pass here, and not there. The rule that refuses does so here,
    /// too, for as long as it would there, so that a flood is not all asked of Redis; to the others it is given back.
    fn settle(&self, told: i64) {
        let emission = self.bucket.emission();
        if told >= 0 {
            let _ = self.level.fetch_update(Relaxed, Relaxed, |full_at| full_at.checked_sub(emission));
        } else {
            let full = emission.saturating_mul(u64::from(self.bucket.burst).saturating_sub(1));
            let early = told.unsigned_abs().saturating_mul(1000);
            self.level.fetch_max(clock::now().saturating_add(full).saturating_add(early), Relaxed);
        }
    }

    fn quota(&self, told: i64) -> Quota {
        let nanos = told.unsigned_abs().saturating_mul(1000);
        self.bucket.quota(self.by, if told < 0 { Err(nanos) } else { Ok(nanos) })
    }
}

/// Counts a request of nobody, which is forgotten at once.
fn question(mut link: MultiplexedConnection) -> BoxFuture<'static, RedisResult<()>> {
    Box::pin(async move {
        let script = Script::new(SCRIPT);
        let (emission, depth) = (1, 1_000_000);
        script.key("kea1:{}:r:test").arg(emission).arg(depth).invoke_async::<Vec<i64>>(&mut link).await.map(drop)
    })
}

impl SharedRates {
    /// A count in the Redis of that URL. Nothing waits for it to be there.
    pub fn new(url: &RedisUrl) -> Self {
        Self::with_patience(url, COUNT)
    }

    /// One that may take longer, as on a machine that runs many tests.
    pub(crate) fn with_patience(url: &RedisUrl, patience: Duration) -> Self {
        let purpose = Purpose { name: "the shared count of rates", limit: patience, question };
        Self { link: Link::open(url, purpose), patience, script: Script::new(SCRIPT) }
    }

    /// Whether Redis is asked at the moment.
    pub(crate) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// Counts a request by all of its rules at once, and tells what is left by the one that leaves least; `None` where Redis
    /// did not answer in time.
    pub(super) async fn take(&self, taken: &[Taken]) -> Option<Quota> {
        // That it failed is counted, and told once, by the link.
        let told = self.ask(taken).await.ok()?;
        let quotas = taken.iter().zip(&told).map(|(taken, told)| taken.quota(*told));
        let tightest = quotas.reduce(Quota::tighter)?;
        if !tightest.allowed {
            taken.iter().zip(&told).for_each(|(taken, told)| taken.settle(*told));
        }
        Some(tightest)
    }

    async fn ask(&self, taken: &[Taken]) -> Result<Vec<i64>, Away> {
        let asked = self.invocation(taken);
        // Redis is sent the script itself only where it does not know it, as after a start.
        self.link.ask(self.patience, async move |mut link| asked.invoke_async(&mut link).await).await
    }

    fn invocation(&self, taken: &[Taken]) -> ScriptInvocation<'_> {
        let mut asked = self.script.prepare_invoke();
        for Taken { key, bucket, .. } in taken {
            // Redis has no finer clock.
            let emission = bucket.emission().div_ceil(1000);
            asked.key(key).arg(emission).arg(emission.saturating_mul(bucket.burst.into()));
        }
        asked
    }

    pub(crate) fn write_metrics(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "kea_rates_redis_up {}", u8::from(self.is_up()));
        let _ = writeln!(out, "kea_rates_redis_failures_total {}", self.link.failures());
    }
}
