//! The audit trail of a server: how it is asked for, and how requests come into it.

use std::{path::PathBuf, sync::Arc};

use anyhow::anyhow;
use axum::{body::Body, extract::Request, response::Response};
use clap::Args;
use http::header;
use http_body::Body as _;
use kea_audit::{
    Begin, Counted, Credentials, ElasticsearchOptions, Entry, Limits, Options, SinkOptions, Span as TraceSpan,
    TraceOptions, Trail,
};
use kea_core::quantity::{Memory, Span};
use kea_http::{ClientAddress, ProblemKind, RequestId, TraceContext};
use reqwest::Url;

/// What Elasticsearch is to know of records.
pub(crate) const TEMPLATE: &str = include_str!("../../../deploy/elasticsearch/index-template.json");

/// The data stream of records.
pub(crate) const STREAM: &str = "kea-audit";

/// What lets KEA into Elasticsearch and Kibana; variables alone, as all users of a machine can read a command line.
const API_KEY: &str = "KEA_AUDIT_ELASTICSEARCH_API_KEY";
const USER: &str = "KEA_AUDIT_ELASTICSEARCH_USER";
const PASSWORD: &str = "KEA_AUDIT_ELASTICSEARCH_PASSWORD";

/// How requests and changes are recorded.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Whether requests and changes are recorded [default: true]
    #[arg(long, env = "KEA_AUDIT", value_name = "BOOL")]
    pub(crate) audit: Option<bool>,
    /// Folder of the audit trail [default: `audit` in the data folder; for a router, in the one for temporary files]
    #[arg(long, env = "KEA_AUDIT_DIR", value_name = "FOLDER")]
    pub(crate) audit_dir: Option<PathBuf>,
    /// Size of a file of the audit trail before the next one is begun [default: 64Mi]
    #[arg(long, env = "KEA_AUDIT_FILE_SIZE", value_name = "SIZE")]
    pub(crate) audit_file_size: Option<Memory>,
    /// Number of files of the audit trail that are kept [default: 10]
    #[arg(long, env = "KEA_AUDIT_FILES", value_name = "NUMBER")]
    pub(crate) audit_files: Option<usize>,
    /// How long a file of the audit trail is kept after its last record [default: as long as there is room]
    #[arg(long, env = "KEA_AUDIT_KEEP", value_name = "SPAN")]
    pub(crate) audit_keep: Option<Span>,
    /// Whether records go to standard output, too [default: false]
    #[arg(long, env = "KEA_AUDIT_STDOUT", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) audit_stdout: Option<bool>,
    /// Elasticsearch that records are sent to, too
    #[arg(long, env = "KEA_AUDIT_ELASTICSEARCH", value_name = "URL")]
    pub(crate) audit_elasticsearch: Option<String>,
    /// Collector of OpenTelemetry that records are sent to, too, by OTLP over HTTP
    #[arg(long, env = "KEA_AUDIT_OTLP", value_name = "URL")]
    pub(crate) audit_otlp: Option<String>,
    /// Collector of OpenTelemetry that traces of requests are sent to, by OTLP over HTTP
    #[arg(long, env = "KEA_TRACES_OTLP", value_name = "URL")]
    pub(crate) traces_otlp: Option<String>,
    /// Share of requests, 0 to 1, whose trace is recorded where their callers do not say it [default: 1]
    #[arg(long, env = "KEA_TRACES_SHARE", value_name = "SHARE")]
    pub(crate) traces_share: Option<f64>,
}

/// How requests and changes are recorded, once all that says so is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AuditConfig {
    pub(crate) enabled: bool,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) file_bytes: u64,
    pub(crate) files: usize,
    pub(crate) keep: Option<Span>,
    pub(crate) stdout: bool,
    pub(crate) elasticsearch: Option<String>,
    pub(crate) otlp: Option<String>,
    pub(crate) traces: Option<String>,
    pub(crate) traces_share: f64,
}

impl Default for AuditConfig {
    fn default() -> Self {
        let Limits { file_bytes, files, age: _ } = Limits::default();
        Self {
            enabled: true,
            dir: None,
            file_bytes,
            files,
            keep: None,
            stdout: false,
            elasticsearch: None,
            otlp: None,
            traces: None,
            traces_share: 1.0,
        }
    }
}

