//! Where the lines of one replica go.

use std::sync::{
    Arc,
    atomic::Ordering::{AcqRel, Relaxed},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
};

use crate::{
    entry::{Entry, Stream},
    keeper::Command,
    lines::Lines,
    lost::{Gauge, Source},
};

/// Bytes of lines that may wait for the keeper; more are dropped. The disk is slower than this for seconds only when
/// it fails.
const QUEUE_BYTES: usize = 8 << 20;

/// Bytes that are read from a pipe at once.
const CHUNK: usize = 8 << 10;

/// Takes the lines of one replica. Clones are cheap and write to the same place; none ever waits.
#[derive(Clone, Debug)]
pub struct LineWriter {
    pub(crate) source: Arc<Source>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) gauge: Arc<Gauge>,
    pub(crate) line_bytes: usize,
}

impl LineWriter {
    /// Keeps the lines of `text`; the last one need not have an end.
    pub fn write(&self, stream: Stream, text: impl AsRef<[u8]>) {
        let mut lines = Lines::new(self.line_bytes);
        lines.feed(text.as_ref(), |line| self.send(stream, line));
        lines.end(|line| self.send(stream, line));
    }

    /// Keeps the lines that `reader` gives, as a child's pipe, until it ends. Never stops reading for a reason of the
    /// log's own, so that the child does not wait; takes memory for one line. To be spawned.
    pub async fn lines_from(self, stream: Stream, mut reader: impl AsyncRead + Unpin) {
        let mut lines = Lines::new(self.line_bytes);
        let mut chunk = vec![0; CHUNK];
        loop {
            match reader.read(&mut chunk).await {
                Ok(0) => break,
                Ok(length) => lines.feed(&chunk[..length], |line| self.send(stream, line)),
                Err(error) => {
                    tracing::debug!(replica = %self.source.replica, %stream, %error, "a pipe cannot be read any more");
                    break;
                }
            }
        }
        lines.end(|line| self.send(stream, line));
    }

    fn send(&self, stream: Stream, line: String) {
        let bytes = line.len();
        let queued = self.gauge.queued.fetch_add(bytes, AcqRel);
        let fits = queued.saturating_add(bytes) <= QUEUE_BYTES;
        let entry = Entry::now(self.source.replica.clone(), stream, line);
        let line = Command::Line { source: self.source.clone(), entry };
        if fits && self.commands.try_send(line).is_ok() {
            return;
        }
        self.gauge.queued.fetch_sub(bytes, Relaxed);
        self.gauge.overran(&self.source);
        // Where even this finds no room, the keeper has more to do and will look by itself.
        let _ = self.commands.try_send(Command::TellOverrun);
    }
}
