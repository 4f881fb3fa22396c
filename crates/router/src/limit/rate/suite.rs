//! What a count of rates must do, of one router and of all of them, written once: each function is a claim, and is given
//! counts of several routers that share what they share.

use std::{sync::Arc, time::Duration};

use kea_core::{
    quantity::Span,
    resilience::{RateKey, RateLimit},
};

use super::{RateLimiter, SharedRates, shared::Taken, who::Who, *};
use crate::cache::suite::{RedisServer, until};

/// Tests share a machine, on which a Redis may be slow and well.
const PATIENCE: Duration = Duration::from_millis(500);

/// The count of one router: its rules, and what it shares.
struct Router {
    rules: RateLimiter,
    shared: Option<Arc<SharedRates>>,
}

impl Router {
    fn new(limit: &RateLimit, shared: Option<Arc<SharedRates>>) -> Self {
        Self { rules: RateLimiter::new(std::slice::from_ref(limit)), shared }
    }

    /// Counts a request of that user.
    async fn count(&self, user: &str) -> Quota {
        let (rule, who) = (&self.rules.rules[0], Who::User(user));
        let level = rule.level(self.rules.random.hash_one(who));
        let quota = rule.take(&level, clock::now());
        let shared = self.shared.clone().filter(|_| quota.allowed);
        let shared = shared.map(|shared| (shared, vec![Taken::new("iris", 0, rule, &who, level)]));
        Counted { quota, shared }.by_all().await
    }

    async fn allowed(&self, user: &str, requests: usize) -> usize {
        let mut allowed = 0;
        for _ in 0..requests {
            allowed += usize::from(self.count(user).await.allowed);
        }
        allowed
    }
}

/// So slow that nothing flows in while a test runs.
fn slow(burst: u32) -> RateLimit {
    RateLimit { requests: 1, per: Some(Span(Duration::from_secs(3600))), burst: Some(burst), by: RateKey::Caller }
}

async fn a_burst_is_exact(open: &dyn Fn(&RateLimit) -> Router) {
    assert_eq!(open(&slow(5)).allowed("ada", 20).await, 5);
}

async fn each_has_a_bucket_of_its_own(open: &dyn Fn(&RateLimit) -> Router) {
    let router = open(&slow(3));
    assert_eq!(router.allowed("ada", 5).await, 3);
    assert_eq!(router.allowed("bob", 5).await, 3);
    assert_eq!(router.allowed("ada", 5).await, 0);
}

async fn what_is_left_and_when_there_is_more_is_told(open: &dyn Fn(&RateLimit) -> Router) {
    let router = open(&slow(2));
    let told = |quota: Quota| (quota.allowed, quota.remaining, (quota.after.as_secs_f64() / 3600.0).round());
    assert_eq!(told(router.count("ada").await), (true, 1, 1.0));
    assert_eq!(told(router.count("ada").await), (true, 0, 2.0));
    let refused = router.count("ada").await;
    assert_eq!(told(refused), (false, 0, 1.0));
    let mut headers = HeaderMap::new();
    refused.mark(&mut headers);
    assert_eq!(headers[POLICY], "\"caller\";q=2;w=3600");
    assert!(headers[LIMIT].to_str().unwrap().starts_with("\"caller\";r=0;t=3"), "{headers:?}");
}

async fn who_waits_as_long_as_was_told_may_pass(open: &dyn Fn(&RateLimit) -> Router) {
    let limit = RateLimit { requests: 10, per: None, burst: Some(1), by: RateKey::Caller };
    let router = open(&limit);
    for _ in 0..3 {
        let mut quota = router.count("ada").await;
        while !quota.allowed {
            assert!(quota.after <= Duration::from_millis(100), "{quota:?}");
            tokio::time::sleep(quota.after + Duration::from_millis(1)).await;
            quota = router.count("ada").await;
        }
    }
}

/// Makes one test of each claim for the routers that `$open` makes.
macro_rules! every_count {
    ($name:ident, $shared:expr) => {
        mod $name {
            use super::*;

            every_count!(@each $shared,
                a_burst_is_exact,
                each_has_a_bucket_of_its_own,
                what_is_left_and_when_there_is_more_is_told,
                who_waits_as_long_as_was_told_may_pass,
            );
        }
    };
    (@each $shared:expr, $($claim:ident,)*) => {
        $(
            #[tokio::test]
            async fn $claim() {
                let (shared, _server) = $shared.await;
                super::$claim(&|limit: &RateLimit| Router::new(limit, shared.clone())).await
            }
        )*
    };
}

async fn of_itself() -> (Option<Arc<SharedRates>>, Option<RedisServer>) {
    (None, None)
}

async fn of_all() -> (Option<Arc<SharedRates>>, Option<RedisServer>) {
    let server = RedisServer::start(&[]);
    (Some(shared(server.port()).await), Some(server))
}

/// A count in that Redis, once it answers.
async fn shared(port: u16) -> Arc<SharedRates> {
    let url = format!("redis://127.0.0.1:{port}").parse().unwrap();
    let shared = Arc::new(SharedRates::with_patience(&url, PATIENCE));
    until(|| shared.is_up()).await;
    shared
}

