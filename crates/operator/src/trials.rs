//! What a router tells the operator of new versions that take over step by step: what it has counted at each step.
//!
//! The router counts without an end; this remembers what there was when it heard of a step. What is told is lost with the
//! process, and the operator sees how long there has been anything to count.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::{Json, extract::Request, response::IntoResponse, response::Response};
use http::{HeaderMap, Method, StatusCode, header::AUTHORIZATION};
use jiff::Timestamp;
use kea_core::{
    ServiceId, VersionId,
    port::Traffic,
    tally::Tally,
    trial::{TRIALS_PATH, TrialReport},
};
use kea_http::ApiError;
use sha2::{Digest, Sha256};

use crate::resources::RolloutRecord;

/// The rollouts that a router counts for.
pub struct Trials {
    traffic: Arc<dyn Traffic>,
    counting: Mutex<HashMap<ServiceId, Counting>>,
}

/// One rollout.
struct Counting {
    started_at: Timestamp,
    version: VersionId,
    live: VersionId,
    /// What the live version had answered when the rollout was seen first.
    live_at_first: Tally,
    step: Option<Step>,
}

/// What there was when a step was seen first.
struct Step {
    number: usize,
    at: Instant,
    new: Tally,
    live: Tally,
}

impl Trials {
    /// Rollouts of which `traffic` counts the requests.
    pub fn new(traffic: Arc<dyn Traffic>) -> Self {
        Self { traffic, counting: Mutex::default() }
    }

    /// Follows what the status says of a service's rollout.
    pub(crate) fn follow(&self, id: &ServiceId, record: Option<&RolloutRecord>) {
        let mut counting = self.counting();
        match record.filter(|record| record.is_progressing()) {
            Some(record) => {
                let before = counting.remove(id).filter(|before| before.started_at == record.told.started_at);
                counting.insert(id.clone(), self.counted(id, record, before));
            }
            None => drop(counting.remove(id)),
        }
    }

    /// Forgets the services that are not to be kept.
    pub(crate) fn keep(&self, is_kept: impl Fn(&ServiceId) -> bool) {
        self.counting().retain(|id, _| is_kept(id));
    }

    /// The same rollout at its step of now.
    fn counted(&self, id: &ServiceId, record: &RolloutRecord, before: Option<Counting>) -> Counting {
        let RolloutRecord { told, step_started_at, silent_since: _, failing_since: _ } = record;
        let tally = |version: &VersionId| self.traffic.tally(id, version);
        let mut counting = before.unwrap_or_else(|| Counting {
            started_at: told.started_at,
            version: told.version.clone(),
            live: told.from.clone(),
            live_at_first: tally(&told.from),
            step: None,
        });
        let is_new = counting.step.as_ref().is_none_or(|step| step.number != told.step);
        if step_started_at.is_some() && is_new {
            let (new, live) = (tally(&told.version), tally(&told.from));
            counting.step = Some(Step { number: told.step, at: Instant::now(), new, live });
        }
        counting
    }

    fn report(&self, id: &ServiceId) -> Option<TrialReport> {
        let counting = self.counting();
        let Counting { started_at, version, live, live_at_first, step } = counting.get(id)?;
        let Step { number, at, new: new_before, live: live_before } = step.as_ref()?;
        let (new, live) = (self.traffic.tally(id, version), self.traffic.tally(id, live));
        Some(TrialReport {
            started_at: *started_at,
            step: *number,
            counted_ms: u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX),
            new: new.since(new_before),
            live: live.since(live_before),
            live_since_first: live.since(live_at_first),
        })
    }

    fn counting(&self) -> MutexGuard<'_, HashMap<ServiceId, Counting>> {
        self.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers who shows `token`: the operator.
    pub fn answer(&self, token: &str, request: &Request) -> Response {
        if !shows(request.headers(), token) {
            let detail = "this is for KEA's own operator, which shows the token of the Secret `kea-peers`";
            return ApiError::new(StatusCode::UNAUTHORIZED, "no-peer", detail).into_response();
        }
        let id = request.uri().path().strip_prefix(TRIALS_PATH).filter(|_| request.method() == Method::GET);
        let report = id.and_then(|id| self.report(&id.parse().ok()?));
        report.map_or_else(|| no_trial().into_response(), |report| Json(report).into_response())
    }
}

fn no_trial() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no-trial",
        "no new version takes over step by step, as far as this router knows",
    )
}

/// Whether the token is shown. Digests are compared, so that the time says nothing of how much of it is right.
fn shows(headers: &HeaderMap, token: &str) -> bool {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    shown.is_some_and(|shown| Sha256::digest(shown) == Sha256::digest(token))
}

#[cfg(test)]
mod tests;
