//! What the versions of a service answer while one of them is beside another: counted for whoever judges the new one.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::response::Response;
use kea_core::tally::{BUCKETS, Latency, Tally};

use crate::{RouterError, cache};

/// The counts of one version. They take room only once there is something to count.
#[derive(Debug, Default)]
pub(crate) struct Trial(OnceLock<Box<Counts>>);

#[derive(Debug)]
struct Counts {
    requests: AtomicU64,
    rejected: AtomicU64,
    errors: AtomicU64,
    latency: [AtomicU64; BUCKETS],
}

/// What a request tells of the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Answered,
    Failed,
    Rejected,
    /// Nothing: the cache answered, or its caller made a mistake that no version could forgive.
    Nothing,
}

impl Trial {
    /// Counts what a request tells; the head of its answer `took` so long, since it was handed to the version.
    pub(crate) fn count(&self, told: Told, took: Option<Duration>) {
        if told == Told::Nothing {
            return;
        }
        let counts = self.0.get_or_init(Box::default);
        let add = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
        add(&counts.requests);
        match told {
            Told::Rejected => drop(add(&counts.rejected)),
            Told::Failed => drop(add(&counts.errors)),
            Told::Answered | Told::Nothing => {}
        }
        if let Some(took) = took.filter(|_| told != Told::Rejected) {
            add(&counts.latency[Latency::bucket(took)]);
        }
    }

    /// What was counted so far.
    pub(crate) fn tally(&self) -> Tally {
        let Some(counts) = self.0.get() else { return Tally::default() };
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // Parts first: a request that comes meanwhile must not be more failures than requests.
        let latency = Latency(counts.latency.iter().map(read).collect());
        let (rejected, errors) = (read(&counts.rejected), read(&counts.errors));
        Tally { requests: read(&counts.requests), rejected, errors, latency, ..Tally::default() }
    }
}

impl Default for Counts {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { requests: zero(), rejected: zero(), errors: zero(), latency: std::array::from_fn(|_| zero()) }
    }
}

/// What the head of an answer tells, or why there is none.
pub(crate) fn told(answered: &Result<Response, RouterError>) -> Told {
    use RouterError as E;
    match answered {
        Ok(response) if response.headers().get(cache::CACHE).is_some_and(|state| state == "hit") => Told::Nothing,
        Ok(response) if response.status().is_server_error() => Told::Failed,
        Ok(_) => Told::Answered,
        Err(E::Rejected(_)) => Told::Rejected,
        Err(E::NoContract(_) | E::NoReplica(_) | E::Unreachable { .. } | E::Broken(_)) => Told::Failed,
        Err(E::Timeout { .. } | E::Overloaded { .. } | E::Misfit { .. }) => Told::Failed,
        Err(_) => Told::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use kea_openapi::validate::Rejection;

    use super::*;

    fn answer(status: u16, cache: &str) -> Result<Response, RouterError> {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert("kea-cache", cache.parse().unwrap());
        Ok(response)
    }

    #[test]
    fn what_is_nobodys_fault_but_the_callers_is_no_error() {
        let rejected = RouterError::Rejected(Rejection::Invalid(Vec::new()));
        let timeout = RouterError::Timeout { service: "iris".into(), after: Duration::ZERO };
        let overloaded = RouterError::Overloaded { service: "iris".into(), retry_after: Duration::ZERO };
        let misfit = RouterError::Misfit { service: "iris".into(), version: "1".into(), problems: Vec::new() };
        let content_type = RouterError::ContentType("text/plain".into());
        for (answered, expected) in [
            (answer(200, "miss"), Told::Answered),
            (answer(404, "bypass"), Told::Answered),
            (answer(500, "bypass"), Told::Failed),
            (answer(503, "bypass"), Told::Failed),
            (answer(200, "hit"), Told::Nothing),
            (Err(rejected), Told::Rejected),
            (Err(timeout), Told::Failed),
            (Err(RouterError::NoReplica("iris".into())), Told::Failed),
            (Err(overloaded), Told::Failed),
            (Err(misfit), Told::Failed),
            (Err(content_type), Told::Nothing),
            (Err(RouterError::NotCached), Told::Nothing),
        ] {
            assert_eq!(told(&answered), expected, "{answered:?}");
        }
    }

    #[test]
    fn requests_are_counted_with_their_time() {
        let trial = Trial::default();
        assert_eq!(trial.tally(), Tally::default());
        let took = Some(Duration::from_millis(1));
        for (told, took) in
            [(Told::Answered, took), (Told::Failed, took), (Told::Nothing, took), (Told::Rejected, None)]
        {
            trial.count(told, took);
        }
        let Tally { requests, rejected, errors, latency, .. } = trial.tally();
        assert_eq!((requests, rejected, errors, latency.0.iter().sum::<u64>()), (3, 1, 1, 2));
    }
}
