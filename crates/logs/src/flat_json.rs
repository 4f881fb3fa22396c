//! An event as one flat JSON object: its own fields and those of the spans around it side by side, so that a log
//! store finds every line of a request by its id.

use std::{error::Error, fmt};

use jiff::Timestamp;
use kea_core::current_request;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::{LookupSpan, Scope},
};

pub(crate) struct FlatJson;

/// Names of the line's own fields. A field of an event or span that has one of them gets `_` behind it.
const OWN: [&str; 4] = ["time", "level", "target", "spans"];

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Value>,
    #[serde(flatten)]
    fields: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    spans: Vec<&'a str>,
}

impl<S, N> FormatEvent<S, N> for FlatJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Map::new();
        let mut spans = Vec::new();
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            spans.push(span.name());
            let extensions = span.extensions();
            let of_span = extensions.get::<FormattedFields<N>>().map(|formatted| serde_json::from_str(formatted));
            if let Some(Ok(Value::Object(of_span))) = of_span {
                fields.extend(of_span);
            }
        }
        if let Some(id) = current_request::id() {
            fields.insert("request_id".into(), Value::from(&*id));
        }
        // The message is the event's own; a span's field of that name stays a field.
        if let Some(message) = fields.remove("message") {
            fields.insert("message_".into(), message);
        }
        event.record(&mut Collect(&mut fields));
        let message = fields.remove("message");
        for name in OWN {
            if let Some(value) = fields.remove(name) {
                fields.insert(format!("{name}_"), value);
            }
        }
        let time = format!("{:.6}", Timestamp::now());
        let metadata = event.metadata();
        let line = Line { time, level: metadata.level().as_str(), target: metadata.target(), message, fields, spans };
        writeln!(writer, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}

struct Collect<'a>(&'a mut Map<String, Value>);

impl Collect<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        // `r#type` is how Rust writes a field that is called `type`.
        let name = field.name();
        self.0.insert(name.strip_prefix("r#").unwrap_or(name).into(), value.into());
    }
}

impl Visit for Collect<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match serde_json::Number::from_f64(value) {
            Some(number) => self.put(field, number),
            None => self.put(field, value.to_string()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
