//! Removing records whose time is over, as their service's rules said when they were written. What is left of such a line is
//! as long as it was, so that whoever reads the files by their bytes, as sinks do, finds everything in its place.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    chain::Link,
    files::{self, Position, numbers},
};

/// How often it is looked for what is due.
const PAUSE: Duration = Duration::from_secs(60);

/// Removes what is due from the files in `folder`, and counts it, until it is told to stop.
pub(crate) async fn tend(
    folder: PathBuf,
    position: watch::Receiver<Position>,
    removed: Arc<AtomicU64>,
    stopping: CancellationToken,
) {
    let mut expiry = Expiry::default();
    let mut is_failing = false;
    loop {
        let (here, end) = (folder.clone(), *position.borrow());
        let swept = tokio::task::spawn_blocking(move || {
            let result = expiry.sweep(&here, end, Timestamp::now());
            (expiry, result)
        });
        let result;
        (expiry, result) = swept.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        match result {
            Ok(count) => {
                removed.fetch_add(count, Ordering::Relaxed);
                is_failing = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(%error, "records whose time is over cannot be removed from the audit trail");
                }
            }
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = stopping.cancelled() => return,
        }
    }
}

/// What is known of the files, so that each is read once alone, until something in it is due.
#[derive(Debug, Default)]
pub(crate) struct Expiry(BTreeMap<u64, Read>);

/// What is known of a file.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    /// Bytes that were read.
    bytes: u64,
    /// When the first of its records is due.
    next: Option<Timestamp>,
}

impl Read {
    fn is_due(&self, now: Timestamp) -> bool {
        self.next.is_some_and(|next| next <= now)
    }
}

impl Expiry {
    /// Removes what is due before `end`; how many records that were.
    pub(crate) fn sweep(&mut self, folder: &Path, end: Position, now: Timestamp) -> io::Result<u64> {
        let numbers = numbers(folder)?;
        self.0.retain(|number, _| numbers.contains(number));
        let mut removed = 0;
        for number in numbers {
            let known = self.0.get(&number).copied().filter(|known| !known.is_due(now)).unwrap_or_default();
            let file = match OpenOptions::new().read(true).write(true).open(files::path(folder, number)) {
                // It was the oldest, and has just been removed.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let metadata = file.metadata()?;
            let size = if number == end.file { end.offset } else { metadata.len() };
            if size <= known.bytes {
                continue;
            }
            let (known, count) = pass(&file, known, size, now)?;
            if count > 0 {
                // Its age is that of its last line.
                file.set_modified(metadata.modified()?)?;
            }
            self.0.insert(number, known);
            removed += count;
        }
        Ok(removed)
    }
}

/// Reads on to `size`, removes what is due, and says how many records that were.
fn pass(file: &File, mut known: Read, size: u64, now: Timestamp) -> io::Result<(Read, u64)> {
    let mut lines = BufReader::new(file);
    lines.seek(SeekFrom::Start(known.bytes))?;
    let (mut line, mut removed) = (Vec::new(), 0);
    while known.bytes < size && lines.read_until(b'\n', &mut line)? > 0 {
        let link = line.strip_suffix(b"\n").and_then(Link::read);
        let expiring = link.and_then(|link| link.expiring).filter(|expiring| expiring.removed.is_none());
        match expiring {
            Some(due) if due.at <= now => {
                if let Some(left) = due.left() {
                    file.write_all_at(&left, known.bytes)?;
                    removed += 1;
                }
            }
            Some(later) => known.next = Some(known.next.map_or(later.at, |next| next.min(later.at))),
            None => {}
        }
        known.bytes += line.len() as u64;
        line.clear();
    }
    Ok((known, removed))
}
