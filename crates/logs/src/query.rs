//! Which lines of a log are wanted, and finding them.

use std::{
    fs::File,
    io::{self, ErrorKind},
    path::Path,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    backwards::Backwards,
    entry::{BUILD, Entry},
    files::{self, End},
};

/// Lines of an answer where nothing is said.
const TAIL: usize = 100;

/// Most lines of an answer.
const TAIL_MAX: usize = 10_000;

/// Most bytes of an answer's lines; the oldest are left out.
const ANSWER_BYTES: usize = 16 << 20;

/// Lines of several replicas are in the order in which they arrived, which is not quite that of their times.
const DISORDER: SignedDuration = SignedDuration::from_secs(1);

/// Which lines are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// So many of the latest; at most 10,000. Where it is not given 100, or 10,000 where `since` is.
    pub tail: Option<usize>,
    /// None before this.
    pub since: Option<Timestamp>,
    /// Only those of the replica of this name. Where it is not given, those of all replicas but not [`crate::BUILD`].
    pub replica: Option<String>,
}

impl Query {
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        let is_meant = match &self.replica {
            Some(replica) => **replica == *entry.replica,
            None => *entry.replica != *BUILD,
        };
        is_meant && self.since.is_none_or(|since| entry.time >= since)
    }

    fn limit(&self) -> usize {
        let default = if self.since.is_some() { TAIL_MAX } else { TAIL };
        self.tail.unwrap_or(default).min(TAIL_MAX)
    }

    /// Whether everything before `entry` is too old.
    fn ends_before(&self, entry: &Entry) -> bool {
        let latest = self.since.and_then(|since| since.checked_sub(DISORDER).ok());
        latest.is_some_and(|latest| entry.time < latest)
    }

    /// The latest lines of `folder` up to `end`, oldest first. A line that cannot be read is left out.
    pub(crate) fn read(&self, folder: &Path, end: End) -> io::Result<Vec<Entry>> {
        let mut found = Found { entries: Vec::new(), room: self.limit(), bytes: ANSWER_BYTES };
        let numbers = files::numbers(folder)?;
        for number in numbers.into_iter().rev().filter(|number| *number <= end.number) {
            let file = match File::open(files::path(folder, number)) {
                // It was the oldest, and has just been removed.
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                opened => opened?,
            };
            let size = if number == end.number { end.size } else { file.metadata()?.len() };
            if self.read_file(Backwards::new(file, size), &mut found)? {
                break;
            }
        }
        found.entries.reverse();
        Ok(found.entries)
    }

    /// Whether the files before this one need not be read.
    fn read_file(&self, mut lines: Backwards, found: &mut Found) -> io::Result<bool> {
        while found.room > 0 {
            let Some(line) = lines.next_line()? else { return Ok(false) };
            let Ok(entry) = serde_json::from_slice::<Entry>(&line) else { continue };
            if self.ends_before(&entry) {
                break;
            }
            if self.matches(&entry) {
                found.push(entry);
            }
        }
        Ok(true)
    }
}

struct Found {
    entries: Vec<Entry>,
    room: usize,
    bytes: usize,
}

impl Found {
    fn push(&mut self, entry: Entry) {
        match self.bytes.checked_sub(entry.line.len() + size_of::<Entry>()) {
            Some(left) => {
                self.bytes = left;
                self.room -= 1;
                self.entries.push(entry);
            }
            None => self.room = 0,
        }
    }
}

/// A line that tells a reader that it was too slow.
pub(crate) fn skipped(count: u64) -> Entry {
    let line = format!("… {count} lines were skipped here: they came faster than they were read");
    Entry::now(Arc::from("-"), crate::Stream::Kea, line)
}
