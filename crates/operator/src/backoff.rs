//! How long an object that failed waits: longer each time, and not all at the same moment.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(300);

/// Failures in a row of each object.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<(String, String), u32>>);

impl Failures {
    /// Counts a failure, and says how long to wait.
    pub(crate) fn count(&self, namespace: &str, name: &str) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry((namespace.into(), name.into())).or_default();
        *count = count.saturating_add(1);
        pause(*count).mul_f64(rand::random_range(0.5..1.0))
    }

    /// The object is well again.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !failures.is_empty() {
            failures.remove(&(namespace.into(), name.into()));
        }
    }
}

/// How long to wait after so many failures in a row.
pub(crate) fn pause(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        assert_eq!(pause(1), FIRST);
        assert_eq!(pause(3), FIRST * 4);
        assert_eq!(pause(100), LONGEST);
        let failures = Failures::default();
        assert!(failures.count("a", "b") <= FIRST);
        assert!(failures.count("a", "b") <= FIRST * 2);
        failures.forget("a", "b");
        assert!(failures.count("a", "b") <= FIRST);
    }
}
