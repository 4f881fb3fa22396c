//! What a connection of HTTP/2 writes to and reads from: counted as long as there is one, and at an end some time after the
//! last of its requests. hyper keeps one open whose other end does not read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::{sync::oneshot, time::sleep};

/// How long a connection that has no more requests may take to end.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// A connection that is counted until this is dropped.
pub(super) struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A connection's bytes.
pub(super) struct Wire<T> {
    io: T,
    over: BoxFuture<'static, ()>,
    /// Whether the other end has said anything.
    has_read: bool,
    /// Told of the first thing that is written after that: the other end's settings have been taken over by then.
    greeted: Option<oneshot::Sender<()>>,
    _alive: Option<Alive>,
}

impl<T: Unpin> Wire<T> {
    /// Ends soon after the other end of `used` was dropped, and tells once when the settings of the other end hold.
    pub(super) fn new(io: T, used: oneshot::Receiver<()>, alive: Option<Alive>) -> (Self, oneshot::Receiver<()>) {
        let over = async {
            let _dropped = used.await;
            sleep(FAREWELL).await;
        };
        let (greeted, greeting) = oneshot::channel();
        (Self { io, over: Box::pin(over), has_read: false, greeted: Some(greeted), _alive: alive }, greeting)
    }

    /// The connection, unless its time is over.
    fn within(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut T>> {
        if self.over.as_mut().poll(context).is_ready() {
            self.over = Box::pin(std::future::ready(()));
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(Pin::new(&mut self.io))
    }

    fn writes(&mut self) {
        if let Some(greeted) = self.greeted.take_if(|_| self.has_read) {
            // Whoever waits for it may have gone.
            let _ = greeted.send(());
        }
    }
}

impl<T: Read + Unpin> Read for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = self.within(context)?.poll_read(context, buffer);
        self.has_read |= polled.is_ready();
        polled
    }
}

impl<T: Write + Unpin> Write for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes();
        self.within(context)?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.within(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.within(context)?.poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes();
        self.within(context)?.poll_write_vectored(context, parts)
    }
}