impl AuditConfig {
    /// With what options and variables say.
    pub(crate) fn with(mut self, args: &AuditArgs) -> anyhow::Result<Self> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        self.enabled = args.audit.unwrap_or(self.enabled);
        self.dir = args.audit_dir.clone().or(self.dir);
        self.file_bytes = args.audit_file_size.map_or(self.file_bytes, |size| size.bytes);
        self.files = args.audit_files.unwrap_or(self.files);
        self.keep = args.audit_keep.or(self.keep);
        self.stdout = args.audit_stdout.unwrap_or(self.stdout);
        self.elasticsearch = given(&args.audit_elasticsearch).or(self.elasticsearch);
        self.otlp = given(&args.audit_otlp).or(self.otlp);
        self.traces = given(&args.traces_otlp).or(self.traces);
        self.traces_share = args.traces_share.unwrap_or(self.traces_share);
        self.sinks().map(|_| self)
    }

    /// Starts the trail, in `folder` where no other is named.
    pub(crate) fn start(&self, folder: PathBuf) -> anyhow::Result<Arc<Trail>> {
        let limits = Limits { file_bytes: self.file_bytes, files: self.files, age: self.keep.map(|span| span.0) };
        let folder = self.enabled.then(|| self.dir.clone().unwrap_or(folder));
        Ok(Trail::start(Options { folder, limits, host: host(), sinks: self.sinks()? })?)
    }

    fn sinks(&self) -> anyhow::Result<SinkOptions> {
        let parsed = |key: &str, text: &Option<String>| text.as_deref().map(|text| url(key, text)).transpose();
        let elasticsearch = parsed("audit-elasticsearch", &self.elasticsearch)?.map(elasticsearch);
        let otlp = parsed("audit-otlp", &self.otlp)?;
        let share = self.traces_share;
        if !(0.0..=1.0).contains(&share) {
            return Err(anyhow!("`traces-share` is {share}, and is to be a share: from 0 for none to 1 for all"));
        }
        let traces = parsed("traces-otlp", &self.traces)?.map(|url| TraceOptions { url, share });
        Ok(SinkOptions { stdout: self.stdout, elasticsearch, otlp, traces })
    }
}

/// A URL of a sink. A wrong one is not shown: there may be a password in it.
pub(crate) fn url(key: &str, text: &str) -> anyhow::Result<Url> {
    let wrong = || anyhow!("`{key}` is no URL: write for example `https://search.example:9200`");
    let url: Url = text.parse().map_err(|_| wrong())?;
    let holds_a_password = !url.username().is_empty() || url.password().is_some();
    match url.scheme() {
        _ if holds_a_password => Err(anyhow!("`{key}` has a user in its URL: give that in `{USER}` and `{PASSWORD}`")),
        "http" | "https" => Ok(url),
        _ => Err(wrong()),
    }
}

/// Elasticsearch at `url`, with what the variables say.
pub(crate) fn elasticsearch(url: Url) -> ElasticsearchOptions {
    ElasticsearchOptions { url, credentials: credentials(), stream: STREAM.into(), template: TEMPLATE }
}

/// What the variables say of who we are.
pub(crate) fn credentials() -> Credentials {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    match (variable(API_KEY), variable(USER)) {
        (Some(key), _) => Credentials::ApiKey(key),
        (None, Some(user)) => Credentials::Basic(user, variable(PASSWORD).unwrap_or_default()),
        (None, None) => Credentials::None,
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Paths that machines ask every few seconds, and that tell nobody anything: they are no part of the trail.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Answers a request by `inner`, and records what became of it.
pub(crate) async fn recorded<F: Future<Output = Response>>(
    entry: Option<Entry>,
    request: Request,
    inner: impl FnOnce(Request) -> F,
) -> Response {
    let response = inner(request).await;
    let problem = response.extensions().get::<ProblemKind>().map(|ProblemKind(kind, status)| (*kind, *status));
    match entry {
        Some(entry) => entry.answer(response, problem).map(Body::new),
        None => response,
    }
}

/// Begins the record of a request. To be called before anything is awaited: a caller may leave before that.
pub(crate) fn begin(trail: &Trail, mut request: Request) -> (Option<Entry>, Request) {
    if PROBES.contains(&request.uri().path()) {
        return (None, request);
    }
    let (id, trace) = (RequestId::of(request.headers()), TraceContext::of(request.headers(), trail.traced()));
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let entry = trail.begin(Begin {
        request_id: id.0.clone(),
        trace_id: trace.trace_id.clone(),
        span: trace.span.map(|id| TraceSpan { id, parent: trace.parent }),
        client: ClientAddress::of(request.extensions()),
        method: request.method().clone(),
        uri: request.uri().clone(),
        length,
    });
    let extensions = request.extensions_mut();
    extensions.insert(id);
    extensions.insert(trace);
    extensions.insert(entry.recorder());
    if length.is_none() && !request.body().is_end_stream() {
        let recorder = entry.recorder();
        request = request.map(|body| Body::new(Counted::new(body, recorder)));
    }
    (Some(entry), request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_a_password_is_refused_and_not_shown() {
        for text in ["https://ada:hunter2@search.example", "hunter2", "ftp://hunter2/"] {
            let told = url("audit-otlp", text).unwrap_err().to_string();
            assert!(told.contains("`audit-otlp`") && !told.contains("hunter2"), "{told}");
        }
        assert!(url("audit-otlp", "http://127.0.0.1:4318").is_ok());
    }
}
