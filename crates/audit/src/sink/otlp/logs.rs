//! Lines as log records, of which the fields are attributes.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{attribute, renamed, value};

/// A log record of a line's fields.
pub(super) fn record(mut fields: Map<String, Value>) -> Value {
    let time = fields.remove("@timestamp").and_then(|time| time.as_str()?.parse::<Timestamp>().ok());
    let nanos = time.map_or(0, Timestamp::as_nanosecond).to_string();
    let trace = fields.remove("trace.id").unwrap_or_else(|| "".into());
    let failed = fields.get("event.outcome").is_some_and(|outcome| outcome == "failure");
    let action = fields.get("event.action").cloned().unwrap_or_default();
    let span = fields.remove("span.id").unwrap_or_else(|| "".into());
    let attributes: Vec<Value> = fields.iter().map(|(name, value)| attribute(renamed(name), value)).collect();
    json!({
        "timeUnixNano": nanos,
        "severityNumber": if failed { 13 } else { 9 },
        "severityText": if failed { "WARN" } else { "INFO" },
        "body": value(&action),
        "traceId": trace,
        "spanId": span,
        "attributes": attributes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_log_record() {
        let text = r#"{"@timestamp":"2026-01-31T12:00:00.000001Z","event.action":"call","event.outcome":"failure","trace.id":"4bf92f3577b34da6a3ce929d0e0e4736","user.roles":["admin"],"http.response.status_code":502,"service.name":"iris"}"#;
        insta::assert_json_snapshot!(record(serde_json::from_str(text).unwrap()));
    }
}
