//! Slows down whoever guesses passwords: after some failures, each further attempt for the same username waits longer.
//!
//! Kept in memory: a restart forgets it. Attempts for one username are checked one after the other, so that many at
//! once do not get past it.

use std::{sync::Arc, time::Duration};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::{
    sync::{Mutex, OwnedMutexGuard, Semaphore, SemaphorePermit},
    time::Instant,
};

use crate::AuthError;

/// Failures that cost nothing: someone who tries their three passwords twice.
const FREE_FAILURES: u32 = 5;

/// The first delay; each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay: an attacker gets 1,440 guesses a day, and the user is never locked out for longer than this.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// How long failures are remembered after the last attempt.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// Usernames that are remembered. The least recently tried is forgotten first.
const NAMES: u64 = 10_000;

/// Logins under way at once; what comes beyond them would wait for seconds.
const PENDING: usize = 256;

/// Bytes of a username by which it is remembered, so that long ones do not fill the memory.
const NAME_MAX: usize = 256;

pub(crate) struct Throttle {
    names: Cache<String, Arc<Mutex<Failures>>>,
    pending: Semaphore,
}

#[derive(Default)]
struct Failures {
    count: u32,
    next_attempt: Option<Instant>,
}

/// An attempt that may be made. Dropped without a word on how it went, it changes nothing.
pub(crate) struct Attempt<'a> {
    failures: OwnedMutexGuard<Failures>,
    _pending: SemaphorePermit<'a>,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        let names = Cache::builder()
            .max_capacity(NAMES)
            .time_to_idle(MEMORY)
            // Forgetting by frequency would let a crowd of invented names keep the guessed one from being remembered.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { names, pending: Semaphore::new(PENDING) }
    }

    /// Waits until no other attempt for `username` is under way; refuses where the next one is not due yet.
    pub(crate) async fn attempt(&self, username: &str) -> Result<Attempt<'_>, AuthError> {
        let pending = self.pending.try_acquire().map_err(|_| AuthError::Throttled { retry_after: FIRST_DELAY })?;
        let name = &username[..username.floor_char_boundary(NAME_MAX)];
        let failures = self.names.get_with_by_ref(name, Arc::default).lock_owned().await;
        let wait = failures.next_attempt.map(|due| due.saturating_duration_since(Instant::now()));
        match wait {
            Some(retry_after) if !retry_after.is_zero() => Err(AuthError::Throttled { retry_after }),
            _ => Ok(Attempt { failures, _pending: pending }),
        }
    }
}

impl Attempt<'_> {
    /// The password was wrong.
    pub(crate) fn failed(mut self) {
        self.failures.count = self.failures.count.saturating_add(1);
        self.failures.next_attempt = delay(self.failures.count).map(|delay| Instant::now() + delay);
    }

    /// The password was right: earlier failures are forgiven.
    pub(crate) fn succeeded(mut self) {
        *self.failures = Failures::default();
    }
}

/// How long to wait after the `count`-th failure in a row.
fn delay(count: u32) -> Option<Duration> {
    let doublings = count.checked_sub(FREE_FAILURES)?;
    let factor = 2u32.checked_pow(doublings).unwrap_or(u32::MAX);
    Some(FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn retry_after(throttle: &Throttle, username: &str) -> Option<u64> {
        match throttle.attempt(username).await {
            Ok(_) => None,
            Err(AuthError::Throttled { retry_after }) => Some(retry_after.as_secs()),
            Err(other) => panic!("{other}"),
        }
    }

    async fn fail(throttle: &Throttle, username: &str, times: u32) {
        for _ in 0..times {
            throttle.attempt(username).await.unwrap().failed();
        }
    }

    #[test]
    fn the_delay_grows_and_has_an_end() {
        let seconds = [4, 5, 6, 7, 10, 11, 12, 1_000, u32::MAX].map(|count| delay(count).map(|delay| delay.as_secs()));
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
        throttle.attempt("ada").await.unwrap().succeeded();
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
                let attempt = throttle.attempt("ada").await.ok()?;
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
        for number in 0..PENDING {
            attempts.push(throttle.attempt(&format!("user-{number}")).await.unwrap());
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
}
