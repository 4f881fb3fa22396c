//! Where else records go. A sink reads the lines of the files, from where it was before: the files are its spool, on
//! disk, bounded, and there after a crash. So a sink that is away costs no request and no memory.

mod elasticsearch;
mod otlp;
mod setup;
mod stdout;
mod tail;

use std::{
    fmt::Write,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use reqwest::Url;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{AuditError, files::Position};

pub use elasticsearch::{Credentials, ElasticsearchOptions};
pub use setup::{setup_elasticsearch, setup_kibana};
use tail::Tail;

/// The first pause after a failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a sink may take for one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Which sinks there are.
#[derive(Clone, Debug, Default)]
pub struct SinkOptions {
    /// Lines to standard output, from the start of the process on.
    pub stdout: bool,
    /// To Elasticsearch, by its bulk API.
    pub elasticsearch: Option<ElasticsearchOptions>,
    /// To a collector of OpenTelemetry: base URL of OTLP over HTTP.
    pub otlp: Option<Url>,
    /// Traces of them, to such a collector.
    pub traces: Option<TraceOptions>,
}

/// How requests become traces.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// Base URL of OTLP over HTTP.
    pub url: Url,
    /// The share of requests, 0 to 1, whose trace is recorded where their callers do not say it.
    pub share: f64,
}

impl SinkOptions {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { stdout, elasticsearch, otlp, traces } = self;
        !stdout && elasticsearch.is_none() && otlp.is_none() && traces.is_none()
    }

    pub(crate) fn sinks(self, folder: &Path) -> Result<Vec<Sink>, AuditError> {
        let Self { stdout, elasticsearch, otlp, traces } = self;
        let kept = |name| Tail::kept(folder, name).map_err(|source| AuditError::Io { folder: folder.into(), source });
        let mut sinks = Vec::new();
        if stdout {
            sinks.push(Sink::new(Box::new(stdout::Stdout), Tail::at_end(folder)));
        }
        if let Some(options) = elasticsearch {
            let sink = elasticsearch::Elasticsearch::new(options)?;
            sinks.push(Sink::new(Box::new(sink), kept("elasticsearch")?));
        }
        if let Some(url) = otlp {
            sinks.push(Sink::new(Box::new(otlp::Otlp::logs(&url)?), kept("otlp")?));
        }
        if let Some(TraceOptions { url, share: _ }) = traces {
            sinks.push(Sink::new(Box::new(otlp::Otlp::traces(&url)?), kept("otlp-traces")?));
        }
        Ok(sinks)
    }
}

/// A line on its way, with its hash, which is its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) hash: String,
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is there.
    Kept,
    /// It will never be taken, for this reason.
    Rejected(String),
    /// It is to be sent again, for this reason.
    Again(String),
}

/// Why nothing of what was sent was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It was too much at once.
    TooLarge,
    /// The sink is away, overloaded, or does not let us in.
    Away(String),
}

/// Sends lines.
#[async_trait]
pub(crate) trait Deliver: Send {
    /// The sink's name in metrics and messages.
    fn name(&self) -> &'static str;
    /// Sends lines, and tells of each what became of it.
    async fn deliver(&mut self, lines: &[Line]) -> Result<Vec<Fate>, Refusal>;
}

/// A sink, and where it is in the files.
pub(crate) struct Sink {
    deliver: Box<dyn Deliver>,
    tail: Tail,
    pub(crate) status: Arc<SinkStatus>,
}

/// How a sink is, seen from outside.
#[derive(Debug)]
pub(crate) struct SinkStatus {
    name: &'static str,
    sent: AtomicU64,
    rejected: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
    /// Number of the last line that is done with.
    sequence: AtomicU64,
    /// Why it does not take lines, where it does not.
    trouble: Mutex<Option<String>>,
}

impl Sink {
    pub(crate) fn new(deliver: Box<dyn Deliver>, tail: Tail) -> Self {
        let status = SinkStatus {
            name: deliver.name(),
            sent: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            sequence: AtomicU64::new(tail.position().sequence),
            trouble: Mutex::new(None),
        };
        Self { deliver, tail, status: Arc::new(status) }
    }
}

impl SinkStatus {
    /// What is wrong with it, as a sentence.
    pub(crate) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map(|why| format!("the audit sink `{}` takes no records: {why}", self.name))
    }

    fn is_away(&self, why: &str) {
        self.failures.fetch_add(1, Relaxed);
        let before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).replace(why.into());
        if before.is_none() {
            tracing::warn!(sink = self.name, "an audit sink takes no records, which wait in the files: {why}");
        }
    }

    fn is_back(&self) {
        if self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tracing::info!(sink = self.name, "an audit sink takes records again");
        }
    }

    fn has_rejected(&self, why: &str) {
        if self.rejected.fetch_add(1, Relaxed) == 0 {
            tracing::error!(
                sink = self.name,
                "an audit sink refuses a record for good; others are counted only: {why}"
            );
        }
    }

    fn has_lost(&self, lines: u64) {
        if lines > 0 {
            self.lost.fetch_add(lines, Relaxed);
            tracing::error!(sink = self.name, lines, "audit files were removed before a sink had all of their lines");
        }
    }
}

