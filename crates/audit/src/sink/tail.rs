//! Reading the files' lines in order, from a place that is kept.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::Line;
use crate::{
    chain::Link,
    files::{self, Position, numbers},
};

/// Bytes of lines that are sent at once, unless one is longer.
const BATCH_BYTES: u64 = 1 << 20;

/// Where a sink is.
#[derive(Debug)]
pub(crate) struct Tail {
    folder: PathBuf,
    /// Where its place is kept; not at all for a sink that begins at the end.
    cursor: Option<PathBuf>,
    position: Position,
    /// Whether the first reading begins at the end.
    skip: bool,
}

/// Lines that were read.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<Line>,
    /// Lines that were removed before they were read.
    pub(crate) lost: u64,
    /// The place after them.
    pub(crate) next: Position,
}

impl Tail {
    /// From where it was before on, or from the oldest line.
    pub(crate) fn kept(folder: &Path, name: &str) -> io::Result<Self> {
        let cursor = folder.join(format!("{name}.cursor"));
        let kept = fs::read(&cursor).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let oldest = numbers(folder)?.first().copied().unwrap_or(1);
        let begin = Position { file: oldest, offset: 0, sequence: oldest.saturating_sub(1) };
        let mut tail = Self { folder: folder.into(), cursor: Some(cursor), position: begin, skip: false };
        // Kept before anything is sent: what is removed meanwhile is lost, and is to be counted as such.
        tail.advance(kept.unwrap_or(begin))?;
        Ok(tail)
    }

    /// From the end on.
    pub(crate) fn at_end(folder: &Path) -> Self {
        Self { folder: folder.into(), cursor: None, position: Position::default(), skip: true }
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The next lines before `end`; `None` where there are none.
    pub(crate) async fn read(&mut self, end: Position) -> io::Result<Option<Batch>> {
        if std::mem::take(&mut self.skip) {
            self.position = end;
        }
        if self.position.file == end.file && self.position.offset >= end.offset {
            return Ok(None);
        }
        let (folder, position) = (self.folder.clone(), self.position);
        let read = tokio::task::spawn_blocking(move || next(&folder, position, end));
        read.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Keeps where it is. A crash in between leaves the place before: lines are sent again.
    pub(crate) fn advance(&mut self, to: Position) -> io::Result<()> {
        self.position = to;
        let Some(cursor) = &self.cursor else { return Ok(()) };
        let new = cursor.with_extension("new");
        fs::write(&new, serde_json::to_vec(&to)?)?;
        fs::rename(new, cursor)
    }
}

/// The lines after `position`, from its file or from the one after it.
fn next(folder: &Path, position: Position, end: Position) -> io::Result<Option<Batch>> {
    let numbers = numbers(folder)?;
    let Some(file) = numbers.iter().copied().find(|number| *number >= position.file) else { return Ok(None) };
    let offset = if file == position.file { position.offset } else { 0 };
    let before = position.sequence.max(file.saturating_sub(1));
    let mut batch = Batch { next: Position { file, offset, sequence: before }, ..Batch::default() };
    // The files are named after their first lines: those between are gone. That is a step of its own, so that it is kept,
    // and not counted again after a restart, however long the lines that follow wait for the sink.
    batch.lost = file.saturating_sub(position.sequence + 1);
    if batch.lost > 0 {
        return Ok(Some(batch));
    }
    match read(folder, &mut batch, end) {
        // It was the oldest, and has just been removed.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            batch.next = Position { file: file + 1, offset: 0, sequence: before };
            Ok(Some(batch))
        }
        Err(error) => Err(error),
        Ok(()) if batch.next.offset > offset => Ok(Some(batch)),
        // All of this file has been read.
        Ok(()) => Ok(numbers.into_iter().find(|number| *number > file).map(|number| {
            batch.next = Position { file: number, offset: 0, sequence: before };
            batch
        })),
    }
}

/// Reads whole lines of the file that `batch.next` names.
fn read(folder: &Path, batch: &mut Batch, end: Position) -> io::Result<()> {
    let file = File::open(files::path(folder, batch.next.file))?;
    let size = if batch.next.file == end.file { end.offset } else { file.metadata()?.len() };
    let offset = batch.next.offset;
    let mut length = BATCH_BYTES;
    loop {
        let mut bytes = vec![0; usize::try_from(length.min(size.saturating_sub(offset))).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, offset)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let rest_is_torn = offset + bytes.len() as u64 >= size;
        match whole {
            Some(whole) => {
                take(&bytes[..whole], batch);
                batch.next.offset += whole as u64;
                return Ok(());
            }
            None if rest_is_torn => return Ok(()),
            None => length *= 2,
        }
    }
}

fn take(bytes: &[u8], batch: &mut Batch) {
    for line in bytes.split(|byte| *byte == b'\n') {
        // What a crash tore has no hash, and is no record.
        let Some((link, text)) = Link::read(line).zip(std::str::from_utf8(line).ok()) else { continue };
        batch.next.sequence = link.sequence;
        if link.expiring.is_some_and(|expiring| expiring.removed.is_some()) {
            batch.lost += 1;
            continue;
        }
        batch.lines.push(Line { text: text.into(), hash: link.hash.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::Head,
        ecs::{self, Note},
    };

    #[test]
    fn what_expired_before_it_was_taken_is_counted_as_lost() {
        let (mut head, mut line) = (Head::start(), Vec::new());
        ecs::write(&Note::new("test", "here"), &mut line);
        head.append(&mut line, 0, true, Some(jiff::Timestamp::UNIX_EPOCH));
        let taken = |line: &[u8]| {
            let mut batch = Batch::default();
            take(line, &mut batch);
            (batch.lines.len(), batch.lost, batch.next.sequence)
        };
        assert_eq!(taken(&line), (1, 0, 1));
        let left = Link::read(line.strip_suffix(b"\n").unwrap()).unwrap().expiring.unwrap().left().unwrap();
        line[..left.len()].copy_from_slice(&left);
        assert_eq!(taken(&line), (0, 1, 1));
    }
}
