//! OpenTelemetry's logs, as OTLP over HTTP in JSON: a request for some lines, of which the fields are attributes.
//!
//! By hand, as the exporters that there are keep what waits in memory alone, and drop it.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};
use serde_json::{Map, Value, json};

use super::{Deliver, Fate, Line, Refusal, away, client, excerpt, setup};
use crate::AuditError;

pub(crate) struct Otlp {
    url: Url,
    http: reqwest::Client,
}

impl Otlp {
    /// Below the base URL, as OpenTelemetry's own exporters take it.
    pub(crate) fn new(base: &Url) -> Result<Self, AuditError> {
        Ok(Self { url: setup::join(base, &["v1", "logs"]), http: client()? })
    }
}

#[async_trait]
impl Deliver for Otlp {
    fn name(&self) -> &'static str {
        "otlp"
    }

    async fn deliver(&mut self, lines: &[Line]) -> Result<Vec<Fate>, Refusal> {
        let request = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let response = request.body(body(lines).to_string()).send().await.map_err(away)?;
        match response.status() {
            status if status.is_success() => Ok(fates(&response.bytes().await.map_err(away)?, lines.len())),
            StatusCode::PAYLOAD_TOO_LARGE => Err(Refusal::TooLarge),
            // The one status by which a collector says that the same will never be taken.
            StatusCode::BAD_REQUEST => Ok(vec![Fate::Rejected(excerpt(response).await); lines.len()]),
            _ => Err(Refusal::Away(excerpt(response).await)),
        }
    }
}

/// A collector says how many records it refuses, and not which: the specification has them not sent again.
fn fates(answer: &[u8], count: usize) -> Vec<Fate> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let rejected = &answer["partialSuccess"]["rejectedLogRecords"];
    // 64-bit numbers are text in this protocol's JSON.
    let rejected = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or_default();
    let rejected = usize::try_from(rejected).unwrap_or(count).min(count);
    let why = Fate::Rejected(answer["partialSuccess"]["errorMessage"].as_str().unwrap_or_default().into());
    let mut fates = vec![why; rejected];
    fates.resize(count, Fate::Kept);
    fates
}

fn body(lines: &[Line]) -> Value {
    let records: Vec<Value> = lines.iter().map(record).collect();
    let resource = json!({"attributes": [attribute("service.name", &"kea".into())]});
    let scope = json!({"name": "kea.audit", "version": env!("CARGO_PKG_VERSION")});
    json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": records}]}]})
}

fn record(line: &Line) -> Value {
    let mut fields: Map<String, Value> = serde_json::from_str(&line.text).unwrap_or_default();
    let time = fields.remove("@timestamp").and_then(|time| time.as_str()?.parse::<Timestamp>().ok());
    let nanos = time.map_or(0, Timestamp::as_nanosecond).to_string();
    let trace = fields.remove("trace.id").unwrap_or_else(|| "".into());
    let failed = fields.get("event.outcome").is_some_and(|outcome| outcome == "failure");
    let action = fields.get("event.action").cloned().unwrap_or_default();
    // The service of a record is that of the model; the resource is KEA's.
    let renamed = |name: &str| match name {
        "service.name" | "service.version" => format!("kea.{name}"),
        other => other.to_owned(),
    };
    let attributes: Vec<Value> = fields.iter().map(|(name, value)| attribute(&renamed(name), value)).collect();
    json!({
        "timeUnixNano": nanos,
        "severityNumber": if failed { 13 } else { 9 },
        "severityText": if failed { "WARN" } else { "INFO" },
        "body": value(&action),
        "traceId": trace,
        "attributes": attributes,
    })
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
    fn a_line_is_a_log_record() {
        let text = r#"{"@timestamp":"2026-01-31T12:00:00.000001Z","event.action":"call","event.outcome":"failure","trace.id":"4bf92f3577b34da6a3ce929d0e0e4736","user.roles":["admin"],"http.response.status_code":502,"service.name":"iris"}"#;
        insta::assert_json_snapshot!(record(&Line { text: text.into(), hash: "0".into() }));
    }

    #[test]
    fn a_partial_success_is_counted() {
        let fates = |answer: &str| fates(answer.as_bytes(), 3).iter().filter(|fate| **fate != Fate::Kept).count();
        assert_eq!(fates("{}"), 0);
        assert_eq!(fates(r#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"x"}}"#), 2);
        assert_eq!(fates(r#"{"partialSuccess":{"rejectedLogRecords":9}}"#), 3);
    }
}
