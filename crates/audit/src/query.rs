//! Finding records in the files: newest first, by what people ask for.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::Path,
};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::files::{self, numbers};

/// Bytes read at once.
const BLOCK: usize = 1 << 20;

/// Most records of an answer.
pub const QUERY_MAX: usize = 10_000;

/// Most bytes of an answer's records; the oldest are left out.
const ANSWER_BYTES: usize = 16 << 20;

/// Records are written as they end: one that began before may come later, by the longest that requests take.
const DISORDER: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// Which records are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// None that began before this.
    pub since: Option<Timestamp>,
    /// None that began at this moment or later.
    pub until: Option<Timestamp>,
    /// Those of this user alone.
    pub caller: Option<String>,
    /// Those about this service alone.
    pub service: Option<String>,
    /// Those that ended so alone.
    pub outcome: Option<String>,
    /// Most of them; [`QUERY_MAX`] at most.
    pub limit: usize,
}

/// What of a line a query looks at.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "@timestamp")]
    time: Timestamp,
    #[serde(rename = "user.name", borrow)]
    user: Option<std::borrow::Cow<'a, str>>,
    #[serde(rename = "service.name", borrow)]
    service: Option<std::borrow::Cow<'a, str>>,
    #[serde(rename = "kea.outcome", borrow)]
    outcome: Option<std::borrow::Cow<'a, str>>,
}

impl Query {
    fn matches(&self, fields: &Fields<'_>) -> bool {
        let same = |asked: &Option<String>, is: &Option<std::borrow::Cow<'_, str>>| {
            asked.as_deref().is_none_or(|asked| is.as_deref() == Some(asked))
        };
        self.since.is_none_or(|since| fields.time >= since)
            && self.until.is_none_or(|until| fields.time < until)
            && same(&self.caller, &fields.user)
            && same(&self.service, &fields.service)
            && same(&self.outcome, &fields.outcome)
    }

    /// Whether everything before a line of this time is too old.
    fn ends_before(&self, time: Timestamp) -> bool {
        let latest = self.since.and_then(|since| since.checked_sub(DISORDER).ok());
        latest.is_some_and(|latest| time < latest)
    }

    /// The latest records in `folder`, newest first. A line that cannot be read is left out.
    pub(crate) fn read(&self, folder: &Path) -> io::Result<Vec<Box<RawValue>>> {
        let mut found = Found { lines: Vec::new(), room: self.limit.min(QUERY_MAX), bytes: ANSWER_BYTES };
        for number in numbers(folder)?.into_iter().rev() {
            let file = match File::open(files::path(folder, number)) {
                // It was the oldest, and has just been removed.
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                opened => opened?,
            };
            backwards(&file, |line| self.take(line, &mut found))?;
            if found.room == 0 {
                break;
            }
        }
        Ok(found.lines)
    }

    /// Takes a line where it is meant; says whether those before it are wanted, too.
    fn take(&self, line: &[u8], found: &mut Found) -> bool {
        let Some((text, fields)) = std::str::from_utf8(line).ok().and_then(|text| {
            let fields: Fields<'_> = serde_json::from_str(text).ok()?;
            Some((text, fields))
        }) else {
            return true;
        };
        if self.ends_before(fields.time) {
            found.room = 0;
        } else if self.matches(&fields) {
            found.push(text);
        }
        found.room > 0
    }
}

struct Found {
    lines: Vec<Box<RawValue>>,
    room: usize,
    bytes: usize,
}

impl Found {
    fn push(&mut self, text: &str) {
        let left = self.bytes.checked_sub(text.len());
        match (left, RawValue::from_string(text.into())) {
            (Some(left), Ok(line)) if self.room > 0 => {
                self.bytes = left;
                self.room -= 1;
                self.lines.push(line);
            }
            _ => self.room = 0,
        }
    }
}

/// Gives each line of `file`, the last one first, until `wanted` says no.
fn backwards(file: &File, mut wanted: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut unread = file.metadata()?.len();
    // The start of a line whose end has been read.
    let mut rest: Vec<u8> = Vec::new();
    while unread > 0 {
        let length = unread.min(BLOCK as u64);
        unread -= length;
        let mut block = vec![0; usize::try_from(length).unwrap_or(BLOCK)];
        file.read_exact_at(&mut block, unread)?;
        block.append(&mut rest);
        let first =
            if unread == 0 { 0 } else { block.iter().position(|b| *b == b'\n').map_or(block.len(), |at| at + 1) };
        for line in block[first..].split(|byte| *byte == b'\n').rev().filter(|line| !line.is_empty()) {
            if !wanted(line) {
                return Ok(());
            }
        }
        block.truncate(first);
        rest = block;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_come_last_first_and_whole_across_blocks() {
        let lines: Vec<String> = (0..9_000).map(|number| format!("{number} {}", "x".repeat(number % 600))).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        let mut read = Vec::new();
        backwards(&file, |line| {
            read.push(String::from_utf8(line.to_vec()).unwrap());
            true
        })
        .unwrap();
        read.reverse();
        assert_eq!(read, lines);
    }
}
