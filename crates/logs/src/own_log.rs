//! KEA's own log: lines on standard error, for people or for programs.

use std::{env, io, io::IsTerminal};

use kea_core::current_request;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{self, FmtContext, FormatEvent, FormatFields, MakeWriter, format::JsonFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::flat_json::FlatJson;

/// The environment variable that says what is logged, as `info,kea_router=debug`.
pub const FILTER_VARIABLE: &str = "KEA_LOG";

/// What the lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured where standard error is a terminal and `NO_COLOR` is not set.
    #[default]
    Human,
    /// One JSON object a line: `time`, `level`, `target`, `message`, the `request_id` of whom it is about, the fields of the
    /// event and of all spans around it (the inner ones win), and `spans`, their names from the outermost on.
    Json,
}

/// Why KEA's own log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TracingError {
    /// What is to be logged is not understood.
    #[error("`{filter}` does not say what to log ({why}): write for example `info` or `info,kea_router=debug`")]
    Filter {
        /// The text.
        filter: String,
        /// What is wrong with it.
        why: String,
    },
    /// It was set up before.
    #[error("the log of this process is set up already")]
    AlreadySetUp,
}

/// Sends everything that is traced to standard error from now on, to the end of the process. What is logged is said
/// by the environment variable `KEA_LOG`, or by `default_filter` where that is not set. A standard error that is
/// closed or full is no reason to fail.
///
/// # Errors
/// [`TracingError`].
pub fn init_tracing(format: Format, default_filter: &str) -> Result<(), TracingError> {
    let set = env::var(FILTER_VARIABLE).ok().filter(|filter| !filter.is_empty());
    let filter = filter(set.as_deref().unwrap_or(default_filter))?;
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::registry()
        .with(filter)
        .with(layer(format, io::stderr, colours))
        .try_init()
        .map_err(|_| TracingError::AlreadySetUp)
}

fn filter(text: &str) -> Result<EnvFilter, TracingError> {
    let parsed = EnvFilter::builder().parse(text);
    parsed.map_err(|error| TracingError::Filter { filter: text.into(), why: error.to_string() })
}

fn layer<S, W>(format: Format, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer()
        .with_writer(writer)
        .with_ansi(colours)
        // They would be printed to standard error with `eprintln`, which panics where that is closed.
        .log_internal_errors(false);
    match format {
        Format::Human => layer.event_format(OfRequest(fmt::format().with_ansi(colours))).boxed(),
        Format::Json => layer.fmt_fields(JsonFields::new()).event_format(FlatJson).boxed(),
    }
}

/// Lines with the id of the request that they are about, behind all else.
struct OfRequest<F>(F);

impl<S, N, F> FormatEvent<S, N> for OfRequest<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let Some(id) = current_request::id() else { return self.0.format_event(context, writer, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{} request_id={id}", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter_text: &str, work: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::registry().with(filter(filter_text).unwrap()).with(layer(
            format,
            move || writer.clone(),
            false,
        ));
        tracing::subscriber::with_default(subscriber, work);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    fn within_a_request() {
        let request = tracing::info_span!("request", request_id = "r-1", attempt = tracing::field::Empty);
        request.in_scope(|| {
            let _forward = tracing::info_span!("forward", replica = "iris-1-0", attempt = 1).entered();
            tracing::warn!(status = 502, ok = false, target = "pod", "no \"answer\"\nfrom {}", "it");
            request.record("attempt", 2);
            tracing::debug!("not logged");
        });
    }

    #[test]
    fn json_has_the_fields_of_all_spans_on_each_line() {
        let text = logged(Format::Json, "info", within_a_request);
        assert_eq!(text.lines().count(), 1, "{text}");
        let mut line: serde_json::Value = serde_json::from_str(&text).unwrap();
        let time = line.as_object_mut().unwrap().remove("time").unwrap();
        time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let expected = serde_json::json!({
            "level": "WARN", "target": "kea_logs::own_log::tests", "message": "no \"answer\"\nfrom it",
            "status": 502, "ok": false, "request_id": "r-1", "replica": "iris-1-0", "attempt": 1,
            "target_": "pod", "spans": ["request", "forward"],
        });
        assert_eq!(line, expected);
        assert!(text.starts_with(r#"{"time":""#), "the time comes first: {text}");
    }

    #[test]
    fn json_tells_errors_and_numbers_as_they_are() {
        let text = logged(Format::Json, "info", || {
            let error = io::Error::other("disk");
            tracing::info!(error = &error as &(dyn std::error::Error + 'static), ratio = 0.5, big = u64::MAX, nan = f64::NAN, path = ?"a\"b");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["error"], "disk");
        assert_eq!(line["ratio"], 0.5);
        assert_eq!(line["big"], u64::MAX);
        assert_eq!(line["nan"], "NaN");
        assert_eq!(line["path"], "\"a\\\"b\"");
        assert!(line.get("spans").is_none(), "{text}");
    }

    #[test]
    fn human_lines_have_the_fields_of_all_spans() {
        let text = logged(Format::Human, "info", within_a_request);
        for part in
            ["WARN", "request{request_id=\"r-1\"", "forward{replica=\"iris-1-0\"", "status=502", "no \"answer\""]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains("not logged"), "{text}");
    }

    #[test]
    fn lines_name_the_request_that_they_are_about() {
        for (format, expected) in
            [(Format::Human, "late ms=3 request_id=r-7"), (Format::Json, "\"request_id\":\"r-7\"")]
        {
            let text = logged(format, "info", || {
                let work = current_request::within("r-7".into(), async { tracing::warn!(ms = 3, "late") });
                tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
                tracing::warn!("of nobody");
            });
            let lines: Vec<_> = text.lines().collect();
            assert!(lines.len() == 2 && lines[0].contains(expected), "{text}");
            assert!(!lines[1].contains("request_id"), "{text}");
        }
    }

    #[test]
    fn the_filter_says_what_is_logged() {
        let debug = |filter| logged(Format::Json, filter, || tracing::debug!("here"));
        assert!(debug("info,kea_logs=debug").contains("here"));
        assert_eq!(debug("kea_logs=off,debug"), "");
    }

    #[test]
    fn a_filter_that_is_not_understood_is_told() {
        let told = filter("info,kea_router=loud").unwrap_err().to_string();
        assert!(told.contains("`info,kea_router=loud`"), "{told}");
    }
}
