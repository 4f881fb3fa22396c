//! Lines as spans: a request's own, and below it one for each of its stages.

use jiff::Timestamp;
use kea_core::span::SpanId;
use serde_json::{Map, Value, json};

use super::{attribute, renamed};
use crate::record::Stage;

/// Kinds of spans, by their numbers in the protocol.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// Fields that say what a span itself says, or that go with the record alone.
const LEFT_OUT: [&str; 10] = [
    "@timestamp",
    "ecs.version",
    "event.duration",
    "event.kind",
    "event.dataset",
    "trace.id",
    "span.id",
    "parent.id",
    "http.request.body.content",
    "http.response.body.content",
];

/// The spans of a line's request; none where its trace is not recorded.
pub(super) fn spans(fields: &Map<String, Value>) -> Vec<Value> {
    request(fields).map_or_else(Vec::new, |request| {
        let stages = request.stages(fields);
        std::iter::once(request.span(fields)).chain(stages).collect()
    })
}

/// What all spans of a request have from it.
struct Request<'a> {
    trace: &'a str,
    id: SpanId,
    parent: Option<&'a str>,
    /// In nanoseconds since 1970.
    begun: i128,
    /// In nanoseconds.
    took: i128,
}

fn request(fields: &Map<String, Value>) -> Option<Request<'_>> {
    let text = |name: &str| fields.get(name)?.as_str();
    Some(Request {
        trace: text("trace.id")?,
        id: SpanId::from_hex(text("span.id")?)?,
        parent: text("parent.id"),
        begun: text("@timestamp")?.parse::<Timestamp>().ok()?.as_nanosecond(),
        took: fields.get("event.duration")?.as_i64()?.into(),
    })
}

impl Request<'_> {
    fn span(&self, fields: &Map<String, Value>) -> Value {
        let of_stages = |name: &str| name.starts_with("kea.micros.") || name.starts_with("kea.audit.");
        let attributes = fields.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()) && !of_stages(name));
        let attributes: Vec<Value> = attributes.map(|(name, is)| attribute(renamed(name), is)).collect();
        // A span of a server has failed where the server is to blame.
        let failed = fields.get("kea.fault").is_some_and(|fault| fault == "kea" || fault == "model");
        let status = if failed {
            json!({"code": 2, "message": fields.get("event.reason").cloned().unwrap_or_else(|| "".into())})
        } else {
            json!({})
        };
        json!({
            "traceId": self.trace,
            "spanId": self.id.to_string(),
            "parentSpanId": self.parent.unwrap_or_default(),
            "name": name(fields),
            "kind": SERVER,
            "startTimeUnixNano": self.begun.to_string(),
            "endTimeUnixNano": (self.begun + self.took).to_string(),
            "attributes": attributes,
            "status": status,
        })
    }

    /// Stages that took time, one after the other. A stage that came twice, as with a second attempt, is one span that is
    /// as long as both.
    fn stages(&self, fields: &Map<String, Value>) -> Vec<Value> {
        let mut begun = self.begun;
        let mut spans = Vec::new();
        for stage in Stage::ALL {
            let micros = fields.get(stage.field()).and_then(Value::as_i64).unwrap_or_default();
            let ended = begun + i128::from(micros) * 1000;
            if micros > 0 {
                spans.push(self.stage(stage, begun, ended, fields));
            }
            begun = ended;
        }
        spans
    }

    fn stage(&self, stage: Stage, begun: i128, ended: i128, fields: &Map<String, Value>) -> Value {
        let (number, kind) = match stage {
            Stage::Upstream => (SpanId::UPSTREAM, CLIENT),
            other => (SpanId::UPSTREAM + 1 + other as u64, INTERNAL),
        };
        let replica = fields.get("kea.replica").filter(|_| stage == Stage::Upstream);
        let attributes: Vec<Value> = replica.map(|replica| attribute("kea.replica", replica)).into_iter().collect();
        json!({
            "traceId": self.trace,
            "spanId": self.id.part(number).to_string(),
            "parentSpanId": self.id.to_string(),
            "name": stage.as_str(),
            "kind": kind,
            "startTimeUnixNano": begun.to_string(),
            "endTimeUnixNano": ended.to_string(),
            "attributes": attributes,
        })
    }
}

/// What is done, of which there are few: a service and a function that are there, else the action alone.
fn name(fields: &Map<String, Value>) -> String {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let action = text("event.action").unwrap_or_default();
    match (text("service.name"), text("kea.function")) {
        (Some(service), Some(function)) if fields.contains_key("service.version") => {
            format!("{action} {service}/{function}")
        }
        _ => action.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"@timestamp":"2026-01-31T12:00:00.000001Z","ecs.version":"8.17.0","event.action":"call","event.duration":970000,"event.outcome":"failure","event.reason":"model-crashed","trace.id":"4bf92f3577b34da6a3ce929d0e0e4736","span.id":"00f067aa0ba90200","parent.id":"00f067aa0ba902b7","http.response.status_code":502,"http.request.body.content":"secret","service.name":"iris","service.version":"1","kea.function":"predict","kea.fault":"model","kea.replica":"iris-1-0","kea.micros.authenticate":20,"kea.micros.cache":0,"kea.micros.upstream":900,"kea.micros.respond":50,"kea.audit.hash":"0"}"#;

    fn of(line: &str) -> Vec<Value> {
        spans(&serde_json::from_str(line).unwrap())
    }

    #[test]
    fn a_request_is_a_span_with_one_for_each_stage_below() {
        insta::assert_json_snapshot!(of(LINE));
    }

    #[test]
    fn a_request_whose_trace_is_not_recorded_has_none() {
        assert_eq!(of(&LINE.replace("span.id", "other.id")), [Value::Null; 0]);
    }

    #[test]
    fn what_a_caller_made_up_is_no_name() {
        assert_eq!(of(&LINE.replace("service.version", "other"))[0]["name"], "call");
    }

    #[test]
    fn a_callers_fault_is_no_failure_of_the_server() {
        let faults = |whose: &str| of(&LINE.replace("\"model\"", whose))[0]["status"] != json!({});
        assert_eq!(["\"caller\"", "\"none\"", "\"kea\""].map(faults), [false, false, true]);
    }
}
