//! Log lines of a service: those kept so far, or all further ones as server-sent events.

use std::{borrow::Cow, convert::Infallible};

use axum::{
    Json,
    extract::State,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use kea_core::{management::Logs, quantity::Span};
use kea_http::ApiError;
use kea_logs::{Entries, Query};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::{
    ApiState, errors,
    extract::{Params, ServiceName},
};

/// Most lines of one answer.
const MOST: u32 = 10_000;

/// Which lines are asked for.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct LogQuery {
    /// How many of the latest lines; 100 where neither this nor `since` is given.
    #[schemars(range(max = MOST))]
    tail: Option<u32>,
    /// From when on: a time (`2026-01-31T12:00:00Z`), or how long ago (`5m`).
    since: Option<Since>,
    /// Name of the replica whose lines are meant; `build` for the steps by which versions were made.
    replica: Option<String>,
    /// Whether further lines are sent as they come, as server-sent events.
    #[serde(default)]
    follow: bool,
}

/// A moment, given as such or as the time since.
pub(crate) struct Since(pub(crate) Timestamp);

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().ok().or_else(|| ago(&text)).map(Self).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is neither a time like `2026-01-31T12:00:00Z` nor a span like `5m`"))
        })
    }
}

/// The moment that lies `span` in the past. One before all time is the first one.
fn ago(span: &str) -> Option<Timestamp> {
    let Span(span) = span.parse().ok()?;
    let span = SignedDuration::try_from(span).ok()?;
    Some(Timestamp::now().checked_sub(span).unwrap_or(Timestamp::MIN))
}

impl JsonSchema for Since {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Since".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let span = generator.subschema_for::<Span>();
        json_schema!({"anyOf": [{"type": "string", "format": "date-time"}, span]})
    }
}

/// `GET /logs/{serviceId}`
pub(crate) async fn read(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
    Params(LogQuery { tail, since, replica, follow }): Params<LogQuery>,
) -> Result<Response, ApiError> {
    state.deployer.get(&id).ok_or_else(|| errors::no_service(id.as_str()))?;
    if tail.is_some_and(|lines| lines > MOST) {
        return Err(errors::bad_query(format!("`tail` is at most {MOST}: name a `replica`, or a later `since`")));
    }
    let query = Query { tail: tail.map(|lines| lines as usize), since: since.map(|Since(time)| time), replica };
    if follow {
        let entries = state.logs.follow(&id, query).await.map_err(|error| errors::of_logs(&error))?;
        return Ok(events(&state, entries));
    }
    let entries = state.logs.tail(&id, query).await.map_err(|error| errors::of_logs(&error))?;
    let log_entries = entries.iter().map(ToString::to_string).collect();
    Ok(Json(Logs { log_entries }).into_response())
}

/// Each line as an event. Ends when the server stops, which would otherwise wait for the reader to leave.
fn events(state: &ApiState, entries: Entries) -> Response {
    let lines = entries.map(|entry| Ok::<_, Infallible>(Event::default().data(entry.to_string())));
    let until_stop = lines.take_until(state.stopping.clone().cancelled_owned());
    Sse::new(until_stop).keep_alive(KeepAlive::default()).into_response()
}
