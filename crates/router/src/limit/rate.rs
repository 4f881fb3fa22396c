//! How many requests may come: token buckets, of each of which one number is kept (the generic cell rate algorithm), so
//! that a request costs one atomic exchange. Where routers share a Redis, what this one lets pass is counted there, too.

mod shared;
mod who;

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use kea_core::resilience::{RateKey, RateLimit};
use moka::sync::Cache;

use crate::{RouterError, clock, identify::Admitted};
use shared::Taken;
use who::Who;

pub(crate) use shared::HELP as SHARED_HELP;
pub use shared::SharedRates;

/// Callers whose count is kept for one rule; of more those that came least lately begin anew.
const CALLERS_MAX: u64 = 100_000;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The rules of a service and what is left of each. Kept from one snapshot to the next while the rules are the same.
pub(crate) struct RateLimiter {
    rules: Vec<Rule>,
    random: RandomState,
}

struct Rule {
    by: RateKey,
    bucket: Bucket,
    /// Of those that share it, by the hash of who they are: the keys are random, so nobody can aim at another's.
    levels: Cache<u64, Arc<AtomicU64>>,
}

/// A bucket that holds `burst` requests and is filled evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    requests: u32,
    per: Duration,
    burst: u32,
}

/// What is left of the tightest rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Who shares it.
    by: RateKey,
    /// Whether the request may pass.
    allowed: bool,
    remaining: u32,
    /// When the next request may pass, or, where one may now, when the bucket is full again.
    after: Duration,
    burst: u32,
    per: Duration,
}

impl RateLimiter {
    pub(crate) fn new(limits: &[RateLimit]) -> Self {
        let rule = |limit: &RateLimit| {
            let bucket = Bucket {
                requests: limit.requests,
                per: limit.per.map_or(Duration::from_secs(1), |per| per.0),
                burst: limit.burst.unwrap_or(limit.requests),
            };
            // One that was not asked for that long is full again, as a new one is.
            let full = bucket.emission().saturating_mul(bucket.burst.into());
            let idle = Duration::from_nanos(full).max(Duration::from_secs(1));
            Rule { by: limit.by, bucket, levels: Cache::builder().max_capacity(CALLERS_MAX).time_to_idle(idle).build() }
        };
        Self { rules: limits.iter().map(rule).collect(), random: RandomState::new() }
    }

    /// Counts a request, and tells what is left by the rule that leaves least; `None` where no rule counts it. What is to
    /// be counted in `shared`, too, is told with it.
    pub(crate) fn count(&self, admitted: &Admitted, shared: Option<&Arc<SharedRates>>) -> Option<Counted> {
        let now = clock::now();
        let shared = shared.filter(|shared| shared.is_up());
        let mut tightest: Option<Quota> = None;
        let mut taken = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let Some(who) = Who::of(rule.by, admitted) else { continue };
            let level = rule.level(self.random.hash_one(who));
            let quota = rule.take(&level, now);
            if shared.is_some() && quota.allowed {
                taken.push(Taken::new(admitted.service.route.id.as_str(), index, rule, &who, level));
            }
            tightest = Some(tightest.map_or(quota, |before| before.tighter(quota)));
        }
        let quota = tightest?;
        let shared = shared.filter(|_| quota.allowed).cloned();
        Some(Counted { quota, shared: shared.map(|shared| (shared, taken)) })
    }
}

/// A request that was counted by this router.
pub(crate) struct Counted {
    quota: Quota,
    /// Where else it is to be counted, and what.
    shared: Option<(Arc<SharedRates>, Vec<Taken>)>,
}

impl Counted {
    /// What is left by the count of all routers; by that of this one alone where they share none, where that refuses
    /// already, and where Redis is slow or away.
    pub(crate) async fn by_all(self) -> Quota {
        let Self { quota, shared } = self;
        let Some((shared, taken)) = shared else { return quota };
        shared.take(&taken).await.unwrap_or(quota)
    }
}

/// Lets a request pass that is within its limits.
///
/// # Errors
/// The request is more than a rule allows, and is not to go further.
pub(crate) fn within(admitted: &Admitted, quota: Option<Quota>) -> Result<(), RouterError> {
    let over = quota.filter(|quota| !quota.allowed);
    over.map_or(Ok(()), |Quota { by, after, .. }| {
        let service = admitted.service.route.id.to_string();
        Err(RouterError::RateLimited { service, by: by.as_str(), retry_after: after })
    })
}

impl Rule {
    fn level(&self, who: u64) -> Arc<AtomicU64> {
        self.levels.get_with(who, Arc::default)
    }

    fn take(&self, level: &AtomicU64, now: u64) -> Quota {
        let mut quota = None;
        let _ = level.fetch_update(Relaxed, Relaxed, |full_at| {
            let (taken, found) = self.bucket.take(full_at, now, self.by);
            quota = Some(found);
            taken
        });
        quota.expect("the closure is called at least once")
    }
}

