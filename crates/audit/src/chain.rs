//! The chain: each line ends with a number and a hash over itself and the hash before it, so that nobody can change,
//! take out, put in or move one without all that follow.

use sha2::{Digest, Sha256};

/// What stands before a line's hash; all before it is hashed.
const HASH: &[u8] = b",\"kea.audit.hash\":\"";

/// What stands before a line's number.
const SEQUENCE: &[u8] = b",\"kea.audit.sequence\":";

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
    /// follows, as the files before it may be gone.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>, start: usize, first: bool) {
        debug_assert_eq!(out.last(), Some(&b'}'));
        out.pop();
        self.sequence += 1;
        out.extend_from_slice(SEQUENCE);
        out.extend_from_slice(self.sequence.to_string().as_bytes());
        if first {
            out.extend_from_slice(PREVIOUS);
            out.extend_from_slice(self.hash.as_bytes());
            out.push(b'"');
        }
        self.hash = hash(&self.hash, &out[start..]);
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

/// A line of a chain, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link<'a> {
    /// What is hashed.
    pub(crate) content: &'a [u8],
    pub(crate) sequence: u64,
    /// What it says that it follows; only of the first line of a file.
    pub(crate) previous: Option<&'a str>,
    pub(crate) hash: &'a str,
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
        before[..number].strip_suffix(SEQUENCE)?;
        let sequence = std::str::from_utf8(&before[number..]).ok()?.parse().ok()?;
        Some(Self { content, sequence, previous, hash })
    }

    /// Whether it is unchanged and follows the line with the hash `previous`.
    pub(crate) fn follows(&self, previous: &str) -> bool {
        hash(previous, self.content) == self.hash
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
        for first in [true, false] {
            let (start, before) = (out.len(), head.clone());
            out.extend_from_slice(br#"{"event.action":"x"}"#);
            head.append(&mut out, start, first);
            let line = out[start..].strip_suffix(b"\n").unwrap();
            let link = Link::read(line).unwrap();
            assert_eq!(link.head(), head);
            assert_eq!(link.previous.is_some(), first);
            assert!(link.follows(&before.hash) && !link.follows(&head.hash));
            serde_json::from_slice::<serde_json::Value>(line).unwrap();
        }
    }

    #[test]
    fn what_is_no_line_of_a_chain_is_not_read_as_one() {
        for line in ["", "{}", "\"}", r#"{"a":1,"kea.audit.sequence":1,"kea.audit.hash":"00"}"#] {
            assert_eq!(Link::read(line.as_bytes()), None, "{line}");
        }
    }
}
