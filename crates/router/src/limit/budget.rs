//! How many requests are sent again: a share of all, so that a service that fails does not get several times the load
//! because it does, and a few a second beyond that, so that a service with few requests has some at all.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where nothing is said, in percent.
const PERCENT: u32 = 20;

/// Those beyond the share, a second; they are saved up for as many seconds as [`SAVED`].
const RESERVE: u64 = 10;
const SAVED: u64 = 10;

/// Nanoseconds in which one of the reserve flows in.
const EMISSION: u64 = 1_000_000_000 / RESERVE;

/// Most that is saved up of the share, in hundredths of one.
const CREDIT_MAX: u64 = 100 * 100;

/// What is left. Kept from one snapshot to the next.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    /// Hundredths.
    credit: AtomicU64,
    /// When the reserve is full again, by [`crate::clock`].
    full_at: AtomicU64,
}

impl RetryBudget {
    /// A request came.
    pub(crate) fn deposit(&self, percent: Option<u32>) {
        if self.credit.load(Relaxed) < CREDIT_MAX {
            self.credit.fetch_add(percent.unwrap_or(PERCENT).into(), Relaxed);
        }
    }

    /// Whether a request may be sent again.
    pub(crate) fn withdraw(&self, now: u64) -> bool {
        let of_credit = |credit: u64| credit.checked_sub(100);
        let of_reserve = |full_at: u64| {
            let after = full_at.max(now) + EMISSION;
            (after - now <= SAVED * RESERVE * EMISSION).then_some(after)
        };
        self.credit.fetch_update(Relaxed, Relaxed, of_credit).is_ok()
            || self.full_at.fetch_update(Relaxed, Relaxed, of_reserve).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many of so many requests a second are sent again where all of them fail.
    fn again(budget: &RetryBudget, percent: u32, a_second: u64, seconds: u64) -> u64 {
        let moments = (0..seconds * a_second).map(|n| SECOND + n * SECOND / a_second);
        let again = |now| {
            budget.deposit(Some(percent));
            u64::from(budget.withdraw(now))
        };
        moments.map(again).sum()
    }

    #[test]
    fn a_service_with_few_requests_may_send_all_of_them_again() {
        assert_eq!(again(&RetryBudget::default(), 0, 10, 20), 200);
    }

    proptest! {
        #[test]
        fn the_budget_holds_whatever_comes(percent in 0..=100_u32, a_second in 1..2000_u64, seconds in 1..20_u64) {
            let again = again(&RetryBudget::default(), percent, a_second, seconds);
            let share = a_second * seconds * u64::from(percent) / 100;
            prop_assert!(again <= share + RESERVE * (seconds + SAVED) + 1, "{again}");
            prop_assert!(again >= share.saturating_sub(1), "{again}");
        }
    }
}
