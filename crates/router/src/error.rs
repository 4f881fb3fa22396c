//! What can go wrong on the request path, and the one place that turns it into a status.

use std::time::Duration;

use http::StatusCode;
use kea_auth::{AuthError, policy::Denied};
use kea_core::management::{BASE_PATH, Violation};
use kea_http::{ApiError, segment::BadSegment};
use kea_openapi::validate::Rejection;

use crate::cache::CacheAway;

/// Why a request is not answered by a model.
#[derive(Debug)]
pub enum RouterError {
    /// No service of that name.
    NoService(String),
    /// Nothing at that path.
    NoPath(String),
    /// A part of the path that means nothing.
    BadPath(BadSegment),
    /// The path takes other methods.
    WrongMethod(&'static str),
    /// The version is not running.
    NoVersion {
        /// The service.
        service: String,
        /// The version asked for.
        version: String,
        /// Versions that run.
        running: Vec<String>,
    },
    /// No version answers yet.
    NotLive {
        /// The service.
        service: String,
        /// Why.
        reason: String,
    },
    /// Who calls is not known.
    Unauthenticated(AuthError),
    /// Who calls is known, and may not.
    Forbidden(Box<Denied>),
    /// The contract is not known, so nothing can be checked against it.
    NoContract(String),
    /// The request does not fit the contract.
    Rejected(Rejection),
    /// The body is of another type.
    ContentType(String),
    /// A call of gRPC to replicas that do not speak HTTP/2.
    NoGrpc(String),
    /// A query parameter that means nothing here.
    UnknownParameter(String),
    /// The body could not be read.
    Body(ApiError),
    /// No replica takes requests.
    NoReplica(String),
    /// No replica could be reached, or one broke off.
    Unreachable {
        /// The service.
        service: String,
        /// The last replica's failure.
        reason: String,
    },
    /// The replica broke off in the middle of its answer.
    Broken(String),
    /// The model's answer is not what its contract says, and has to be.
    Misfit {
        /// The service.
        service: String,
        /// The version that answered.
        version: String,
        /// What does not fit.
        problems: Vec<Violation>,
    },
    /// The service has more requests than it can answer in time.
    Overloaded {
        /// The service.
        service: String,
        /// When there may be room again.
        retry_after: Duration,
    },
    /// More requests than a rule of the service allows.
    RateLimited {
        /// The service.
        service: String,
        /// Who shares the number.
        by: &'static str,
        /// When the next one may come.
        retry_after: Duration,
    },
    /// The replica did not answer in time.
    Timeout {
        /// The service.
        service: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The caller wants a kept answer alone, and there is none.
    NotCached,
    /// Answers of the cache could not be removed.
    CacheAway(CacheAway),
}

/// When to try again after a service was not ready.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<BadSegment> for RouterError {
    fn from(bad: BadSegment) -> Self {
        Self::BadPath(bad)
    }
}

impl From<RouterError> for ApiError {
    fn from(error: RouterError) -> Self {
        use RouterError as E;
        match error {
            E::NoService(name) => {
                let detail = format!("there is no service `{name}`: GET /api/v1/k8c/services lists them");
                Self::new(StatusCode::NOT_FOUND, "no-service", detail)
            }
            E::NoPath(path) => Self::new(StatusCode::NOT_FOUND, "no-path", format!("there is nothing at `{path}`")),
            E::BadPath(bad) => bad.into(),
            E::WrongMethod(allowed) => {
                let detail = format!("this path takes these methods alone: {allowed}");
                Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", detail).with_allow(allowed)
            }
            E::NoVersion { service, version, running } => {
                let running = running.join(", ");
                let detail = format!("version `{version}` of `{service}` is not running; running: {running}");
                Self::new(StatusCode::NOT_FOUND, "no-version", detail)
            }
            E::NotLive { service, reason } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", format!("`{service}` is not ready: {reason}"))
                    .with_retry_after(RETRY_AFTER)
            }
            E::Unauthenticated(error) => unauthenticated(error),
            E::Forbidden(denied) => {
                Self::new(StatusCode::FORBIDDEN, "forbidden", denied.to_string()).with_missing(denied.missing)
            }
            E::NoContract(service) => {
                let detail = format!("the schema of `{service}` is not known yet, so the request cannot be validated");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "no-schema", detail).with_retry_after(RETRY_AFTER)
            }
            E::Rejected(rejection) => rejected(rejection),
            E::ContentType(received) => {
                let detail = format!("the body is `{received}`: send JSON with `content-type: application/json`");
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail)
            }
            E::NoGrpc(service) => {
                let detail =
                    format!("`{service}` speaks HTTP/1.1, and gRPC needs HTTP/2: deploy it with `protocol: http2`");
                Self::new(StatusCode::NOT_IMPLEMENTED, "no-grpc", detail)
            }
            E::UnknownParameter(name) => {
                let detail = format!("the query parameter `{name}` is not known: the only one is `version`");
                Self::new(StatusCode::BAD_REQUEST, "unknown-parameter", detail)
            }
            E::Body(error) => error,
            E::NoReplica(service) => {
                let detail = format!("no replica of `{service}` takes requests at the moment");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "no-replica", detail).with_retry_after(RETRY_AFTER)
            }
            E::Unreachable { service, reason } => {
                let detail = format!("no replica of `{service}` could answer: {reason}");
                Self::new(StatusCode::BAD_GATEWAY, "unreachable", detail)
            }
            E::Broken(reason) => {
                let detail = format!("the replica broke off in the middle of its answer: {reason}");
                Self::new(StatusCode::BAD_GATEWAY, "unreachable", detail)
            }
            E::Misfit { service, version, problems } => misfit(&service, &version, problems),
            E::Overloaded { service, retry_after } => {
                let detail = format!("`{service}` has more requests than it can answer in time: try again later");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).with_retry_after(retry_after)
            }
            E::RateLimited { service, by, retry_after } => {
                let detail = format!("too many requests to `{service}` for its limit by {by}: try again later");
                Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail).with_retry_after(retry_after)
            }
            E::Timeout { service, after } => {
                let detail = format!("`{service}` did not answer within {} ms", after.as_millis());
                Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail)
            }
            E::NotCached => {
                let detail = "the answer is not in the cache, and the request has `Cache-Control: only-if-cached`";
                Self::new(StatusCode::GATEWAY_TIMEOUT, "not-cached", detail)
            }
            E::CacheAway(error) => {
                let detail = format!("{error}; nothing was removed");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "cache-away", detail).with_retry_after(RETRY_AFTER)
            }
        }
    }
}

