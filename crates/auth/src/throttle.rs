//! Slows down whoever guesses passwords: after some failures, each further attempt for the same username waits longer,
//! and so does each from the same address, whichever names it tries.
//!
//! Kept in memory: a restart forgets it. Attempts for one username are checked one after the other, so that many at
//! once do not get past it. Those from one address are not, since many people may share it: each counts as a failure
//! until it has succeeded.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::Duration,
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::{
    sync::{Mutex, OwnedMutexGuard, Semaphore, SemaphorePermit},
    time::Instant,
};

use crate::AuthError;

/// Failures that cost nothing: someone who tries their three passwords twice.
const FREE_FAILURES: u32 = 5;

/// Failures of an address that cost nothing: a company may be behind it.
const FREE_FAILURES_OF_ADDRESS: u32 = 50;

/// The first delay; each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay: an attacker gets 1,440 guesses a day, and the user is never locked out for longer than this.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// How long failures are remembered after the last attempt.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// Usernames, and addresses, that are remembered. The least recently tried is forgotten first.
const NAMES: u64 = 10_000;

/// Logins under way at once; what comes beyond them would wait for seconds.
const PENDING: usize = 256;

/// Bytes of a username by which it is remembered, so that long ones do not fill the memory.
const NAME_MAX: usize = 256;

pub(crate) struct Throttle {
    names: Cache<String, Arc<Mutex<Failures>>>,
    addresses: Cache<IpAddr, Arc<SyncMutex<Failures>>>,
    pending: Semaphore,
}

#[derive(Default)]
struct Failures {
    count: u32,
    next_attempt: Option<Instant>,
}

impl Failures {
    /// Refuses where the next attempt is not due yet.
    fn check(&self) -> Result<(), AuthError> {
        let wait = self.next_attempt.map(|due| due.saturating_duration_since(Instant::now()));
        match wait {
            Some(retry_after) if !retry_after.is_zero() => Err(AuthError::Throttled { retry_after }),
            _ => Ok(()),
        }
    }

    /// Counts one more, where `free` cost nothing.
    fn add(&mut self, free: u32) {
        self.count = self.count.saturating_add(1);
        self.next_attempt = delay(self.count, free).map(|delay| Instant::now() + delay);
    }
}

/// An attempt that may be made. Dropped without a word on how it went, it changes nothing for its username.
pub(crate) struct Attempt<'a> {
    failures: OwnedMutexGuard<Failures>,
    visit: Visit,
    _pending: SemaphorePermit<'a>,
}

/// An attempt of an address, by whatever name: a failure until it has succeeded.
pub(crate) struct Visit(Arc<SyncMutex<Failures>>);

impl Throttle {
    pub(crate) fn new() -> Self {
        Self { names: remembered(), addresses: remembered(), pending: Semaphore::new(PENDING) }
    }

    /// Waits until no other attempt for `username` is under way; refuses where the next one of it, or of the address,
    /// is not due yet.
    pub(crate) async fn attempt(&self, username: &str, address: IpAddr) -> Result<Attempt<'_>, AuthError> {
        let pending = self.pending.try_acquire().map_err(|_| AuthError::Throttled { retry_after: FIRST_DELAY })?;
        let name = &username[..username.floor_char_boundary(NAME_MAX)];
        let failures = self.names.get_with_by_ref(name, Arc::default).lock_owned().await;
        failures.check()?;
        Ok(Attempt { failures, visit: self.visit(address)?, _pending: pending })
    }

    /// Counts an attempt of an address; refuses where the next one of it is not due yet.
    pub(crate) fn visit(&self, address: IpAddr) -> Result<Visit, AuthError> {
        let address = self.addresses.get_with(network(address), Arc::default);
        let mut of_address = address.lock().unwrap_or_else(PoisonError::into_inner);
        of_address.check()?;
        of_address.add(FREE_FAILURES_OF_ADDRESS);
        drop(of_address);
        Ok(Visit(address))
    }

    /// Takes back an attempt of an address that has succeeded later, by another one.
    pub(crate) fn forgive(&self, address: IpAddr) {
        self.addresses.get(&network(address)).into_iter().for_each(|address| Visit(address).succeeded());
    }
}

fn remembered<K: std::hash::Hash + Eq + Send + Sync + 'static, V: Clone + Send + Sync + 'static>() -> Cache<K, V> {
    Cache::builder()
        .max_capacity(NAMES)
        .time_to_idle(MEMORY)
        // Forgetting by frequency would let a crowd of invented names keep the guessed one from being remembered.
        .eviction_policy(EvictionPolicy::lru())
        .build()
}

/// By what an address is remembered: of IPv6, the network, within which one caller has as many addresses as they like.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

impl Attempt<'_> {
    /// The password was wrong.
    pub(crate) fn failed(mut self) {
        self.failures.add(FREE_FAILURES);
    }

    /// The password was right: earlier failures for the username are forgiven, and this was none of the address. Those
    /// before it stay: whoever guesses may have a password of their own.
    pub(crate) fn succeeded(mut self) {
        *self.failures = Failures::default();
        self.visit.succeeded();
    }
}