/// Sends what is written, and what comes, until told to stop.
pub(crate) async fn pump(mut sink: Sink, mut written: watch::Receiver<Position>, stopping: CancellationToken) {
    let work = async {
        loop {
            let end = *written.borrow_and_update();
            if sink.step(end).await {
                continue;
            }
            if written.changed().await.is_err() {
                return;
            }
        }
    };
    stopping.run_until_cancelled(work).await;
}

impl Sink {
    /// Sends the next lines up to `end`; says whether there were any.
    async fn step(&mut self, end: Position) -> bool {
        let batch = match self.tail.read(end).await {
            Ok(Some(batch)) => batch,
            Ok(None) => return false,
            Err(error) => {
                self.status.is_away(&format!("the files cannot be read: {error}"));
                tokio::time::sleep(LONGEST_PAUSE).await;
                return true;
            }
        };
        self.deliver(batch.lines).await;
        if let Err(error) = self.tail.advance(batch.next) {
            // They are sent again after a restart, which their ids make harmless.
            tracing::warn!(%error, sink = self.status.name, "an audit sink cannot keep where it is");
        }
        self.status.has_lost(batch.lost);
        self.status.sequence.store(batch.next.sequence, Relaxed);
        true
    }

    /// Sends all of `lines`, however long it takes.
    async fn deliver(&mut self, mut lines: Vec<Line>) {
        let mut most = lines.len();
        let mut pause = FIRST_PAUSE;
        while !lines.is_empty() {
            let count = most.min(lines.len());
            match self.deliver.deliver(&lines[..count]).await {
                Ok(fates) => match self.settle(&mut lines, fates) {
                    None => {
                        self.status.is_back();
                        pause = FIRST_PAUSE;
                    }
                    Some(why) => {
                        self.status.is_away(&why);
                        rest(&mut pause).await;
                    }
                },
                Err(Refusal::TooLarge) if count == 1 => {
                    self.status.has_rejected("it is larger than the sink takes");
                    lines.remove(0);
                }
                Err(Refusal::TooLarge) => most = count / 2,
                Err(Refusal::Away(why)) => {
                    self.status.is_away(&why);
                    rest(&mut pause).await;
                }
            }
        }
    }

    /// Takes out of `lines` what is done with; says why others are to be sent again.
    fn settle(&self, lines: &mut Vec<Line>, fates: Vec<Fate>) -> Option<String> {
        let mut again = None;
        let mut fates = fates.into_iter();
        lines.retain(|_| match fates.next() {
            Some(Fate::Kept) => {
                self.status.sent.fetch_add(1, Relaxed);
                false
            }
            Some(Fate::Rejected(why)) => {
                self.status.has_rejected(&why);
                false
            }
            Some(Fate::Again(why)) => {
                again = Some(why);
                true
            }
            None => true,
        });
        again
    }
}

/// Waits for a while that is longer each time, and not the same for all who wait.
async fn rest(pause: &mut Duration) {
    let share: f64 = rand::random_range(0.5..1.0);
    tokio::time::sleep(pause.mul_f64(share)).await;
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

fn client() -> Result<reqwest::Client, AuditError> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("kea/", env!("CARGO_PKG_VERSION")))
        .timeout(TIMEOUT)
        // Records, and what lets us in, go nowhere else.
        .redirect(reqwest::redirect::Policy::none());
    builder.build().map_err(|error| AuditError::Sink(format!("no HTTP client for the audit trail: {error}")))
}

/// What an error of a request means, without the URL, in which there may be a password.
fn away(error: reqwest::Error) -> Refusal {
    let error = error.without_url();
    let innermost = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source()).last();
    Refusal::Away(innermost.map(ToString::to_string).unwrap_or_default())
}

/// The start of an answer that was not expected.
async fn excerpt(response: reqwest::Response) -> String {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    format!("it answers {status}: {}", text.chars().take(200).collect::<String>())
}

/// Appends the metrics of all sinks in Prometheus' text format. `written` is the number of the last line there is.
pub(crate) fn metrics(sinks: &[Arc<SinkStatus>], written: u64, out: &mut String) {
    let mut each = |name: &str, kind: &str, help: &str, value: &dyn Fn(&SinkStatus) -> u64| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP kea_audit_sink_{name} {help}\n# TYPE kea_audit_sink_{name} {kind}");
        for sink in sinks {
            let _ = writeln!(out, "kea_audit_sink_{name}{{sink=\"{}\"}} {}", sink.name, value(sink));
        }
    };
    each("up", "gauge", "Whether a sink takes records.", &|sink| u64::from(sink.trouble().is_none()));
    each("sent_total", "counter", "Records that a sink has taken.", &|sink| sink.sent.load(Relaxed));
    each("rejected_total", "counter", "Records that a sink refuses for good.", &|sink| sink.rejected.load(Relaxed));
    each("lost_total", "counter", "Records removed before a sink had them.", &|sink| sink.lost.load(Relaxed));
    each("failures_total", "counter", "Times that a sink took nothing.", &|sink| sink.failures.load(Relaxed));
    each("behind_records", "gauge", "Records that a sink has not taken yet.", &|sink| {
        written.saturating_sub(sink.sequence.load(Relaxed))
    });
}
