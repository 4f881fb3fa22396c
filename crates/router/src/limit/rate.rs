//! How many requests may come: token buckets, of each of which one number is kept (the generic cell rate algorithm), so
//! that a request costs one atomic exchange.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
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

    /// Counts a request, and tells what is left by the rule that leaves least; `None` where no rule counts it.
    pub(crate) fn count(&self, admitted: &Admitted) -> Option<Quota> {
        let now = clock::now();
        let of_rule = |rule: &Rule| Some(rule.count(self.who(rule.by, admitted)?, now));
        self.rules.iter().filter_map(of_rule).min_by_key(|quota| (quota.allowed, quota.remaining))
    }

    /// Who shares the number with this request; `None` where it is not counted.
    fn who(&self, by: RateKey, admitted: &Admitted) -> Option<u64> {
        let address = || self.random.hash_one(network(admitted.client));
        let caller = admitted.caller.as_ref();
        match by {
            RateKey::Service => Some(0),
            RateKey::Function => Some(self.random.hash_one(&admitted.function)),
            RateKey::Address => Some(address()),
            RateKey::Key => Some(self.random.hash_one(caller?.key.as_ref()?)),
            RateKey::Caller => Some(caller.map_or_else(address, |caller| match &caller.key {
                Some(key) => self.random.hash_one((1, key)),
                None => self.random.hash_one((0, &caller.username)),
            })),
        }
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
    fn count(&self, who: u64, now: u64) -> Quota {
        let level = self.levels.get_with(who, Arc::default);
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
        let quota = |allowed, remaining, after| Quota {
            by,
            allowed,
            remaining,
            after: Duration::from_nanos(after),
            burst: self.burst,
            per: self.per,
        };
        let used = after - now;
        if used > depth {
            return (None, quota(false, 0, used - depth));
        }
        let remaining = u32::try_from((depth - used) / emission).unwrap_or(u32::MAX);
        (Some(after), quota(true, remaining, used))
    }
}

impl Quota {
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
    let parts = ["\"", by.as_str(), "\"", first, of_requests.format(requests), second, of_seconds.format(seconds)];
    HeaderValue::try_from(parts.concat()).expect("words and numbers are a header value")
}

/// Who has an address of version 6 has a whole network of them.
fn network(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or(address.to_bits() >> 64 << 64, |v4| v4.to_bits().into()),
    }
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

    fn allowed(rule: &Rule, who: u64, requests: usize) -> usize {
        (0..requests).filter(|_| rule.count(who, clock::now()).allowed).count()
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
        assert_eq!(told(rule.count(1, clock::now())), (true, 1, 1));
        assert_eq!(told(rule.count(1, clock::now())), (true, 0, 2));
        let refused = rule.count(1, clock::now());
        assert_eq!(told(refused), (false, 0, 1));
        let mut headers = HeaderMap::new();
        refused.mark(&mut headers);
        assert_eq!(headers[LIMIT], "\"caller\";r=0;t=1");
        assert_eq!(headers[POLICY], "\"caller\";q=2;w=60");
    }

    #[test]
    fn a_network_of_version_6_is_one_address() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    }
}
