//! A service's settings of health, with their defaults.

use std::{sync::Arc, time::Duration};

use kea_core::{Settings, balancing::Algorithm, quantity::Span};

use crate::clock::nanos;

/// How replicas of a service are judged. Times are in nanoseconds, as [`crate::clock`] counts them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HealthRule {
    /// Path that probes ask for; `None` where nothing is said.
    pub(crate) path: Option<Arc<str>>,
    /// Time between probes; 0: none.
    pub(crate) interval: u64,
    pub(crate) timeout: Duration,
    pub(crate) unhealthy_after: u32,
    pub(crate) healthy_after: u32,
    /// Failures in a row; 0: never.
    pub(crate) eject_after: u32,
    pub(crate) ejection: u64,
    pub(crate) slow_start: u64,
}

impl HealthRule {
    /// What the settings say.
    pub(crate) fn of(settings: &Settings) -> Self {
        let health = &settings.health;
        let span = |span: Option<Span>, otherwise: u64| span.map_or(Duration::from_secs(otherwise), |span| span.0);
        let slow_start = if settings.algorithm() == Algorithm::PeakEwma { 10 } else { 0 };
        Self {
            path: health.path.as_deref().map(Arc::from),
            interval: nanos(span(health.interval, 5)),
            timeout: span(health.timeout, 2),
            unhealthy_after: health.unhealthy_after.unwrap_or(2),
            healthy_after: health.healthy_after.unwrap_or(1),
            eject_after: health.eject_after.unwrap_or(5),
            ejection: nanos(span(health.ejection_time, 5)),
            slow_start: nanos(span(health.slow_start, slow_start)),
        }
    }

    /// Whether replicas are asked how they are.
    pub(crate) fn probes(&self) -> bool {
        self.interval > 0
    }
}