impl Bucket {
    /// Time in which one request flows in, in nanoseconds.
    fn emission(self) -> u64 {
        (clock::nanos(self.per) / u64::from(self.requests.max(1))).max(1)
    }

    /// Takes one request of a bucket that is full again at `full_at`: when it is so afterwards, unless it may not pass.
    fn take(self, full_at: u64, now: u64, by: RateKey) -> (Option<u64>, Quota) {
        let emission = self.emission();
        let depth = emission.saturating_mul(self.burst.into());
        let after = full_at.max(now).saturating_add(emission);
        let used = after - now;
        if used > depth {
            return (None, self.quota(by, Err(used - depth)));
        }
        (Some(after), self.quota(by, Ok(used)))
    }

    /// What a request is told: of one that may pass how much is used with it, and of another one how long it is too early,
    /// in nanoseconds.
    fn quota(self, by: RateKey, used: Result<u64, u64>) -> Quota {
        let depth = self.emission().saturating_mul(self.burst.into());
        let remaining = used.map_or(0, |used| depth.saturating_sub(used) / self.emission());
        Quota {
            by,
            allowed: used.is_ok(),
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            after: Duration::from_nanos(used.unwrap_or_else(|early| early)),
            burst: self.burst,
            per: self.per,
        }
    }
}

impl Quota {
    /// Of two, the one that leaves less.
    fn tighter(self, other: Self) -> Self {
        if (other.allowed, other.remaining) < (self.allowed, self.remaining) { other } else { self }
    }

    /// Says it in the headers of the answer, as the IETF's draft of rate limit headers does.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        let Self { by, remaining, after, burst, per, .. } = self;
        let seconds = |span: &Duration| span.as_secs_f64().ceil().max(1.0) as u64;
        headers.insert(LIMIT, told(*by, ";r=", *remaining, ";t=", seconds(after)));
        headers.insert(POLICY, told(*by, ";q=", *burst, ";w=", seconds(per)));
    }
}

/// Both are said with each answer, so that `format!` would be felt.
fn told(by: RateKey, first: &str, requests: u32, second: &str, seconds: u64) -> HeaderValue {
    let (mut of_requests, mut of_seconds) = (itoa::Buffer::new(), itoa::Buffer::new());
    let mut text = String::with_capacity(64);
    for part in ["\"", by.as_str(), "\"", first, of_requests.format(requests), second, of_seconds.format(seconds)] {
        text.push_str(part);
    }
    HeaderValue::try_from(text).expect("words and numbers are a header value")
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn rule(requests: u32, per: u64, burst: u32) -> Rule {
        let per = kea_core::quantity::Span(Duration::from_secs(per));
        let limit = RateLimit { requests, per: Some(per), burst: Some(burst), by: RateKey::Caller };
        RateLimiter::new(&[limit]).rules.remove(0)
    }

    fn count(rule: &Rule, who: u64) -> Quota {
        rule.take(&rule.level(who), clock::now())
    }

    fn allowed(rule: &Rule, who: u64, requests: usize) -> usize {
        (0..requests).filter(|_| count(rule, who).allowed).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_is_exact() {
        let rule = rule(10, 1, 5);
        assert_eq!(allowed(&rule, 1, 20), 5, "the burst");
        advance(Duration::from_millis(99)).await;
        assert_eq!(allowed(&rule, 1, 1), 0);
        advance(Duration::from_millis(1)).await;
        assert_eq!(allowed(&rule, 1, 2), 1);
        advance(Duration::from_millis(250)).await;
        assert_eq!(allowed(&rule, 1, 5), 2);
        let mut passed = 0;
        for _ in 0..1000 {
            advance(Duration::from_millis(10)).await;
            passed += allowed(&rule, 1, 3);
        }
        assert_eq!(passed, 100, "ten a second for ten seconds");
        advance(Duration::from_secs(60)).await;
        assert_eq!(allowed(&rule, 1, 20), 5, "no more than the burst is saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_a_bucket_of_its_own() {
        let rule = rule(1, 60, 3);
        assert_eq!((allowed(&rule, 1, 5), allowed(&rule, 2, 5), allowed(&rule, 1, 5)), (3, 3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_and_when_there_is_more_is_told() {
        let rule = rule(60, 60, 2);
        let told = |quota: Quota| (quota.allowed, quota.remaining, quota.after.as_secs());
        assert_eq!(told(count(&rule, 1)), (true, 1, 1));
        assert_eq!(told(count(&rule, 1)), (true, 0, 2));
        let refused = count(&rule, 1);
        assert_eq!(told(refused), (false, 0, 1));
        let mut headers = HeaderMap::new();
        refused.mark(&mut headers);
        assert_eq!(headers[LIMIT], "\"caller\";r=0;t=1");
        assert_eq!(headers[POLICY], "\"caller\";q=2;w=60");
    }
}

#[cfg(test)]
mod suite;
