//! The control channel: a Unix socket on standard input, on which a replica tells its starter where it listens and how
//! it is. When the other end closes, the replica has no one to answer for and ends.

use std::{io, net::SocketAddr, os::fd::AsFd, os::unix::net::UnixStream as StdUnixStream, sync::Arc};

use kea_core::Contract;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// What a replica tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event {
    /// It listens there.
    Listening { address: SocketAddr },
    /// It answers.
    Ready { contract: Arc<Contract> },
    /// It does not answer for the moment.
    Unready { reason: String },
    /// It will never answer.
    Failed { reason: String },
}

/// A replica's end of the channel; silent where it was started by hand.
pub(crate) struct Control {
    write: Option<OwnedWriteHalf>,
}

/// Resolves when the other end is gone; never where the replica was started by hand.
pub(crate) struct ParentGone {
    read: Option<OwnedReadHalf>,
}

/// Takes standard input as the channel.
pub(crate) fn open(wanted: bool) -> io::Result<(Control, ParentGone)> {
    if !wanted {
        return Ok((Control { write: None }, ParentGone { read: None }));
    }
    let socket = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    let (read, write) = UnixStream::from_std(socket)?.into_split();
    Ok((Control { write: Some(write) }, ParentGone { read: Some(read) }))
}

impl Control {
    /// Tells `event`. Where nobody listens any more, [`ParentGone`] ends the replica.
    pub(crate) async fn tell(&mut self, event: &Event) {
        let Some(write) = &mut self.write else { return };
        let mut line = serde_json::to_vec(event).expect("an event is JSON");
        line.push(b'\n');
        if let Err(error) = write.write_all(&line).await {
            tracing::debug!(%error, "the control channel is closed");
        }
    }
}

impl ParentGone {
    /// Waits until the other end closes.
    pub(crate) async fn wait(mut self) {
        let Some(read) = &mut self.read else { return std::future::pending().await };
        // Nothing is ever said in this direction: any end of waiting is the end of the parent.
        let _ = read.read_u8().await;
    }
}
