//! Time as atomics hold it: nanoseconds since the process first asked, by tokio's clock, so that tests can stop it.

use std::{sync::LazyLock, time::Duration};

use tokio::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds; never 0, which stands for "never". They last for 584 years.
pub(crate) fn now() -> u64 {
    nanos(START.elapsed()) + 1
}

/// A span in nanoseconds.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 2)
}
