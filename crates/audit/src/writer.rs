//! The one thread that writes the trail: it takes records from the queue, makes lines and their chain of them, and
//! counts them. No request waits for any of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use crate::{
    chain::Head,
    ecs::{self, Note},
    files::{Files, Position},
    queue::{Message, Queue},
    recorder::finished,
    series::Series,
};

/// How long records are gathered once the first has come: a wake-up for each would cost requests more than the record.
const GATHER: Duration = Duration::from_millis(5);

/// How long a disk that failed is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// How often old files are looked for where no file is begun.
const SWEEP: Duration = Duration::from_secs(60);

/// Bytes of lines that are written at once.
const BATCH_BYTES: usize = 1 << 20;

/// Bytes of lines that wait for a disk that fails, before records wait in the queue.
const PENDING_BYTES: usize = 16 << 20;

/// What is known of the writer from outside.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) records: AtomicU64,
    pub(crate) failures: AtomicU64,
}

pub(crate) struct Writer {
    pub(crate) files: Option<Files>,
    pub(crate) head: Head,
    pub(crate) host: String,
    pub(crate) queue: Arc<Queue>,
    pub(crate) written: Arc<Written>,
    pub(crate) series: Arc<Series>,
    pub(crate) position: watch::Sender<Position>,
    pub(crate) pending: Vec<u8>,
    pub(crate) flushes: Vec<oneshot::Sender<()>>,
    /// Whether the disk failed the last time.
    pub(crate) failing: bool,
    /// Records without room that the log has been told of.
    pub(crate) dropped: u64,
}

/// Whether there is more to do.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

impl Writer {
    /// Runs until it is told to stop.
    pub(crate) fn run(mut self, messages: &Receiver<Message>) {
        while self.turn(messages) == Next::Go {}
    }

    /// Takes what there is and writes it.
    fn turn(&mut self, messages: &Receiver<Message>) -> Next {
        if self.failing {
            std::thread::sleep(RETRY);
        }
        let mut next = match messages.recv_timeout(if self.failing { Duration::ZERO } else { SWEEP }) {
            Ok(first) => {
                std::thread::sleep(GATHER);
                self.take(first)
            }
            Err(RecvTimeoutError::Timeout) => self.idle(),
            Err(RecvTimeoutError::Disconnected) => Next::Stop,
        };
        while next == Next::Go && self.has_room() {
            match messages.try_recv() {
                Ok(message) => next = self.take(message),
                Err(_empty) => break,
            }
        }
        self.write();
        self.tell_dropped();
        next
    }

    fn has_room(&mut self) -> bool {
        if !self.failing && self.pending.len() >= BATCH_BYTES {
            self.write();
        }
        self.pending.len() < PENDING_BYTES
    }

    fn take(&mut self, message: Message) -> Next {
        match message {
            Message::Record(draft) => {
                self.queue.took();
                let record = finished(draft);
                self.series.count(&record);
                if record.is_kept() {
                    self.written.records.fetch_add(1, Ordering::Relaxed);
                    self.line(record.expires(), |host, out| ecs::render(&record, host, out));
                }
            }
            Message::Flush(reply) => self.flushes.push(reply),
            Message::Stop => return Next::Stop,
        }
        Next::Go
    }

    /// Writes what KEA says of the trail itself.
    pub(crate) fn note(&mut self, action: &str, reason: Option<&str>, torn: Option<&str>) {
        self.line(None, |host, out| ecs::write(&Note { reason, torn, ..Note::new(action, host) }, out));
    }

    /// Appends a line to those that are to be written.
    fn line(&mut self, expires: Option<Timestamp>, render: impl FnOnce(&str, &mut Vec<u8>)) {
        if self.files.as_ref().is_some_and(|files| files.is_full_with(self.pending.len())) {
            self.rotate();
        }
        let Some(files) = &self.files else { return };
        let start = self.pending.len();
        let first = files.is_new() && start == 0;
        render(&self.host, &mut self.pending);
        self.head.append(&mut self.pending, start, first, expires);
    }

    /// Begins the next file, unless the disk has not taken what belongs to this one.
    fn rotate(&mut self) {
        self.write();
        if let Some(files) = self.files.as_mut().filter(|_| self.pending.is_empty())
            && let Err(error) = files.rotate(&self.head)
        {
            self.failed(&error);
        }
    }

    fn write(&mut self) {
        if let Some(files) = self.files.as_mut().filter(|_| !self.pending.is_empty()) {
            match files.append(&self.pending, &self.head) {
                Ok(()) => {
                    self.pending.clear();
                    self.position.send_replace(files.position());
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("the audit trail is written again");
                    }
                }
                Err(error) => self.failed(&error),
            }
        }
        if self.pending.is_empty() {
            for reply in self.flushes.drain(..) {
                // Whoever asked may have gone.
                let _ = reply.send(());
            }
        }
    }

    fn failed(&mut self, error: &std::io::Error) {
        self.written.failures.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(%error, "the audit trail cannot be written; records wait in memory");
        }
    }

    fn idle(&mut self) -> Next {
        if let Some(Err(error)) = self.files.as_ref().map(Files::remove_old) {
            tracing::warn!(%error, "an old file of the audit trail cannot be removed");
        }
        Next::Go
    }

    fn tell_dropped(&mut self) {
        let dropped = self.queue.dropped();
        let new = dropped - self.dropped;
        if new > 0 && self.pending.is_empty() {
            self.dropped = dropped;
            tracing::error!(records = new, "audit records found no room and are lost");
            self.note("audit-lost", Some(&format!("{new} records found no room")), None);
        }
    }
}
