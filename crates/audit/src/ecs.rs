//! A record as a line of JSON, in the names of the Elastic Common Schema; what that has no name for is below `kea.`.

use serde::{Serialize, Serializer};

use crate::{
    mask,
    object::Object,
    record::{Outcome, Record, Stage},
};

/// The version of the schema whose names are used.
const ECS_VERSION: &str = "8.17.0";

/// Bytes of a path that are written.
const LONGEST_PATH: usize = 2048;

/// What KEA says of the trail itself: that it begins, and what it found.
#[derive(Debug, Serialize)]
pub(crate) struct Note<'a> {
    #[serde(rename = "@timestamp", serialize_with = "micros")]
    pub(crate) timestamp: jiff::Timestamp,
    #[serde(rename = "ecs.version")]
    pub(crate) ecs_version: &'static str,
    #[serde(rename = "event.kind")]
    pub(crate) kind: &'static str,
    #[serde(rename = "event.dataset")]
    pub(crate) dataset: &'static str,
    #[serde(rename = "event.action")]
    pub(crate) action: &'a str,
    #[serde(rename = "event.reason", skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    #[serde(rename = "host.name")]
    pub(crate) host: &'a str,
    /// SHA-256 of what a crash left of a line.
    #[serde(rename = "kea.audit.torn", skip_serializing_if = "Option::is_none")]
    pub(crate) torn: Option<&'a str>,
}

impl<'a> Note<'a> {
    pub(crate) fn new(action: &'a str, host: &'a str) -> Self {
        Self {
            timestamp: jiff::Timestamp::now(),
            ecs_version: ECS_VERSION,
            kind: "event",
            dataset: "kea.audit",
            action,
            reason: None,
            host,
            torn: None,
        }
    }
}

fn micros<S: Serializer>(time: &jiff::Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

/// Appends the record as a JSON object. Names are flat (`http.request.method`): the schema allows it, and a line is found
/// with `grep`. What is not known is not there.
pub(crate) fn render(record: &Record, host: &str, out: &mut Vec<u8>) {
    let mut line = Object::begin(out);
    event(record, &mut line);
    exchange(record, &mut line);
    place(record, host, &mut line);
    outcome(record, &mut line);
    line.end();
}

fn event(record: &Record, line: &mut Object<'_>) {
    let (category, event_type) = kind(record);
    line.shown("@timestamp", format_args!("{:.6}", record.time));
    line.text("ecs.version", ECS_VERSION);
    line.text("event.kind", "event");
    line.text("event.dataset", "kea.audit");
    line.texts("event.category", [category]);
    line.texts("event.type", [event_type]);
    line.text("event.action", record.action);
    line.text("event.outcome", event_outcome(record.outcome));
    line.number("event.duration", record.total.saturating_mul(1000));
    line.some_text("event.reason", record.problem);
}

/// The request and its answer.
fn exchange(record: &Record, line: &mut Object<'_>) {
    let path = record.uri.path();
    line.text("http.request.id", &record.request_id);
    line.text("trace.id", &record.trace_id);
    if let Some(span) = record.span {
        line.shown("span.id", span.id);
        span.parent.into_iter().for_each(|parent| line.shown("parent.id", parent));
    }
    line.text("http.request.method", record.method.as_str());
    line.text("url.path", &path[..path.floor_char_boundary(LONGEST_PATH)]);
    line.number("http.request.body.bytes", record.request_bytes);
    line.some_text("http.request.body.content", record.payload.as_ref().map(mask::request).as_deref());
    line.some_number("http.response.status_code", Some(record.status).filter(|status| *status > 0));
    line.number("http.response.body.bytes", record.response_bytes);
    line.some_text("http.response.body.content", record.payload.as_ref().map(mask::response).as_deref());
}

/// Who called what, and where.
fn place(record: &Record, host: &str, line: &mut Object<'_>) {
    line.shown("client.ip", record.client);
    if let Some(user) = &record.user {
        line.text("user.name", &user.name);
        line.texts("user.roles", user.roles.iter().map(String::as_str));
    }
    line.some_text("service.name", record.service.as_deref());
    line.some_text("service.version", record.version.as_deref());
    line.text("host.name", host);
}

/// What the schema has no names for.
fn outcome(record: &Record, line: &mut Object<'_>) {
    line.text("kea.outcome", record.outcome.as_str());
    line.text("kea.fault", record.fault.as_str());
    line.text("kea.protocol", record.protocol);
    line.some_number("kea.grpc_status", record.grpc_status);
    line.some_text("kea.function", record.function.as_deref());
    line.some_text("kea.replica", record.replica.as_deref());
    line.some_text("kea.cache", record.cache);
    line.some_text("kea.misfit", record.misfit.as_deref());
    line.some_text("kea.key", record.user.as_ref().and_then(|user| user.key.as_deref()));
    for stage in Stage::ALL {
        line.number(stage.field(), record.stages[stage as usize]);
    }
}

/// Appends anything of this room as a JSON object.
pub(crate) fn write(line: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, line).expect("text and numbers are JSON, and memory takes all that is written");
}

