//! Shadow traffic: a version gets copies of the requests that the live one answers. Callers get the live version's answer
//! and never wait; what the copies are answered with is compared with it, counted, and given to nobody.

mod body;
mod compare;
mod copies;
mod copy;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use http::{Request, request::Parts};
use kea_core::{Engine, routing::ServiceRoute, shadow::Shadow};
use kea_http::{RequestId, TraceContext};
use tokio::{
    sync::{Semaphore, oneshot},
    time::Instant,
};

pub(crate) use self::copies::{Copies, HELP};
use self::{body::Watch, copy::Copied};
use crate::{
    clock,
    forward::is_idempotent,
    table::VersionEntry,
    validate::{CallBody, ValidCall},
};

/// Copies of a service's requests that are under way at once; further requests are not copied. A shadow that hangs holds
/// that many bodies, and no more.
const UNDER_WAY_MAX: usize = 32;

/// Largest body that is copied, and largest answer that is compared, in bytes.
const LARGEST: usize = 1 << 20;

/// Nanoseconds between two lines of a log that say how a shadow answers.
const QUIET: u64 = 10_000_000_000;

/// The version of a service that gets copies of requests.
pub(crate) struct Shadowing {
    rule: Shadow,
    kept: Arc<Kept>,
}

/// What outlives the snapshot.
#[derive(Debug)]
struct Kept {
    free: Arc<Semaphore>,
    /// Counts the requests of which the shadow gets its share.
    turn: AtomicU32,
    /// When a line of the log was written last, by [`clock`].
    told_at: AtomicU64,
}

impl Shadowing {
    /// The one that `route` asks for, which goes on where the one of before was.
    pub(crate) fn of(route: &ServiceRoute, before: Option<&Self>) -> Option<Self> {
        let rule = route.shadow.clone()?;
        Some(Self { rule, kept: before.map_or_else(Arc::default, |before| before.kept.clone()) })
    }

    /// Sends a copy of a call that goes to the live version, if it is to be copied. What is returned is to be told of the
    /// answer to the call.
    pub(crate) fn copy(&self, call: &ValidCall, deadline: Instant) -> Option<Watch> {
        let version = self.version_for(call)?;
        let copies = &version.metrics.copies;
        let whole = match &call.body {
            CallBody::Whole(body) => Some(body).filter(|_| may_be_called_twice(call, version)),
            CallBody::Stream(_) => None,
        };
        let Some(body) = whole else {
            copies.skipped();
            return None;
        };
        if !self.kept.is_turn(self.rule.percent()) {
            return None;
        }
        if body.len() > LARGEST {
            copies.not_compared();
            return None;
        }
        let Ok(place) = self.kept.free.clone().try_acquire_owned() else {
            copies.dropped();
            return None;
        };
        let (watch, theirs) = oneshot::channel();
        let copied = Copied {
            service: call.admitted.service.clone(),
            rule: self.rule.clone(),
            kept: self.kept.clone(),
            parts: head(&call.parts),
            function: call.admitted.function.clone(),
            protocol: call.admitted.protocol,
            client: call.admitted.client,
            deadline,
            place,
        };
        tokio::spawn(copied.run(body.clone(), theirs));
        Some(Watch::new(watch))
    }

    /// The shadow, where it has replicas and the call is the live version's. Whoever asks for a version by name means that one.
    fn version_for<'a>(&self, call: &'a ValidCall) -> Option<&'a VersionEntry> {
        let (service, answering) = (&call.admitted.service, call.admitted.version());
        let is_live = service.route.live.as_ref() == Some(&answering.version);
        let shadow = service.version(Some(self.rule.version.as_str()))?;
        let is_another = shadow.version != answering.version && !shadow.pool.is_empty();
        (call.admitted.any_version && is_live && is_another).then_some(shadow)
    }
}

/// Whether calling both versions does no harm. A function that the shadow does not have is called, so that it shows; of a web
/// service nobody knows.
fn may_be_called_twice(call: &ValidCall, shadow: &VersionEntry) -> bool {
    let function = &*call.admitted.function;
    if shadow.engine == Engine::External {
        return false;
    }
    let contract = shadow.validator.as_ref().map(|validator| validator.contract());
    let of_shadow = contract.and_then(|contract| contract.function(function));
    is_idempotent(call.admitted.version(), function) && of_shadow.is_none_or(|function| function.idempotent)
}

/// What a model server is told of a request: where it goes, and under which id it is found.
fn head(of: &Parts) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.uri = of.uri.clone();
    if let Some(id) = of.extensions.get::<RequestId>() {
        parts.extensions.insert(id.clone());
    }
    if let Some(trace) = of.extensions.get::<TraceContext>() {
        parts.extensions.insert(trace.clone());
    }
    parts
}

impl Default for Kept {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(UNDER_WAY_MAX)), turn: AtomicU32::new(0), told_at: AtomicU64::new(0) }
    }
}

impl Kept {
    /// Whether one more request is copied: exactly so many of each hundred, spread over it.
    fn is_turn(&self, percent: u8) -> bool {
        let (turn, percent) = (self.turn.fetch_add(1, Ordering::Relaxed) % 100, u32::from(percent));
        turn * percent % 100 < percent
    }

    /// Whether a line may be written: one for each [`QUIET`].
    fn may_tell(&self) -> bool {
        let (now, told_at) = (clock::now(), self.told_at.load(Ordering::Relaxed));
        let is_due = told_at == 0 || now.saturating_sub(told_at) >= QUIET;
        is_due && self.told_at.compare_exchange(told_at, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// What became of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Same,
    /// The JSON pointer to where the answers differ first.
    Different(String),
    /// Why the shadow has no answer.
    Failed(String),
    NotCompared,
}