impl Visit {
    /// It was none that guesses.
    pub(crate) fn succeeded(self) {
        let mut of_address = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        of_address.count = of_address.count.saturating_sub(1);
        of_address.next_attempt = None;
    }
}

/// How long to wait after the `count`-th failure in a row.
fn delay(count: u32, free: u32) -> Option<Duration> {
    let doublings = count.checked_sub(free)?;
    let factor = 2u32.checked_pow(doublings).unwrap_or(u32::MAX);
    Some(FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    async fn retry_after(throttle: &Throttle, username: &str) -> Option<u64> {
        retry_after_from(throttle, username, HOME).await
    }

    async fn retry_after_from(throttle: &Throttle, username: &str, address: IpAddr) -> Option<u64> {
        match throttle.attempt(username, address).await {
            Ok(_) => None,
            Err(AuthError::Throttled { retry_after }) => Some(retry_after.as_secs()),
            Err(other) => panic!("{other}"),
        }
    }

    async fn fail(throttle: &Throttle, username: &str, times: u32) {
        for _ in 0..times {
            throttle.attempt(username, HOME).await.unwrap().failed();
        }
    }

    #[test]
    fn the_delay_grows_and_has_an_end() {
        let seconds = [4, 5, 6, 7, 10, 11, 12, 1_000, u32::MAX]
            .map(|count| delay(count, FREE_FAILURES).map(|delay| delay.as_secs()));
        assert_eq!(seconds, [None, Some(1), Some(2), Some(4), Some(32), Some(60), Some(60), Some(60), Some(60)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_further_attempt_has_to_wait_and_is_then_taken() {
        let throttle = Throttle::new();
        fail(&throttle, "ada", 4).await;
        assert_eq!(retry_after(&throttle, "ada").await, None);
        fail(&throttle, "ada", 1).await;
        assert_eq!(retry_after(&throttle, "ada").await, Some(1));
        assert_eq!(retry_after(&throttle, "bob").await, None, "others do not wait");
        tokio::time::advance(Duration::from_secs(1)).await;
        fail(&throttle, "ada", 1).await;
        assert_eq!(retry_after(&throttle, "ada").await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_forgives_failures() {
        let throttle = Throttle::new();
        fail(&throttle, "ada", 4).await;
        throttle.attempt("ada", HOME).await.unwrap().succeeded();
        fail(&throttle, "ada", 4).await;
        assert_eq!(retry_after(&throttle, "ada").await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_at_once_do_not_get_past_it() {
        let throttle = Arc::new(Throttle::new());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let throttle = throttle.clone();
            tasks.spawn(async move {
                let attempt = throttle.attempt("ada", HOME).await.ok()?;
                tokio::task::yield_now().await;
                attempt.failed();
                Some(())
            });
        }
        let taken = tasks.join_all().await.into_iter().flatten().count();
        assert_eq!(taken, FREE_FAILURES as usize);
    }

    #[tokio::test]
    async fn a_flood_of_logins_is_refused_at_once() {
        let throttle = Throttle::new();
        let mut attempts = Vec::new();
        for number in 0..u16::try_from(PENDING).unwrap() {
            let address = std::net::Ipv4Addr::from_bits(u32::from(number)).into();
            attempts.push(throttle.attempt(&format!("user-{number}"), address).await.unwrap());
        }
        assert_eq!(retry_after(&throttle, "ada").await, Some(1));
        drop(attempts);
        assert_eq!(retry_after(&throttle, "ada").await, None);
    }

    #[tokio::test]
    async fn long_names_are_cut_between_characters() {
        let throttle = Throttle::new();
        assert_eq!(retry_after(&throttle, &"ü".repeat(100_000)).await, None);
        assert_eq!(retry_after(&throttle, &format!("x{}", "ü".repeat(100_000))).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_tries_many_names_has_to_wait_with_all_of_them() {
        let throttle = Throttle::new();
        for number in 0..FREE_FAILURES_OF_ADDRESS {
            fail(&throttle, &format!("user-{number}"), 1).await;
        }
        assert_eq!(retry_after(&throttle, "ada").await, Some(1));
        assert_eq!(retry_after_from(&throttle, "ada", IpAddr::from([10, 0, 0, 1])).await, None, "others do not wait");
        tokio::time::advance(Duration::from_secs(1)).await;
        fail(&throttle, "bob", 1).await;
        assert_eq!(retry_after(&throttle, "ada").await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn logins_that_succeed_never_slow_an_address_down_and_forgive_it_nothing() {
        let throttle = Throttle::new();
        for _ in 0..10 * FREE_FAILURES_OF_ADDRESS {
            throttle.attempt("ada", HOME).await.unwrap().succeeded();
        }
        for number in 1..FREE_FAILURES_OF_ADDRESS {
            fail(&throttle, &format!("user-{number}"), 1).await;
            throttle.attempt("ada", HOME).await.unwrap().succeeded();
        }
        fail(&throttle, "last", 1).await;
        assert_eq!(retry_after(&throttle, "ada").await, Some(1));
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