/// Category and type, of the words that the schema has.
fn kind(record: &Record) -> (&'static str, &'static str) {
    match record.action {
        "login" | "logout" => ("authentication", if record.outcome == Outcome::Success { "start" } else { "denied" }),
        _ if record.changes => ("configuration", "change"),
        _ if record.outcome == Outcome::Denied => ("web", "denied"),
        _ => ("web", "access"),
    }
}

/// The schema knows three outcomes.
fn event_outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Denied | Outcome::Invalid | Outcome::Unavailable | Outcome::Error => "failure",
        Outcome::Cancelled => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Uri};

    use super::*;
    use crate::record::{Fault, User};

    fn rendered(record: &Record) -> serde_json::Value {
        let mut line = Vec::new();
        render(record, "router-1", &mut line);
        serde_json::from_slice(&line).unwrap()
    }

    fn begun(path: &str) -> Record {
        let record =
            Record::begun("r-1".into(), "4bf92f3577b34da6a3ce929d0e0e4736".into(), Method::POST, Uri::default());
        Record { uri: path.parse().unwrap(), time: jiff::Timestamp::UNIX_EPOCH, ..record }
    }

    #[test]
    fn a_call_in_the_names_of_the_schema() {
        let user = User { name: "ada".into(), roles: ["engineer".to_string()].into(), key: Some("key-7".into()) };
        let record = Record {
            action: "call",
            user: Some(user),
            service: Some("iris".into()),
            version: Some("2".into()),
            function: Some("predict".into()),
            replica: Some("iris-2-0".into()),
            protocol: "kea",
            cache: Some("miss"),
            status: 200,
            outcome: Outcome::Success,
            fault: Fault::None,
            request_bytes: 80,
            response_bytes: 90,
            stages: [10, 20, 5, 1, 900, 30],
            total: 970,
            ..begun("/api/v1/k8c/services/iris/predict?token=secret")
        };
        insta::assert_json_snapshot!(rendered(&record));
    }

    #[test]
    fn a_caller_that_nobody_knows_and_that_left() {
        insta::assert_json_snapshot!(rendered(&begun("/v2/models/iris/infer")));
    }

    #[test]
    fn changes_and_logins_have_categories_of_their_own() {
        let change = Record { action: "deleteService", changes: true, ..begun("/x") };
        assert_eq!(rendered(&change)["event.category"], serde_json::json!(["configuration"]));
        let login = Record { action: "login", outcome: Outcome::Denied, changes: true, ..begun("/x") };
        assert_eq!(rendered(&login)["event.category"], serde_json::json!(["authentication"]));
        assert_eq!(rendered(&login)["event.type"], serde_json::json!(["denied"]));
    }
}