fn unauthenticated(error: AuthError) -> ApiError {
    match error {
        AuthError::Throttled { retry_after } => {
            let detail = "too many failed logins: wait before the next one";
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "throttled", detail).with_retry_after(retry_after)
        }
        AuthError::Store(error) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "store", error.to_string()),
        other => {
            let detail =
                format!("{other}: log in with POST {BASE_PATH}/auth/login and send `Authorization: Bearer TOKEN`");
            ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
        }
    }
}

/// A caller can do nothing about it, and an owner wants to know what.
fn misfit(service: &str, version: &str, problems: Vec<Violation>) -> ApiError {
    let (at, expected, received) = problems.first().map_or(("", "", ""), |first| {
        let Violation { pointer, expected, received, detail: _ } = first;
        (pointer, expected, received)
    });
    let what = match at.is_empty() {
        true => format!("the answer of version {version} of `{service}` is none that its contract speaks of"),
        false => format!("version {version} of `{service}` does not answer as its contract says, at `{at}`"),
    };
    let detail = format!(
        "{what}: expected {expected}, received {received}; this is the model's fault, nothing is wrong with the request"
    );
    ApiError::new(StatusCode::BAD_GATEWAY, "invalid-answer", detail).with_errors(problems)
}

/// What a request that does not fit its contract is answered with.
pub(crate) fn rejected(rejection: Rejection) -> ApiError {
    let status = match &rejection {
        Rejection::NoFunction { .. } => StatusCode::NOT_FOUND,
        Rejection::NotJson { .. } | Rejection::Invalid(_) | Rejection::Unsupported(_) => StatusCode::BAD_REQUEST,
    };
    ApiError::new(status, rejection.kind(), rejection.sentence()).with_errors(rejection.into_violations())
}
