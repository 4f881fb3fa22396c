//! OpenTelemetry's logs and traces, as OTLP over HTTP in JSON: a request for some lines.
//!
//! By hand, as the exporters that there are keep what waits in memory alone, and drop it.

mod logs;
mod traces;

use async_trait::async_trait;
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};
use serde_json::{Map, Value, json};

use super::{Deliver, Fate, Line, Refusal, away, client, excerpt, setup};
use crate::AuditError;

/// What is made of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Logs,
    Traces,
}

pub(crate) struct Otlp {
    signal: Signal,
    url: Url,
    http: reqwest::Client,
}

impl Otlp {
    /// A log record for each line, sent below the base URL, as OpenTelemetry's own exporters take it.
    pub(crate) fn logs(base: &Url) -> Result<Self, AuditError> {
        Ok(Self { signal: Signal::Logs, url: setup::join(base, &["v1", "logs"]), http: client()? })
    }

    /// Spans for each line whose trace is recorded.
    pub(crate) fn traces(base: &Url) -> Result<Self, AuditError> {
        Ok(Self { signal: Signal::Traces, url: setup::join(base, &["v1", "traces"]), http: client()? })
    }
}

#[async_trait]
impl Deliver for Otlp {
    fn name(&self) -> &'static str {
        match self.signal {
            Signal::Logs => "otlp",
            Signal::Traces => "otlp-traces",
        }
    }

    async fn deliver(&mut self, lines: &[Line]) -> Result<Vec<Fate>, Refusal> {
        let items = self.signal.items(lines);
        if items.is_empty() {
            return Ok(vec![Fate::Kept; lines.len()]);
        }
        let request = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let response = request.body(self.signal.body(&items).to_string()).send().await.map_err(away)?;
        match response.status() {
            status if status.is_success() => Ok(self.signal.fates(&response.bytes().await.map_err(away)?, lines.len())),
            StatusCode::PAYLOAD_TOO_LARGE => Err(Refusal::TooLarge),
            // The one status by which a collector says that the same will never be taken.
            StatusCode::BAD_REQUEST => Ok(vec![Fate::Rejected(excerpt(response).await); lines.len()]),
            _ => Err(Refusal::Away(excerpt(response).await)),
        }
    }
}

impl Signal {
    fn items(self, lines: &[Line]) -> Vec<Value> {
        let fields = lines.iter().map(|line| serde_json::from_str::<Map<_, _>>(&line.text).unwrap_or_default());
        match self {
            Self::Logs => fields.map(logs::record).collect(),
            Self::Traces => fields.flat_map(|fields| traces::spans(&fields)).collect(),
        }
    }

    fn body(self, items: &[Value]) -> Value {
        let resource = json!({"attributes": [attribute("service.name", &"kea".into())]});
        let version = env!("CARGO_PKG_VERSION");
        match self {
            Self::Logs => {
                let scope = json!({"name": "kea.audit", "version": version});
                json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": items}]}]})
            }
            Self::Traces => {
                let scope = json!({"name": "kea", "version": version});
                json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": items}]}]})
            }
        }
    }

    /// A collector says how many items it refuses, and not which: the specification has them not sent again.
    fn fates(self, answer: &[u8], count: usize) -> Vec<Fate> {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let rejected = match self {
            Self::Logs => &answer["partialSuccess"]["rejectedLogRecords"],
            Self::Traces => &answer["partialSuccess"]["rejectedSpans"],
        };
        // 64-bit numbers are text in this protocol's JSON.
        let rejected = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or_default();
        let rejected = usize::try_from(rejected).unwrap_or(count).min(count);
        let why = Fate::Rejected(answer["partialSuccess"]["errorMessage"].as_str().unwrap_or_default().into());
        let mut fates = vec![why; rejected];
        fates.resize(count, Fate::Kept);
        fates
    }
}

/// The service of a record is that of the model; the resource is KEA's.
fn renamed(name: &str) -> &str {
    match name {
        "service.name" => "kea.service.name",
        "service.version" => "kea.service.version",
        other => other,
    }
}

fn attribute(key: &str, is: &Value) -> Value {
    json!({"key": key, "value": value(is)})
}

fn value(is: &Value) -> Value {
    match is {
        Value::Array(items) => json!({"arrayValue": {"values": items.iter().map(value).collect::<Vec<_>>()}}),
        Value::Number(number) if !number.is_f64() => json!({"intValue": number.to_string()}),
        Value::Number(number) => json!({ "doubleValue": number }),
        Value::Bool(is) => json!({ "boolValue": is }),
        Value::String(text) => json!({ "stringValue": text }),
        other => json!({"stringValue": other.to_string()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_is_counted() {
        let count = |signal: Signal, answer: &str| {
            signal.fates(answer.as_bytes(), 3).iter().filter(|fate| **fate != Fate::Kept).count()
        };
        assert_eq!(count(Signal::Logs, "{}"), 0);
        assert_eq!(count(Signal::Logs, r#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"x"}}"#), 2);
        assert_eq!(count(Signal::Logs, r#"{"partialSuccess":{"rejectedLogRecords":9}}"#), 3);
        assert_eq!(count(Signal::Traces, r#"{"partialSuccess":{"rejectedSpans":1}}"#), 1);
    }
}
