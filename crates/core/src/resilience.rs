//! How a service is protected: from replicas that fail, and from more requests than it can answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    change::invalid,
    port::DeployError,
    quantity::{Memory, Span},
};

/// How it is found out which replicas answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HealthSettings {
    /// Path that a healthy replica answers with 2xx. Where nothing is said: `/readyz` of a model server; of an existing
    /// web service it is enough that a connection is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Time from one probe to the next, for replicas that have answered no request meanwhile; 5 s where nothing is said,
    /// 0 turns probes off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// How long a probe waits; 2 s where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Probes that have to fail in a row before a replica gets no more requests; 2 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_after: Option<u32>,
    /// Probes that have to succeed in a row before it gets requests again; 1 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_after: Option<u32>,
    /// Requests that have to fail in a row (no connection, one that breaks off, no answer in time, 502, 504, and 503 of
    /// who is no model server of KEA's) before a replica is left alone for a while; 5 where nothing is said, 0 turns that
    /// off. A model that fails by itself, which is 500, does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub eject_after: Option<u32>,
    /// How long it is left alone at first; 5 s where nothing is said. Each time that it fails again adds as much, up to 5
    /// minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejection_time: Option<Span>,
    /// How long a new replica, or one that came back, takes to get its full share. Where nothing is said: 10 s with
    /// `peak_ewma`, else 0. Of no effect with `ip_hash`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Span>,
}

/// What one request, and all of them together, may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitSettings {
    /// How long a replica may take to accept a connection; 1 s where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Span>,
    /// Largest body of a request, where that is less than the gateway's own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Memory>,
    /// Requests sent again, in percent of all, beyond 10 a second; 20 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub retry_percent: Option<u32>,
    /// Most requests at replicas at once; 1,024 where nothing is said. It follows the latency below that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub concurrency: Option<u32>,
    /// Most requests that wait for their turn; further ones get 503. 1,024 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub queue: Option<u32>,
}

/// A number of requests in a span of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// How many.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub requests: u32,
    /// In which time; 1 s where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Span>,
    /// How many may come at once; `requests` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub burst: Option<u32>,
    /// Who shares the number.
    #[serde(default)]
    pub by: RateKey,
}

/// Who shares a number of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RateKey {
    /// Each user or key by itself; who has no name, by the address.
    #[default]
    Caller,
    /// Each API key by itself; who has none is not counted.
    Key,
    /// All callers of the service together.
    Service,
    /// All callers of a function together.
    Function,
    /// Each client address by itself.
    Address,
}

impl RateKey {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Key => "key",
            Self::Service => "service",
            Self::Function => "function",
            Self::Address => "address",
        }
    }
}

/// As many rules as anyone can keep in mind: each costs each request a look-up.
const RATE_LIMITS_MAX: usize = 16;

impl HealthSettings {
    /// # Errors
    /// What cannot be, with the pointer to the field.
    pub fn check(&self) -> Result<(), DeployError> {
        let Self {
            path,
            interval: _,
            timeout,
            unhealthy_after,
            healthy_after,
            eject_after,
            ejection_time,
            slow_start: _,
        } = self;
        if path.as_deref().is_some_and(|path| !path.starts_with('/') || path.contains(|c: char| !c.is_ascii_graphic()))
        {
            return Err(invalid(
                "/health/path",
                "a path begins with `/` and has no spaces: give for example `/healthz`",
            ));
        }
        not_zero("/health/timeout", *timeout)?;
        not_zero("/health/ejectionTime", *ejection_time)?;
        within("/health/unhealthyAfter", *unhealthy_after, 1, 100)?;
        within("/health/healthyAfter", *healthy_after, 1, 100)?;
        within("/health/ejectAfter", *eject_after, 0, 1000)
    }
}