every_count!(of_one_router, of_itself());
every_count!(of_all_routers, of_all());

#[tokio::test]
async fn routers_of_one_redis_count_together() {
    let (server, limit) = (RedisServer::start(&[]), slow(5));
    let (one, other) = (Router::new(&limit, Some(shared(server.port()).await)), Router::new(&limit, None));
    let other = Router { shared: Some(shared(server.port()).await), ..other };
    assert_eq!((one.allowed("ada", 3).await, other.allowed("ada", 5).await, one.allowed("ada", 5).await), (3, 2, 0));
    // Another rule counts anew.
    assert_eq!(Router::new(&slow(6), one.shared.clone()).allowed("ada", 9).await, 6);
}

#[tokio::test]
async fn what_others_used_up_is_asked_of_redis_once() {
    let (server, limit) = (RedisServer::start(&[]), slow(5));
    let shared = shared(server.port()).await;
    let (one, other) = (Router::new(&limit, Some(shared.clone())), Router::new(&limit, Some(shared)));
    assert_eq!(one.allowed("ada", 5).await, 5);
    assert!(!other.count("ada").await.allowed);
    let alone = Router { shared: None, ..other };
    let refused = alone.count("ada").await;
    assert!(!refused.allowed, "the rest of a flood ends here");
    let hours = refused.after.as_secs_f64() / 3600.0;
    assert!((0.9..=1.0).contains(&hours), "for as long as in Redis: {hours}");
    assert_eq!(alone.allowed("bob", 9).await, 5, "others are not refused with it");
}

#[tokio::test]
async fn who_is_refused_by_one_rule_takes_nothing_by_another() {
    let server = RedisServer::start(&[]);
    let (shared, rules) = (shared(server.port()).await, RateLimiter::new(&[slow(9), slow(2)]));
    let take = async |user: &str| {
        let both = [(0, Who::Everybody), (1, Who::User(user))];
        let taken = both.map(|(at, who)| Taken::new("iris", at, &rules.rules[at], &who, Arc::default()));
        shared.take(&taken).await.unwrap()
    };
    for allowed in [true, true, false, false, false, false, false, false, false, false] {
        assert_eq!(take("ada").await.allowed, allowed);
    }
    let quota = take("bob").await;
    assert!(quota.allowed, "what all have together was not used up by ada: {quota:?}");
}

#[tokio::test]
async fn a_redis_that_dies_leaves_each_router_its_own_count_and_is_used_again() {
    let (server, limit) = (RedisServer::start(&[]), slow(4));
    let port = server.port();
    let router = Router::new(&limit, Some(shared(port).await));
    assert_eq!(router.allowed("ada", 1).await, 1);
    drop(server);
    assert_eq!(router.allowed("ada", 9).await, 3, "its own count went on all the time");
    let counts = router.shared.clone().unwrap();
    assert!(!counts.is_up());
    let mut metrics = String::new();
    counts.write_metrics(&mut metrics);
    assert!(metrics.contains("kea_rates_redis_up 0\n") && !metrics.contains("failures_total 0\n"), "{metrics}");
    let _server = RedisServer::start_on(port, &[]);
    until(|| counts.is_up()).await;
    assert_eq!(router.allowed("bob", 2).await, 2);
    let other = Router::new(&limit, Some(shared(port).await));
    assert_eq!(other.allowed("bob", 9).await, 2, "the script is there again, and counts");
}

#[tokio::test]
async fn a_redis_that_will_not_count_is_away_until_it_does() {
    let server = RedisServer::start(&[]);
    let router = Router::new(&slow(100), Some(shared(server.port()).await));
    let counts = router.shared.clone().unwrap();
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port())).unwrap();
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    let mut may = async |rule: &str| {
        let mut change = redis::cmd("ACL");
        change.arg("SETUSER").arg("default").arg(format!("{rule}evalsha")).arg(format!("{rule}eval"));
        change.query_async::<()>(&mut admin).await.unwrap();
    };
    may("-").await;
    while counts.is_up() {
        assert!(router.count("ada").await.allowed);
    }
    let mut looker = client.get_multiplexed_async_connection().await.unwrap();
    let mut connections = async || {
        let told: String = redis::cmd("INFO").arg("stats").query_async(&mut looker).await.unwrap();
        let count = told.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        count.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = connections().await;
    while connections().await < before + 3 {
        assert!(!counts.is_up(), "it answers, and does not count");
    }
    may("+").await;
    until(|| counts.is_up()).await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_not_waited_for() {
    let server = RedisServer::start(&[]);
    let router = Router::new(&slow(100), Some(shared(server.port()).await));
    server.signal("STOP");
    let counts = router.shared.clone().unwrap();
    while counts.is_up() {
        assert!(router.count("ada").await.allowed);
    }
    // From here on nothing waits: the clock stands still.
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    assert!(router.count("ada").await.allowed);
    assert_eq!(before.elapsed(), Duration::ZERO);
    tokio::time::resume();
    server.signal("CONT");
    until(|| counts.is_up()).await;
}
