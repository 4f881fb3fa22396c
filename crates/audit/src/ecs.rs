//! A record as a line of JSON, in the names of the Elastic Common Schema; what that has no name for is below `kea.`.

use kea_core::span::SpanId;
use serde::{Serialize, Serializer};

use crate::{
    mask,
    record::{Outcome, Record, Stage},
};

/// The version of the schema whose names are used.
const ECS_VERSION: &str = "8.17.0";

/// Bytes of a path that are written.
const LONGEST_PATH: usize = 2048;

/// Names are flat (`http.request.method`): the schema allows it, and a line is found with `grep`. What is not known is
/// not there.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "@timestamp", serialize_with = "micros")]
    timestamp: jiff::Timestamp,
    #[serde(rename = "ecs.version")]
    ecs_version: &'static str,
    #[serde(rename = "event.kind")]
    kind: &'static str,
    #[serde(rename = "event.dataset")]
    dataset: &'static str,
    #[serde(rename = "event.category")]
    category: [&'static str; 1],
    #[serde(rename = "event.type")]
    event_type: [&'static str; 1],
    #[serde(rename = "event.action")]
    action: &'a str,
    #[serde(rename = "event.outcome")]
    event_outcome: &'static str,
    #[serde(rename = "event.duration")]
    nanoseconds: u64,
    #[serde(rename = "event.reason", skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(rename = "http.request.id")]
    request_id: &'a str,
    #[serde(rename = "trace.id")]
    trace_id: &'a str,
    #[serde(rename = "span.id", skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    span: Option<SpanId>,
    #[serde(rename = "parent.id", skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    parent: Option<SpanId>,
    #[serde(rename = "http.request.method")]
    method: &'a str,
    #[serde(rename = "url.path")]
    path: &'a str,
    #[serde(rename = "http.request.body.bytes")]
    request_bytes: u64,
    #[serde(rename = "http.request.body.content", skip_serializing_if = "Option::is_none")]
    request_content: Option<String>,
    #[serde(rename = "http.response.status_code", skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(rename = "http.response.body.bytes")]
    response_bytes: u64,
    #[serde(rename = "http.response.body.content", skip_serializing_if = "Option::is_none")]
    response_content: Option<String>,
    #[serde(rename = "client.ip")]
    client: std::net::IpAddr,
    #[serde(rename = "user.name", skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(rename = "user.roles", skip_serializing_if = "Option::is_none")]
    roles: Option<&'a [String]>,
    #[serde(rename = "service.name", skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(rename = "service.version", skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(rename = "host.name")]
    host: &'a str,
    #[serde(rename = "kea.outcome")]
    outcome: &'static str,
    #[serde(rename = "kea.fault")]
    fault: &'static str,
    #[serde(rename = "kea.protocol")]
    protocol: &'a str,
    #[serde(rename = "kea.grpc_status", skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u32>,
    #[serde(rename = "kea.function", skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    #[serde(rename = "kea.replica", skip_serializing_if = "Option::is_none")]
    replica: Option<&'a str>,
    #[serde(rename = "kea.cache", skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    #[serde(rename = "kea.key", skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    // Microseconds of each stage.
    #[serde(rename = "kea.micros.authenticate")]
    authenticate: u32,
    #[serde(rename = "kea.micros.validate")]
    validate: u32,
    #[serde(rename = "kea.micros.cache")]
    cache_stage: u32,
    #[serde(rename = "kea.micros.balance")]
    balance: u32,
    #[serde(rename = "kea.micros.upstream")]
    upstream: u32,
    #[serde(rename = "kea.micros.respond")]
    respond: u32,
}

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

#[allow(clippy::ref_option, reason = "the signature is serde's")]
fn shown<S: Serializer>(id: &Option<SpanId>, serializer: S) -> Result<S::Ok, S::Error> {
    id.map(|id| id.to_string()).serialize(serializer)
}

/// Appends the record as a JSON object.
pub(crate) fn render(record: &Record, host: &str, out: &mut Vec<u8>) {
    let [authenticate, validate, cache_stage, balance, upstream, respond] =
        Stage::ALL.map(|s| record.stages[s as usize]);
    let (category, event_type) = kind(record);
    let path = record.uri.path();
    let line = Line {
        timestamp: record.time,
        ecs_version: ECS_VERSION,
        kind: "event",
        dataset: "kea.audit",
        category: [category],
        event_type: [event_type],
        action: record.action,
        event_outcome: event_outcome(record.outcome),
        nanoseconds: record.total.saturating_mul(1000),
        reason: record.problem,
        request_id: &record.request_id,
        trace_id: &record.trace_id,
        span: record.span.map(|span| span.id),
        parent: record.span.and_then(|span| span.parent),
        method: record.method.as_str(),
        path: &path[..path.floor_char_boundary(LONGEST_PATH)],
        request_bytes: record.request_bytes,
        request_content: record.payload.as_ref().map(mask::request),
        status: Some(record.status).filter(|status| *status > 0),
        response_bytes: record.response_bytes,
        response_content: record.payload.as_ref().map(mask::response),
        client: record.client,
        user: record.user.as_ref().map(|user| &*user.name),
        roles: record.user.as_ref().map(|user| &*user.roles),
        service: record.service.as_deref(),
        version: record.version.as_deref(),
        host,
        outcome: record.outcome.as_str(),
        fault: record.fault.as_str(),
        protocol: record.protocol,
        grpc_status: record.grpc_status,
        function: record.function.as_deref(),
        replica: record.replica.as_deref(),
        cache: record.cache,
        key: record.user.as_ref().and_then(|user| user.key.as_deref()),
        authenticate,
        validate,
        cache_stage,
        balance,
        upstream,
        respond,
    };
    write(&line, out);
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