impl LimitSettings {
    /// # Errors
    /// What cannot be, with the pointer to the field.
    pub fn check(&self) -> Result<(), DeployError> {
        let Self { connect_timeout, body, retry_percent, concurrency, queue } = self;
        not_zero("/limits/connectTimeout", *connect_timeout)?;
        if body.is_some_and(|body| body.bytes == 0) {
            return Err(invalid("/limits/body", "a limit of 0 bytes lets no request pass: give for example `1Mi`"));
        }
        within("/limits/retryPercent", *retry_percent, 0, 100)?;
        within("/limits/concurrency", *concurrency, 1, 1_000_000)?;
        within("/limits/queue", *queue, 0, 1_000_000)
    }
}

/// # Errors
/// What cannot be, with the pointer to the field.
pub fn check_rate_limits(limits: &[RateLimit]) -> Result<(), DeployError> {
    if limits.len() > RATE_LIMITS_MAX {
        return Err(invalid("/rateLimit", format!("{} rules are too many: at most {RATE_LIMITS_MAX}", limits.len())));
    }
    limits.iter().enumerate().try_for_each(|(index, RateLimit { requests, per, burst, by: _ })| {
        within(&format!("/rateLimit/{index}/requests"), Some(*requests), 1, 1_000_000_000)?;
        within(&format!("/rateLimit/{index}/burst"), *burst, 1, 1_000_000_000)?;
        let pointer = format!("/rateLimit/{index}/per");
        not_zero(&pointer, *per)?;
        let day = std::time::Duration::from_secs(24 * 3600);
        if per.is_some_and(|per| per.0 > day) {
            return Err(invalid(&pointer, "counts are kept for a day at most: give a shorter time"));
        }
        Ok(())
    })
}

fn not_zero(pointer: &str, span: Option<Span>) -> Result<(), DeployError> {
    match span {
        Some(span) if span.0.is_zero() => Err(invalid(pointer, "a time of 0 is none: give for example `1s`")),
        _ => Ok(()),
    }
}

fn within(pointer: &str, value: Option<u32>, least: u32, most: u32) -> Result<(), DeployError> {
    match value {
        Some(value) if value < least || value > most => {
            Err(invalid(pointer, format!("{value} is outside of {least} to {most}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    /// The pointer of what is wrong.
    fn pointer(checked: Result<(), DeployError>) -> Option<String> {
        match checked {
            Ok(()) => None,
            Err(DeployError::Invalid { pointer, .. }) => Some(pointer),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let health = |value: Value| pointer(from_value::<HealthSettings>(value).unwrap().check());
        assert_eq!(health(json!({"interval": "0s", "ejectAfter": 0, "path": "/healthz"})), None);
        assert_eq!(health(json!({"path": "healthz"})).as_deref(), Some("/health/path"));
        assert_eq!(health(json!({"path": "/a\r\nb"})).as_deref(), Some("/health/path"));
        assert_eq!(health(json!({"timeout": 0})).as_deref(), Some("/health/timeout"));
        assert_eq!(health(json!({"healthyAfter": 0})).as_deref(), Some("/health/healthyAfter"));
        let limits = |value: Value| pointer(from_value::<LimitSettings>(value).unwrap().check());
        assert_eq!(limits(json!({"queue": 0, "retryPercent": 0, "body": "1Ki"})), None);
        assert_eq!(limits(json!({"concurrency": 0})).as_deref(), Some("/limits/concurrency"));
        assert_eq!(limits(json!({"retryPercent": 101})).as_deref(), Some("/limits/retryPercent"));
        assert_eq!(limits(json!({"body": 0})).as_deref(), Some("/limits/body"));
        let rates = |value: Value| pointer(check_rate_limits(&from_value::<Vec<RateLimit>>(value).unwrap()));
        assert_eq!(rates(json!([{"requests": 5}, {"requests": 1, "per": "1h", "by": "address"}])), None);
        assert_eq!(rates(json!([{"requests": 5}, {"requests": 0}])).as_deref(), Some("/rateLimit/1/requests"));
        assert_eq!(rates(json!([{"requests": 5, "per": "0s"}])).as_deref(), Some("/rateLimit/0/per"));
        assert_eq!(rates(json!([{"requests": 5, "per": "48h"}])).as_deref(), Some("/rateLimit/0/per"));
    }
}
