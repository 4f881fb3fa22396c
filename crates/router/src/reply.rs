//! What a model answers, held against its contract where the service asks for that. It is done before an answer is kept or
//! given, so that what the cache has was held against it, too.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{StatusCode, header, response::Parts};
use kea_audit::Recorder;
use kea_core::{Layout, management::Violation, service::Engine, validation::ResponseValidation};
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
pub(crate) async fn checked(call: &ValidCall, response: Response) -> Result<Response, RouterError> {
    let wanted = call.admitted.service.route.settings.validation.responses;
    match promise(call, &response).filter(|_| wanted != ResponseValidation::Off) {
        // On the heap, as most services do not ask for it.
        Some(validator) => Box::pin(held(call, validator, wanted, response)).await,
        None => Ok(response),
    }
}

/// What the answer is held against. A web service promises nothing, and what is no JSON is passed on as it comes, as are
/// streams of events and all that is no answer of the function.
fn promise<'c>(call: &'c ValidCall, response: &Response) -> Option<&'c Validator> {
    let version = call.admitted.version();
    let validator = version.validator.as_deref().filter(|_| version.engine != Engine::External)?;
    let function = validator.contract().function(&call.admitted.function)?;
    let is_answer = response.status() == StatusCode::OK && response.headers().get(header::CONTENT_TYPE).is_some_and(is_json);
    (is_answer && function.layout != Layout::Opaque).then_some(validator)
}

async fn held(
    call: &ValidCall,
    validator: &Validator,
    wanted: ResponseValidation,
    response: Response,
) -> Result<Response, RouterError> {
    let (parts, body) = response.into_parts();
    let checks = &call.admitted.version().metrics.checks;
    let (found, body) = match whole::read(body, call.body_limit).await? {
        Answer::Whole(body) => (check(call, validator, &parts, &body).await, Body::from(body)),
        Answer::Large(body) => (Err(too_large(call.body_limit)), body),
    };
    match found {
        Ok(()) => count(&checks.fits),
        Err(Unfit::Misfit(misfit)) => {
            count(&checks.misfits);
            tell(call, &misfit);
            if wanted == ResponseValidation::Enforce {
                return Err(refused(call, misfit.0));
            }
        }
        Err(Unfit::Unread(problem)) => {
            count(&checks.unchecked);
            if wanted == ResponseValidation::Enforce {
                return Err(refused(call, vec![problem]));
            }
        }
    }
    Ok(Response::from_parts(parts, body))
}

/// Why an answer was not seen to fit.
enum Unfit {
    Misfit(Misfit),
    /// It could not be read.
    Unread(Violation),
}

async fn check(call: &ValidCall, validator: &Validator, parts: &Parts, body: &Bytes) -> Result<(), Unfit> {
    let plain;
    let body = if parts.headers.contains_key(header::CONTENT_ENCODING) {
        plain = decoded(parts, body, call.body_limit).await?;
        &plain
    } else {
        body
    };
    let function = &call.admitted.function;
    let found = match call.admitted.protocol {
        Protocol::Kea => validator.check_answer(function, body),
        Protocol::V2 => validator.check_v2_answer(function, body, call.all_outputs),
    };
    found.map_err(Unfit::Misfit)
}

/// Replicas elsewhere may compress what they answer.
async fn decoded(parts: &Parts, body: &Bytes, limit: usize) -> Result<Bytes, Unfit> {
    let unread = |error: kea_http::ApiError| {
        let received = error.detail;
        Unfit::Unread(unread("an answer that KEA can read", received))
    };
    let plain = kea_http::encoding::decoded(&parts.headers, Body::from(body.clone())).map_err(unread)?;
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
