//! Holding the files against their chain.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{
    chain::{Head, Link},
    files::{self, numbers, read_head},
};

/// Findings that are told: a file that is something else entirely has one a line.
const MOST: usize = 100;

/// What was found at a line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1; 0 where a file as a whole is meant.
    pub line: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not what was written.
    Altered,
    /// So many lines before it are gone.
    Missing(u64),
    /// It has a number that was there before: put in, or moved.
    Inserted(u64),
    /// Its record was removed before its time was over.
    RemovedEarly,
    /// It is none of KEA's lines.
    Foreign,
    /// So many lines at the end are gone, says `audit.head`.
    Truncated(u64),
    /// The last line is not the one that `audit.head` knows.
    HeadDiffers,
    /// The line of this number, which was noted elsewhere, is not there as it was.
    NotAsNoted(u64),
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Lines that are right.
    pub lines: u64,
    /// Files that were read.
    pub files: usize,
    /// Of these, lines whose record was removed, as its time was over.
    pub expired: u64,
    /// Lines that a crash tore, which the line after them tells of.
    pub torn: u64,
    /// Number and hash of the last line: what was noted elsewhere can be compared with it.
    pub head: (u64, String),
    /// What is wrong; nothing where all is as it was written.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        match &self.problem {
            Problem::Altered => f.write_str("this line, or its place, was changed"),
            Problem::Missing(1) => f.write_str("a line before this one is missing"),
            Problem::Missing(lines) => write!(f, "{lines} lines before this one are missing"),
            Problem::Inserted(number) => write!(f, "this line was put in or moved: number {number} was there before"),
            Problem::RemovedEarly => f.write_str("the record of this line was removed before its time was over"),
            Problem::Foreign => f.write_str("this is no line of the trail"),
            Problem::Truncated(lines) => write!(f, "{lines} lines after this one are missing: `audit.head` knows them"),
            Problem::NotAsNoted(number) => write!(f, "line number {number} is not there as it was noted"),
            Problem::HeadDiffers => f.write_str("this is not the last line that `audit.head` knows"),
        }
    }
}

/// Reads all files in `folder`. What was `noted` elsewhere, the number and hash of a line, must be in them: whoever can
/// write the files can write their chain anew, but not what others noted.
///
/// # Errors
/// Where they cannot be read; what is in them is a finding.
pub fn verify(folder: &Path, noted: Option<(u64, String)>) -> io::Result<Verdict> {
    let now = Timestamp::now();
    let mut reader = Reader { verdict: Verdict::default(), now, head: None, foreign: None, noted };
    for number in numbers(folder)? {
        let path = files::path(folder, number);
        reader.file(&path)?;
        reader.verdict.files += 1;
    }
    reader.end(folder);
    Ok(reader.verdict)
}

struct Reader {
    verdict: Verdict,
    now: Timestamp,
    /// The last line that was right, or is taken as such.
    head: Option<Head>,
    /// A line that is none of the chain, until the next one says whether a crash tore it.
    foreign: Option<(Finding, String)>,
    /// What was noted elsewhere, until it is found.
    noted: Option<(u64, String)>,
}

impl Reader {
    fn file(&mut self, path: &Path) -> io::Result<()> {
        let mut lines = BufReader::new(File::open(path)?);
        let (mut line, mut number) = (Vec::new(), 0);
        while lines.read_until(b'\n', &mut line)? > 0 {
            number += 1;
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            match Link::read(text) {
                Some(link) => self.link(&link, path, number),
                None => self.no_link(text, path, number),
            }
            line.clear();
        }
        Ok(())
    }

    fn no_link(&mut self, text: &[u8], path: &Path, line: usize) {
        self.tell_foreign();
        let finding = Finding { file: path.into(), line, problem: Problem::Foreign };
        self.foreign = Some((finding, hex::encode(Sha256::digest(text))));
    }

    fn link(&mut self, link: &Link<'_>, path: &Path, line: usize) {
        if let Some((_, digest)) = &self.foreign {
            let told = format!("\"kea.audit.torn\":\"{digest}\"");
            if link.content.windows(told.len()).any(|part| part == told.as_bytes()) {
                self.foreign = None;
                self.verdict.torn += 1;
            }
        }
        self.tell_foreign();
        self.noted.take_if(|(number, hash)| *number == link.sequence && *hash == link.hash);
        let mut find = |problem| push(&mut self.verdict, Finding { file: path.into(), line, problem });
        // The first line of all follows what it says, as the files before it were removed when they were old.
        let before = match (&self.head, link.previous) {
            (Some(head), _) => head.clone(),
            (None, Some(previous)) => Head { sequence: link.sequence.saturating_sub(1), hash: previous.into() },
            (None, None) => {
                find(Problem::Missing(link.sequence.saturating_sub(1).max(1)));
                self.head = Some(link.head());
                return;
            }
        };
        if link.sequence <= before.sequence {
            // What follows it is held against the line before it.
            find(Problem::Inserted(link.sequence));
            return;
        }
        let missing = link.sequence - before.sequence - 1;
        if missing > 0 {
            find(Problem::Missing(missing));
        } else if !link.follows(&before.hash) {
            find(Problem::Altered);
        } else {
            match link.expiring.filter(|expiring| expiring.removed.is_some()) {
                Some(removed) if removed.at > self.now => find(Problem::RemovedEarly),
                removed => {
                    self.verdict.lines += 1;
                    self.verdict.expired += u64::from(removed.is_some());
                }
            }
        }
        self.head = Some(link.head());
    }

    fn tell_foreign(&mut self) {
        if let Some((finding, _)) = self.foreign.take() {
            push(&mut self.verdict, finding);
        }
    }

    /// Holds the end against what `audit.head` knows.
    fn end(&mut self, folder: &Path) {
        // The last line of a process that was killed is torn, and nobody has told of it yet.
        if self.foreign.take().is_some() {
            self.verdict.torn += 1;
        }
        let head = self.head.clone().unwrap_or_else(Head::start);
        let file = numbers(folder).ok().and_then(|numbers| numbers.last().map(|n| files::path(folder, *n)));
        if let Some(known) = read_head(folder) {
            let file = file.unwrap_or_else(|| folder.into());
            let mut find = |problem| push(&mut self.verdict, Finding { file: file.clone(), line: 0, problem });
            if known.sequence > head.sequence {
                find(Problem::Truncated(known.sequence - head.sequence));
            } else if known.sequence == head.sequence && known.hash != head.hash {
                find(Problem::HeadDiffers);
            }
        }
        if let Some((number, _)) = self.noted.take() {
            let problem = Problem::NotAsNoted(number);
            push(&mut self.verdict, Finding { file: folder.into(), line: 0, problem });
        }
        self.verdict.head = (head.sequence, head.hash);
    }
}

fn push(verdict: &mut Verdict, finding: Finding) {
    if verdict.findings.len() < MOST {
        verdict.findings.push(finding);
    }
}
