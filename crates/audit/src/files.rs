//! The files of the trail: named after the number of their first line, the newest one written, the oldest removed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::chain::{Head, Link};

/// Beside the files: where their chain ended when they were last written.
pub(crate) const HEAD: &str = "audit.head";

/// How much the trail may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a file before the next one is begun.
    pub file_bytes: u64,
    /// Files that are kept.
    pub files: usize,
    /// How long a file is kept after its last line, where that is bounded.
    pub age: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, files: 10, age: None }
    }
}

/// A place in the trail, up to which it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Number of the first line of the file.
    pub(crate) file: u64,
    /// Bytes of it.
    pub(crate) offset: u64,
    /// Number of the last line.
    pub(crate) sequence: u64,
}

/// What `audit.head` says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HeadFile {
    pub(crate) sequence: u64,
    pub(crate) hash: String,
}

/// The file that is written.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    limits: Limits,
    current: File,
    head_file: File,
    position: Position,
}

/// What was found when the trail was opened.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) head: Head,
    /// SHA-256 of what a crash left of a line.
    pub(crate) torn: Option<String>,
    /// Lines that the head knows and the files do not have.
    pub(crate) missing: Option<u64>,
}

impl Files {
    /// Opens the newest file of `folder`, or makes the first one.
    pub(crate) fn open(folder: &Path, limits: Limits) -> io::Result<(Self, Found)> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut found = last(folder)?;
        let known = read_head(folder);
        if let Some(known) = known.filter(|known| known.sequence > found.head.sequence) {
            found.missing = Some(known.sequence - found.head.sequence);
            // The chain goes on from what is known to have been, so that the gap stays visible.
            found.head = Head { sequence: known.sequence, hash: known.hash };
        }
        let number = numbers(folder)?.last().copied().unwrap_or(found.head.sequence + 1);
        let mut current = open(folder, number)?;
        if found.torn.is_some() {
            current.write_all(b"\n")?;
        }
        let offset = current.metadata()?.len();
        let head_file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join(HEAD))?;
        let position = Position { file: number, offset, sequence: found.head.sequence };
        Ok((Self { folder: folder.into(), limits, current, head_file, position }, found))
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Whether the file is empty, so that its first line is to say what it follows.
    pub(crate) fn is_new(&self) -> bool {
        self.position.offset == 0
    }

    /// Whether the file is to be followed by another, with that many bytes more.
    pub(crate) fn is_full_with(&self, bytes: usize) -> bool {
        self.position.offset + bytes as u64 >= self.limits.file_bytes
    }

    /// Appends whole lines, all of them or none, of which the last is `head`.
    pub(crate) fn append(&mut self, lines: &[u8], head: &Head) -> io::Result<()> {
        if let Err(error) = self.current.write_all(lines) {
            // Where this fails too, the next opening finds a line that was torn.
            let _ = self.current.set_len(self.position.offset);
            return Err(error);
        }
        self.position.offset += lines.len() as u64;
        self.position.sequence = head.sequence;
        let text = HeadFile { sequence: head.sequence, hash: head.hash.clone() };
        // Numbers grow, so that a longer text never leaves the end of a shorter one behind.
        self.head_file.write_all_at(&serde_json::to_vec(&text)?, 0)
    }

    /// Begins the next file, whose first line comes after `head`, and removes the oldest.
    pub(crate) fn rotate(&mut self, head: &Head) -> io::Result<()> {
        let number = head.sequence + 1;
        self.current = open(&self.folder, number)?;
        self.position = Position { file: number, offset: 0, sequence: head.sequence };
        self.remove_old()
    }

    /// Removes what there are too many of, and what is too old.
    pub(crate) fn remove_old(&self) -> io::Result<()> {
        let numbers = numbers(&self.folder)?;
        let surplus = numbers.len().saturating_sub(self.limits.files.max(1));
        for (index, number) in numbers.iter().enumerate().filter(|(_, number)| **number != self.position.file) {
            let path = path(&self.folder, *number);
            if index < surplus || self.limits.age.is_some_and(|age| is_older(&path, age)) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn is_older(path: &Path, age: Duration) -> bool {
    let written = fs::metadata(path).and_then(|file| file.modified());
    let passed = written.ok().and_then(|written| SystemTime::now().duration_since(written).ok());
    passed.is_some_and(|passed| passed > age)
}

fn open(folder: &Path, number: u64) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path(folder, number))
}

pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("audit-{number:020}.jsonl"))
}

/// Numbers of the files, oldest first; none where there is no folder.
pub(crate) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut numbers = Vec::new();
    for file in listed {
        let name = file?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".jsonl"));
        numbers.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What `audit.head` says; nothing where it cannot be read.
pub(crate) fn read_head(folder: &Path) -> Option<HeadFile> {
    serde_json::from_slice(&fs::read(folder.join(HEAD)).ok()?).ok()
}

/// The last line of the chain, looked for from the newest file on.
fn last(folder: &Path) -> io::Result<Found> {
    let mut torn = None;
    for number in numbers(folder)?.into_iter().rev() {
        let bytes = tail(&path(folder, number))?;
        let (lines, rest) = bytes.split_at(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        if !rest.is_empty() && torn.is_none() {
            torn = Some(hex::encode(Sha256::digest(rest)));
        }
        let links = lines.split(|byte| *byte == b'\n').rev();
        if let Some(link) = links.filter_map(Link::read).next() {
            return Ok(Found { head: link.head(), torn, missing: None });
        }
    }
    Ok(Found { head: Head::start(), torn, missing: None })
}

/// The end of a file, which has more than the longest line.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    const ENOUGH: u64 = 4 << 20;
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(ENOUGH)))?;
    let mut bytes = Vec::new();
    file.take(ENOUGH).read_to_end(&mut bytes)?;
    Ok(bytes)
}
