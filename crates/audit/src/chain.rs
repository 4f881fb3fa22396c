//! The chain: each line ends with a number and a hash over itself and the hash before it, so that nobody can change,
//! take out, put in or move one without all that follow.
//!
//! A record that is kept for a time says so, and its line is hashed by way of a digest of the record: once the time is over,
//! that digest takes the record's place, and the chain holds without it.

use std::io::Write;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// What stands before a line's hash; all before it is hashed.
const HASH: &[u8] = b",\"kea.audit.hash\":\"";

/// What stands before a line's number.
const SEQUENCE: &[u8] = b",\"kea.audit.sequence\":";

/// What stands before the time from which on a record may be removed.
const EXPIRES: &[u8] = b",\"kea.audit.expires\":\"";

/// Bytes of that time, which is written to the second.
const TIME: usize = "2026-01-31T12:00:00Z".len();

/// What stands before the digest of a record that was removed.
const REMOVED: &[u8] = b"{\"kea.audit.removed\":\"";

/// What stands before the hash that the first line of a file follows.
const PREVIOUS: &[u8] = b",\"kea.audit.previous\":\"";

/// Digits of a hash.
const DIGITS: usize = 64;

/// The end of a chain: the number and the hash of its last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) sequence: u64,
    pub(crate) hash: String,
}

impl Head {
    /// Where a chain begins: nothing is before its first line.
    pub(crate) fn start() -> Self {
        Self { sequence: 0, hash: "0".repeat(DIGITS) }
    }

    /// Makes the JSON object from `start` on in `out` the next line of the chain. The first line of a file says what it
    /// follows, as the files before it may be gone. From the time that it `expires` on the record may be removed.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>, start: usize, first: bool, expires: Option<Timestamp>) {
        debug_assert_eq!(out.last(), Some(&b'}'));
        out.pop();
        let record = out.len();
        self.sequence += 1;
        if let Some(expires) = expires {
            out.extend_from_slice(EXPIRES);
            // Writing to memory cannot fail.
            let _ = write!(out, "{expires:.0}\"");
        }
        out.extend_from_slice(SEQUENCE);
        out.extend_from_slice(self.sequence.to_string().as_bytes());
        if first {
            out.extend_from_slice(PREVIOUS);
            out.extend_from_slice(self.hash.as_bytes());
            out.push(b'"');
        }
        self.hash = match expires {
            Some(_) => hash_of_two(&self.hash, &digest(&out[start..record]), &out[record..]),
            None => hash(&self.hash, &out[start..]),
        };
        out.extend_from_slice(HASH);
        out.extend_from_slice(self.hash.as_bytes());
        out.extend_from_slice(b"\"}\n");
    }
}

/// The hash of a line that follows the one with the hash `previous`.
pub(crate) fn hash(previous: &str, content: &[u8]) -> String {
    let hash = Sha256::new().chain_update(previous).chain_update(content).finalize();
    let mut digits = [0; DIGITS];
    // Digit by digit into text takes longer than the hash.
    hex::encode_to_slice(hash, &mut digits).expect("a hash of 32 bytes has 64 digits");
    str::from_utf8(&digits).expect("digits are text").to_owned()
}

/// The hash of a line whose record expires: of its digest, and of what follows it.
fn hash_of_two(previous: &str, digest: &str, rest: &[u8]) -> String {
    hex::encode(Sha256::new().chain_update(previous).chain_update(digest).chain_update(rest).finalize())
}

fn digest(record: &[u8]) -> String {
    hex::encode(Sha256::digest(record))
}

/// A line of a chain, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link<'a> {
    /// What is hashed.
    pub(crate) content: &'a [u8],
    pub(crate) sequence: u64,
    /// What it says that it follows; only of the first line of a file.
    pub(crate) previous: Option<&'a str>,
    /// Of a record that is kept for a time.
    pub(crate) expiring: Option<Expiring<'a>>,
    pub(crate) hash: &'a str,
}

/// A record that is kept for a time, or what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiring<'a> {
    /// From when on it may be removed.
    pub(crate) at: Timestamp,
    /// Its digest, once it was removed.
    pub(crate) removed: Option<&'a str>,
    record: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Expiring<'a> {
    /// Reads what stands before a line's number; `None` of a line that is kept as long as its file.
    fn read(content: &'a [u8], before: &'a [u8]) -> Option<Self> {
        let open = before.strip_suffix(b"\"")?;
        let (start, time) = open.split_at_checked(open.len().checked_sub(TIME)?)?;
        let record = start.strip_suffix(EXPIRES)?;
        let at = std::str::from_utf8(time).ok()?.parse().ok()?;
        Some(Self { at, removed: removed(record), record, rest: &content[record.len()..] })
    }

    /// What is to take the record's place, and is as long as it; `None` where the record is too short for that.
    pub(crate) fn left(&self) -> Option<Vec<u8>> {
        let mut left = [REMOVED, digest(self.record).as_bytes(), b"\""].concat();
        (left.len() <= self.record.len()).then(|| {
            left.resize(self.record.len(), b' ');
            left
        })
    }
}

