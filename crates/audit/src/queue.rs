//! The way from requests to the thread that writes: bounded, and never waited for.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
    mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
};

use tokio::sync::oneshot;

use crate::recorder::Draft;

/// Records that wait for the writer: more than half a second of 100,000 requests a second, in 30 MB at the most.
const CAPACITY: usize = 65_536;

/// What the writer is sent.
pub(crate) enum Message {
    /// Write this.
    Record(Arc<Mutex<Draft>>),
    /// Tell when all that came before this is written.
    Flush(oneshot::Sender<()>),
    /// Write what came before this, and end.
    Stop,
}

#[derive(Debug)]
pub(crate) struct Queue {
    sender: SyncSender<Message>,
    dropped: AtomicU64,
    queued: AtomicU64,
}

impl Queue {
    pub(crate) fn new() -> (Arc<Self>, Receiver<Message>) {
        let (sender, receiver) = sync_channel(CAPACITY);
        let queue = Self { sender, dropped: AtomicU64::new(0), queued: AtomicU64::new(0) };
        (Arc::new(queue), receiver)
    }

    /// Puts a record into the queue. Where there is no room it is counted and gone: a disk that hangs must not hang
    /// requests.
    pub(crate) fn push(&self, draft: Arc<Mutex<Draft>>) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.sender.try_send(Message::Record(draft))
        {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits for room; not for requests.
    pub(crate) fn send(&self, message: Message) {
        // Without a writer nobody waits for its answer.
        let _ = self.sender.send(message);
    }

    pub(crate) fn took(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }
}
