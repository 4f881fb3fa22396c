//! The trail: begun once for a process, given records by requests, asked for them by people.

use std::{
    fmt::Write,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use tokio::sync::{Semaphore, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Begin, Entry, Limits, Query, SinkOptions,
    chain::Head,
    expiry,
    files::{Files, Found, Position},
    queue::{Message, Queue},
    series::Series,
    sink::{self, Sink, SinkStatus},
    writer::{Writer, Written},
};

/// How the trail is kept.
#[derive(Debug)]
pub struct Options {
    /// Folder of the files; `None` keeps none, and only counts.
    pub folder: Option<PathBuf>,
    /// How much is kept.
    pub limits: Limits,
    /// Name of this machine or pod, in each record.
    pub host: String,
    /// Where else records go.
    pub sinks: SinkOptions,
}

/// Why the trail cannot be kept, or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The disk refuses.
    #[error("the audit trail in `{}` cannot be used: {source}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A sink is asked for, and no files are kept from which it could be fed.
    #[error("sinks are fed from the trail's files: turn `audit` on, or name no sink")]
    SinkWithoutFiles,
    /// A sink cannot be as it is asked for.
    #[error("{0}")]
    Sink(String),
    /// The thread of the writer cannot be made.
    #[error("no thread for the audit trail: {0}")]
    Thread(io::Error),
}

/// The audit trail of this process.
#[derive(Debug)]
pub struct Trail {
    folder: Option<PathBuf>,
    queue: Arc<Queue>,
    series: Arc<Series>,
    written: Arc<Written>,
    /// Records that were removed, as their time was over.
    removed: Arc<AtomicU64>,
    position: watch::Receiver<Position>,
    sinks: Vec<Arc<SinkStatus>>,
    traced: Option<f64>,
    stopping: CancellationToken,
    tasks: TaskTracker,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Files are read by one query at a time.
    reading: Semaphore,
}

