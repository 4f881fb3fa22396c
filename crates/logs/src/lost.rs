//! Counts of lines that could not be kept.

use std::{
    collections::HashMap,
    mem::take,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use kea_core::ServiceId;

use crate::entry::{Entry, Stream};

/// Who prints: one replica of one service.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) service: ServiceId,
    pub(crate) replica: Arc<str>,
}

/// What writers and the keeper both look at.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Bytes of lines on their way to the keeper.
    pub(crate) queued: AtomicUsize,
    /// Lines lost since the start, for whatever reason.
    pub(crate) total: AtomicU64,
    overrun: Mutex<HashMap<Arc<Source>, u64>>,
}

impl Gauge {
    /// A line of `source` found no room on its way to the keeper.
    pub(crate) fn overran(&self, source: &Arc<Source>) {
        self.total.fetch_add(1, Ordering::Relaxed);
        *self.overrun().entry(source.clone()).or_default() += 1;
    }

    /// What has overrun since this was last asked.
    pub(crate) fn take_overrun(&self) -> HashMap<Arc<Source>, u64> {
        take(&mut *self.overrun())
    }

    fn overrun(&self) -> MutexGuard<'_, HashMap<Arc<Source>, u64>> {
        self.overrun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line that tells of `count` lost ones.
pub(crate) fn mark(replica: Arc<str>, count: u64, why: &str) -> Entry {
    let lines = if count == 1 { "line was" } else { "lines were" };
    Entry::now(replica, Stream::Kea, format!("… {count} {lines} lost: {why}"))
}
