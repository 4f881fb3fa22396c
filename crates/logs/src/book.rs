//! The logs of all services.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
};

use async_trait::async_trait;
use futures_util::{Stream, StreamExt, stream};
use kea_core::ServiceId;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc, oneshot,
    },
    task::spawn_blocking,
};

use crate::{
    entry::Entry,
    files::End,
    keeper::{Command, Followed, Keeper, make_folder},
    line_writer::LineWriter,
    lost::{Gauge, Source},
    query::{Query, skipped},
};

/// Lines that may wait for the keeper.
const QUEUE: usize = 8192;

/// What a log may take of the disk: `file_bytes` times `files` a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file; a new one is begun before it grows larger.
    pub file_bytes: u64,
    /// Files of one service, the one that is written among them; at least one.
    pub files: usize,
    /// Bytes of one line; what is beyond them is cut off, and the line says how much.
    pub line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 8 << 20, files: 4, line_bytes: 16 << 10 }
    }
}

/// A log could not be opened, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refuses.
    #[error("the log in `{folder}` is not available: {error}")]
    Io {
        /// The log's folder.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Who keeps the logs cannot be asked.
    #[error("the logs cannot be asked for: {0}")]
    Elsewhere(String),
    /// The thread that keeps the logs has ended.
    #[error("the logs are closed")]
    Closed,
}

/// Lines of a log as they come; ends when the log is removed.
pub type Entries = Pin<Box<dyn Stream<Item = Entry> + Send>>;

/// Where lines of services are read, wherever they are kept.
#[async_trait]
pub trait ServiceLogs: Send + Sync {
    /// The latest lines of `service` that `query` asks for, oldest first.
    ///
    /// # Errors
    /// [`LogError`].
    async fn tail(&self, service: &ServiceId, query: Query) -> Result<Vec<Entry>, LogError>;

    /// The same lines, and then each further one.
    ///
    /// # Errors
    /// [`LogError`], before the first line.
    async fn follow(&self, service: &ServiceId, query: Query) -> Result<Entries, LogError>;
}

#[async_trait]
impl ServiceLogs for LogBook {
    async fn tail(&self, service: &ServiceId, query: Query) -> Result<Vec<Entry>, LogError> {
        Self::tail(self, service, query).await
    }

    async fn follow(&self, service: &ServiceId, query: Query) -> Result<Entries, LogError> {
        Self::follow(self, service, query).await
    }
}

/// The logs of all services. Clones are cheap and are the same book.
#[derive(Clone, Debug)]
pub struct LogBook {
    folder: PathBuf,
    limits: Limits,
    commands: mpsc::Sender<Command>,
    gauge: Arc<Gauge>,
}

impl LogBook {
    /// Opens the logs in `folder`, one folder a service; makes it where there is none. Starts the thread that writes
    /// them, which ends with the last clone and the last [`LineWriter`].
    ///
    /// # Errors
    /// [`LogError::Io`] where the folder or the thread cannot be made.
    pub fn open(folder: PathBuf, limits: Limits) -> Result<Self, LogError> {
        let (commands, receiver) = mpsc::channel(QUEUE);
        let gauge = Arc::new(Gauge::default());
        let keeper = Keeper { folder: folder.clone(), limits, gauge: gauge.clone(), logs: HashMap::new() };
        let started = make_folder(&folder)
            .and_then(|()| thread::Builder::new().name("kea-logs".into()).spawn(move || keeper.run(receiver)));
        match started {
            Ok(_) => Ok(Self { folder, limits, commands, gauge }),
            Err(error) => Err(LogError::Io { folder, error }),
        }
    }

    /// Where the lines of `replica` of `service` go.
    pub fn writer(&self, service: &ServiceId, replica: &str) -> LineWriter {
        LineWriter {
            source: Arc::new(Source { service: service.clone(), replica: replica.into() }),
            commands: self.commands.clone(),
            gauge: self.gauge.clone(),
            line_bytes: self.limits.line_bytes,
        }
    }

    /// The latest lines of `service` that `query` asks for, oldest first; all those that were written before this
    /// call are looked at. None where there is no log. The answer holds at most 16 MiB; the oldest lines are left out.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn tail(&self, service: &ServiceId, query: Query) -> Result<Vec<Entry>, LogError> {
        let end = self.ask(service, |service, reply| Command::End { service, reply }).await?;
        self.read(service, query, end).await
    }

    /// The same lines, and then each further one that `query` asks for, none twice and none left out. A reader that
    /// falls 1,024 lines behind is not waited for: it gets a line of the stream `kea` that says how many it missed.
    ///
    /// # Errors
    /// [`LogError`], before the first line.
    pub async fn follow(&self, service: &ServiceId, query: Query) -> Result<Entries, LogError> {
        let followed = self.ask(service, |service, reply| Command::Follow { service, reply }).await?;
        let Followed { end, lines } = followed;
        let tail = self.read(service, query.clone(), end).await?;
        let live = stream::unfold((lines, query), |(mut lines, query)| async move {
            next(&mut lines, &query).await.map(|entry| (entry, (lines, query)))
        });
        Ok(Box::pin(stream::iter(tail).chain(live)))
    }

    /// Removes the log of `service`; nothing happens where there is none. To be called once its replicas have ended:
    /// a line that comes later begins a new log.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn remove(&self, service: &ServiceId) -> Result<(), LogError> {
        self.ask(service, |service, reply| Command::Remove { service, reply }).await
    }

    /// Waits until all lines that were written before this call are in the files of `service`.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn flush(&self, service: &ServiceId) -> Result<(), LogError> {
        self.ask(service, |service, reply| Command::End { service, reply }).await.map(drop)
    }

    /// How many lines of all services could not be kept since the book was opened.
    pub fn lost_lines(&self) -> u64 {
        self.gauge.total.load(Relaxed)
    }

    async fn ask<T>(
        &self,
        service: &ServiceId,
        command: impl FnOnce(ServiceId, oneshot::Sender<io::Result<T>>) -> Command,
    ) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(service.clone(), reply)).await.map_err(|_| LogError::Closed)?;
        answer.await.map_err(|_| LogError::Closed)?.map_err(|error| self.failed(service, error))
    }

    async fn read(&self, service: &ServiceId, query: Query, end: Option<End>) -> Result<Vec<Entry>, LogError> {
        let Some(end) = end else { return Ok(Vec::new()) };
        let folder = self.folder.join(service.as_str());
        let read = spawn_blocking(move || query.read(&folder, end)).await;
        read.map_err(|_| LogError::Closed)?.map_err(|error| self.failed(service, error))
    }

    fn failed(&self, service: &ServiceId, error: io::Error) -> LogError {
        LogError::Io { folder: self.folder.join(service.as_str()), error }
    }
}

async fn next(lines: &mut broadcast::Receiver<Arc<Entry>>, query: &Query) -> Option<Entry> {
    loop {
        match lines.recv().await {
            Ok(entry) if query.matches(&entry) => return Some(Arc::unwrap_or_clone(entry)),
            Ok(_) => {}
            Err(RecvError::Lagged(count)) => return Some(skipped(count)),
            Err(RecvError::Closed) => return None,
        }
    }
}
