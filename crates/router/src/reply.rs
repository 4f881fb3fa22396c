//! What a model answers, held against its contract where the service asks for that. It is done before an answer is kept or
//! given, so that what the cache has was held against it, too.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use kea_audit::Recorder;
use kea_core::{Layout, management::Violation, service::Engine, validation::ResponseValidation};
use kea_http::ApiError;
use kea_openapi::validate::{Misfit, Validator};

use crate::{
    RouterError, clock,
    path::Protocol,
    validate::{ValidCall, is_json},
    whole::{self, Answer},
};

/// How long the log says nothing more of a version whose answers do not fit.
const QUIET: Duration = Duration::from_secs(60);

/// The answer of a replica, as it may be given: as it is, unless it was held against the contract and must fit it.
///
/// # Errors
/// 502 where it does not fit and has to, or the replica broke off.
pub(crate) async fn checked(call: &mut ValidCall, response: Response) -> Result<Response, RouterError> {
    let wanted = call.admitted.service.route.settings.validation.responses;
    if wanted == ResponseValidation::Off {
        return Ok(response);
    }
    let promised = promise(call, &response);
    match promised {
        // On the heap, as most services do not ask for it.
        Some(validator) => Box::pin(held(call, validator, wanted, response)).await,
        None => Ok(response),
    }
}

/// What the answer is held against. A web service promises nothing, and what is no JSON is passed on as it comes, as are
/// streams of events and all that is no answer of the function.
fn promise(call: &ValidCall, response: &Response) -> Option<Arc<Validator>> {
    let version = call.admitted.version();
    let validator = version.validator.as_ref().filter(|_| version.engine != Engine::External)?;
    let function = validator.contract().function(&call.admitted.function)?;
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(is_json);
    let is_answer = response.status() == StatusCode::OK && is_json && function.layout != Layout::Opaque;
    is_answer.then(|| validator.clone())
}

async fn held(
    call: &mut ValidCall,
    validator: Arc<Validator>,
    wanted: ResponseValidation,
    response: Response,
) -> Result<Response, RouterError> {
    let (limit, (parts, body)) = (call.body_limit, response.into_parts());
    let (found, body) = match whole::read(body, limit).await? {
        Answer::Whole(body) => {
            let plain = plain(&parts.headers, &body, limit).await;
            (plain.and_then(|plain| check(call, &validator, &plain)), Body::from(body))
        }
        Answer::Large(body) => (Err(too_large(limit)), body),
    };
    match found.map_err(|unfit| noted(call, unfit)) {
        Err(problems) if wanted == ResponseValidation::Enforce => Err(refused(call, problems)),
        Err(_problems) => Ok(Response::from_parts(parts, body)),
        Ok(()) => {
            count(&call.admitted.version().metrics.checks.fits);
            Ok(Response::from_parts(parts, body))
        }
    }
}

/// Why an answer was not seen to fit.
enum Unfit {
    Misfit(Misfit),
    /// It could not be read.
    Unread(Violation),
}

fn check(call: &ValidCall, validator: &Validator, body: &[u8]) -> Result<(), Unfit> {
    let function = &call.admitted.function;
    let found = match call.admitted.protocol {
        Protocol::Kea => validator.check_answer(function, body),
        Protocol::V2 => validator.check_v2_answer(function, body, call.all_outputs),
    };
    found.map_err(Unfit::Misfit)
}

/// Counts and tells what does not fit; all of its problems.
fn noted(call: &ValidCall, unfit: Unfit) -> Vec<Violation> {
    let checks = &call.admitted.version().metrics.checks;
    match unfit {
        Unfit::Misfit(misfit) => {
            count(&checks.misfits);
            tell(call, &misfit);
            misfit.0
        }
        Unfit::Unread(problem) => {
            count(&checks.unchecked);
            vec![problem]
        }
    }
}

/// The body as it was before a replica elsewhere compressed it.
async fn plain(headers: &HeaderMap, body: &Bytes, limit: usize) -> Result<Bytes, Unfit> {
    if !headers.contains_key(header::CONTENT_ENCODING) {
        return Ok(body.clone());
    }
    let unread = |error: ApiError| Unfit::Unread(unread("an answer that KEA can read", error.detail));
    let plain = kea_http::encoding::decoded(headers, Body::from(body.clone())).map_err(unread)?;
    kea_http::body::read(plain, limit).await.map_err(unread)
}

fn too_large(limit: usize) -> Unfit {
    Unfit::Unread(unread(&format!("an answer of at most {limit} bytes, the limit of bodies"), "more".into()))
}

fn unread(expected: &str, received: String) -> Violation {
    let detail = "answers are held against the contract only as far as they can be read whole: raise the limit of bodies, \
                  or set `validation.responses` to `log`";
    Violation { pointer: String::new(), expected: expected.into(), received, detail: detail.into() }
}

fn refused(call: &ValidCall, problems: Vec<Violation>) -> RouterError {
    let version = call.admitted.version().version.to_string();
    RouterError::Misfit { service: call.admitted.service.route.id.to_string(), version, problems }
}

/// Tells the record of the call, and the log once in a while, however many there are.
fn tell(call: &ValidCall, misfit: &Misfit) {
    Recorder::of(&call.parts.extensions).misfit(misfit.pointer());
    let version = call.admitted.version();
    let Some(answers) = version.metrics.checks.to_tell() else { return };
    let (service, function, version) = (&call.admitted.service.route.id, &*call.admitted.function, &version.version);
    let first = misfit.0.first();
    let (expected, received) = first.map_or(("", ""), |first| (&first.expected, &first.received));
    tracing::warn!(
        %service, %version, function, answers, pointer = misfit.pointer(), expected, received,
        "answers do not fit the model's contract",
    );
}

/// What became of the answers of a version that were to be held against its contract.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    fits: AtomicU64,
    misfits: AtomicU64,
    unchecked: AtomicU64,
    /// Until when the log says nothing of it; 0 where it has said nothing yet.
    quiet_until: AtomicU64,
    /// Misfits that the log did not tell of.
    untold: AtomicU64,
}

impl Checks {
    /// How many misfits the log is to tell of now, if any.
    fn to_tell(&self) -> Option<u64> {
        let now = clock::now();
        self.untold.fetch_add(1, Ordering::Relaxed);
        let until = self.quiet_until.load(Ordering::Relaxed);
        let next = now.saturating_add(clock::nanos(QUIET));
        let is_due = now >= until
            && self.quiet_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        is_due.then(|| self.untold.swap(0, Ordering::Relaxed))
    }

    /// Appends the counters, once there is something to tell.
    pub(crate) fn write(&self, labels: &str, out: &mut String) {
        let counts = [("fits", &self.fits), ("misfits", &self.misfits), ("unchecked", &self.unchecked)];
        let counts = counts.map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)));
        if counts.iter().all(|(_, count)| *count == 0) {
            return;
        }
        for (outcome, count) in counts {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "kea_checked_answers_total{{{labels},outcome=\"{outcome}\"}} {count}");
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What the counters mean, once at the head of the page.
pub(crate) const HELP: &str = "\
# HELP kea_checked_answers_total Answers of models held against their contracts, where services ask for that.
# TYPE kea_checked_answers_total counter
";

#[cfg(test)]
mod tests;