/// The digest in the place of a record.
fn removed(record: &[u8]) -> Option<&str> {
    let (digest, rest) = record.strip_prefix(REMOVED)?.split_at_checked(DIGITS)?;
    let is_empty = rest.strip_prefix(b"\"")?.iter().all(|byte| *byte == b' ');
    digits(digest).filter(|_| is_empty)
}

impl<'a> Link<'a> {
    /// Reads a line without its end; `None` where it is none of a chain.
    pub(crate) fn read(line: &'a [u8]) -> Option<Self> {
        let open = line.strip_suffix(b"\"}")?;
        let (rest, hash) = open.split_at_checked(open.len().checked_sub(DIGITS)?)?;
        let content = rest.strip_suffix(HASH)?;
        let hash = digits(hash)?;
        let (before, previous) = match content.strip_suffix(b"\"") {
            Some(quoted) => {
                let (rest, previous) = quoted.split_at_checked(quoted.len().checked_sub(DIGITS)?)?;
                (rest.strip_suffix(PREVIOUS)?, Some(digits(previous)?))
            }
            None => (content, None),
        };
        let number = before.iter().rposition(|byte| !byte.is_ascii_digit())? + 1;
        let record = before[..number].strip_suffix(SEQUENCE)?;
        let sequence = std::str::from_utf8(&before[number..]).ok()?.parse().ok()?;
        Some(Self { content, sequence, previous, expiring: Expiring::read(content, record), hash })
    }

    /// Whether it is unchanged and follows the line with the hash `previous`.
    pub(crate) fn follows(&self, previous: &str) -> bool {
        let hash = match self.expiring {
            Some(Expiring { removed: Some(digest), rest, .. }) => hash_of_two(previous, digest, rest),
            Some(Expiring { record, rest, .. }) => hash_of_two(previous, &digest(record), rest),
            None => hash(previous, self.content),
        };
        hash == self.hash
    }

    pub(crate) fn head(&self) -> Head {
        Head { sequence: self.sequence, hash: self.hash.into() }
    }
}

fn digits(bytes: &[u8]) -> Option<&str> {
    let all = bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    std::str::from_utf8(bytes).ok().filter(|_| all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let (mut head, mut out) = (Head::start(), Vec::new());
        let expires = "2026-01-31T12:00:00.7Z".parse::<Timestamp>().unwrap();
        for (first, expires) in [(true, None), (false, None), (true, Some(expires)), (false, Some(expires))] {
            let (start, before) = (out.len(), head.clone());
            out.extend_from_slice(br#"{"event.action":"x"}"#);
            head.append(&mut out, start, first, expires);
            let line = out[start..].strip_suffix(b"\n").unwrap();
            let link = Link::read(line).unwrap();
            assert_eq!(link.head(), head);
            assert_eq!(link.previous.is_some(), first);
            assert_eq!(link.expiring.map(|expiring| expiring.at.as_second()), expires.map(|at| at.as_second()));
            assert!(link.follows(&before.hash) && !link.follows(&head.hash));
            serde_json::from_slice::<serde_json::Value>(line).unwrap();
        }
    }

    #[test]
    fn a_record_can_be_removed_and_the_chain_holds() {
        let (mut head, mut line) = (Head::start(), Vec::new());
        line.extend_from_slice(format!(r#"{{"event.action":"call","url.path":"/{}"}}"#, "x".repeat(99)).as_bytes());
        head.append(&mut line, 0, true, Some(Timestamp::UNIX_EPOCH));
        let whole = line.strip_suffix(b"\n").unwrap();
        let left = Link::read(whole).unwrap().expiring.unwrap().left().unwrap();
        let removed = [&left, &whole[left.len()..]].concat();
        assert_eq!((removed.len(), removed.windows(3).any(|part| part == b"xxx")), (whole.len(), false));
        let link = Link::read(&removed).unwrap();
        assert!(link.expiring.unwrap().removed.is_some() && link.follows(&Head::start().hash));
        assert_eq!(link.head(), head);
        // Neither the time nor the digest can be another one, and nothing is hidden in what is empty.
        for (from, to) in [("1970", "1971"), ("removed\":\"", "removed\":\"0"), ("  ,", " x,")] {
            let text = String::from_utf8(removed.clone()).unwrap();
            assert!(text.contains(from), "{text}");
            let altered = text.replace(from, to);
            assert!(!Link::read(altered.as_bytes()).is_some_and(|link| link.follows(&Head::start().hash)), "{altered}");
        }
        serde_json::from_slice::<serde_json::Value>(&removed).unwrap();
    }

    #[test]
    fn what_is_no_line_of_a_chain_is_not_read_as_one() {
        for line in ["", "{}", "\"}", r#"{"a":1,"kea.audit.sequence":1,"kea.audit.hash":"00"}"#] {
            assert_eq!(Link::read(line.as_bytes()), None, "{line}");
        }
    }
}