impl Trail {
    /// Opens the files, and starts the writer and the sinks. Needs a runtime.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn start(options: Options) -> Result<Arc<Self>, AuditError> {
        let Options { folder, limits, host, sinks } = options;
        let (queue, messages) = Queue::new();
        let (opened, found) = open(folder.as_deref(), limits)?;
        let at = opened.as_ref().map(Files::position).unwrap_or_default();
        let (position, positions) = watch::channel(at);
        let (written, series) = (Arc::new(Written::default()), Arc::new(Series::default()));
        let mut writer = Writer {
            files: opened,
            head: found.head.clone(),
            host,
            queue: queue.clone(),
            written: written.clone(),
            series: series.clone(),
            position,
            pending: Vec::new(),
            flushes: Vec::new(),
            failing: false,
            dropped: 0,
        };
        begin(&mut writer, &found);
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let traced = sinks.traces.as_ref().map(|traces| traces.share);
        let sinks = made(sinks, folder.as_deref())?;
        let run = move || writer.run(&messages);
        let thread = std::thread::Builder::new().name("audit".into()).spawn(run).map_err(AuditError::Thread)?;
        let removed = Arc::new(AtomicU64::new(0));
        if let Some(folder) = folder.clone() {
            tasks.spawn(expiry::tend(folder, positions.clone(), removed.clone(), stopping.clone()));
        }
        let statuses = sinks.iter().map(|sink| sink.status.clone()).collect();
        for sink in sinks {
            tasks.spawn(sink::pump(sink, positions.clone(), stopping.clone()));
        }
        Ok(Arc::new(Self {
            folder,
            queue,
            series,
            written,
            removed,
            position: positions,
            sinks: statuses,
            traced,
            stopping,
            tasks,
            writer: Mutex::new(Some(thread)),
            reading: Semaphore::new(1),
        }))
    }

    /// Begins the record of a request.
    pub fn begin(&self, begin: Begin) -> Entry {
        Entry::begin(self.queue.clone(), begin)
    }

    /// The share of new traces that are recorded; `None` where none are, whatever their callers say.
    pub fn traced(&self) -> Option<f64> {
        self.traced
    }

    /// Waits until all records that are finished by now are in the files.
    pub async fn flush(&self) {
        let (reply, done) = oneshot::channel();
        let queue = self.queue.clone();
        // The queue may be full for a while, and this is no request.
        let sent = tokio::task::spawn_blocking(move || queue.send(Message::Flush(reply))).await;
        if sent.is_ok() {
            let _ = done.await;
        }
    }

    /// The latest records that a query asks for, newest first, each a JSON object as it is in the files.
    ///
    /// # Errors
    /// [`AuditError::Io`].
    pub async fn query(&self, query: Query) -> Result<Vec<Box<serde_json::value::RawValue>>, AuditError> {
        let Some(folder) = self.folder.clone() else { return Ok(Vec::new()) };
        self.flush().await;
        let _one = self.reading.acquire().await;
        let read = tokio::task::spawn_blocking(move || {
            query.read(&folder).map_err(|source| AuditError::Io { folder, source })
        });
        read.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// What is wrong with sinks, a sentence each; nothing where all is well.
    pub fn troubles(&self) -> Vec<String> {
        self.sinks.iter().filter_map(|sink| sink.trouble()).collect()
    }

    /// Metrics of the trail and of calls, in Prometheus' text format.
    pub fn metrics(&self, out: &mut String) {
        self.series.write(out);
        let records = self.written.records.load(Ordering::Relaxed);
        let failures = self.written.failures.load(Ordering::Relaxed);
        let (queued, dropped) = (self.queue.queued(), self.queue.dropped());
        let removed = self.removed.load(Ordering::Relaxed);
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "# HELP kea_audit_records_total Audit records that were written.\n\
             # TYPE kea_audit_records_total counter\nkea_audit_records_total {records}\n\
             # HELP kea_audit_dropped_total Audit records that found no room.\n\
             # TYPE kea_audit_dropped_total counter\nkea_audit_dropped_total {dropped}\n\
             # HELP kea_audit_queue_records Audit records that wait for the writer.\n\
             # TYPE kea_audit_queue_records gauge\nkea_audit_queue_records {queued}\n\
             # HELP kea_audit_expired_total Audit records that were removed, as their service's time for them was over.\n\
             # TYPE kea_audit_expired_total counter\nkea_audit_expired_total {removed}\n\
             # HELP kea_audit_write_failures_total Times that the audit trail could not be written.\n\
             # TYPE kea_audit_write_failures_total counter\nkea_audit_write_failures_total {failures}\n"
        );
        sink::metrics(&self.sinks, self.position.borrow().sequence, out);
    }

    /// Writes what there is, stops the sinks, and ends. What a sink has not sent yet is sent after the next start.
    pub async fn stop(&self) {
        self.flush().await;
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let queue = self.queue.clone();
        let ended = tokio::task::spawn_blocking(move || {
            queue.send(Message::Stop);
            thread.map(JoinHandle::join)
        });
        if let Ok(Some(Err(_panic))) = ended.await {
            tracing::error!("the writer of the audit trail ended by a panic");
        }
    }
}

fn open(folder: Option<&Path>, limits: Limits) -> Result<(Option<Files>, Found), AuditError> {
    let Some(folder) = folder else { return Ok((None, Found { head: Head::start(), torn: None, missing: None })) };
    let (files, found) =
        Files::open(folder, limits).map_err(|source| AuditError::Io { folder: folder.into(), source })?;
    Ok((Some(files), found))
}

/// The first line of a process says that it begins, and what it found.
fn begin(writer: &mut Writer, found: &Found) {
    let missing = found.missing.map(|lines| format!("{lines} lines are missing at the end of what was there"));
    if let Some(missing) = &missing {
        tracing::error!("{missing}, in the audit trail");
    }
    let torn = found.torn.as_ref().map(|_| "the last line was torn by a crash".to_string());
    let reason = missing.or(torn);
    writer.note("audit-start", reason.as_deref(), found.torn.as_deref());
}

fn made(options: SinkOptions, folder: Option<&Path>) -> Result<Vec<Sink>, AuditError> {
    match folder {
        Some(folder) => options.sinks(folder),
        None if options.is_empty() => Ok(Vec::new()),
        None => Err(AuditError::SinkWithoutFiles),
    }
}
