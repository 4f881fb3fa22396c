//! Versions of the GNU C library: the one that a base has, and the oldest one that a program can use. A program made on
//! a newer system than its base does not start, which is better told when the image is made.

use std::{
    fmt,
    io::{self, Read},
};

use serde::{Deserialize, Serialize};

/// What precedes the version in the library itself, and in the names of what programs use of it.
const LIBRARY: &[u8] = b"stable release version ";
const SYMBOL: &[u8] = b"GLIBC_";
/// Longer files are no library, and no program of KEA's.
const LONGEST: u64 = 1 << 30;
/// Longer than what is looked for.
const OVERLAP: usize = 64;

/// A version as `2.36`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Glibc(u32, u32);

impl Glibc {
    /// What wheels for the target are made for.
    pub(crate) const OF_WHEELS: Self = Self(2, 28);

    /// The version of the library that `content` is.
    pub(crate) fn of_library(content: impl Read) -> io::Result<Option<Self>> {
        versions(content, LIBRARY).map(|found| found.into_iter().next())
    }

    /// The oldest version that the program `content` runs with; none where it needs none.
    pub(crate) fn needed_by(content: impl Read) -> io::Result<Option<Self>> {
        versions(content, SYMBOL).map(|found| found.into_iter().max())
    }
}

impl fmt::Display for Glibc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// All versions that stand behind `mark`.
fn versions(content: impl Read, mark: &[u8]) -> io::Result<Vec<Glibc>> {
    let (mut content, mut found) = (content.take(LONGEST), Vec::new());
    let (mut chunk, mut kept) = (vec![0; 1 << 20], 0);
    loop {
        let read = content.read(&mut chunk[kept..])?;
        let seen = &chunk[..kept + read];
        let last = read == 0;
        // What is at the end of a chunk may be cut; it is looked at with the next one.
        let whole = if last { seen.len() } else { seen.len().saturating_sub(OVERLAP) };
        let starts = (0..whole).filter(|at| seen[*at] == mark[0] && seen[*at..].starts_with(mark));
        found.extend(starts.filter_map(|at| version(&seen[at + mark.len()..])));
        if last {
            return Ok(found);
        }
        let end = seen.len();
        chunk.copy_within(whole..end, 0);
        kept = end - whole;
    }
}

/// The version that `text` begins with.
fn version(text: &[u8]) -> Option<Glibc> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(text.len());
    let mut parts = std::str::from_utf8(&text[..end.min(OVERLAP)]).ok()?.split('.');
    Some(Glibc(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_tells_its_version() {
        let text = b"\0GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\nCopyright";
        assert_eq!(Glibc::of_library(&text[..]).unwrap(), Some(Glibc(2, 36)));
        assert_eq!(Glibc::of_library(&b"musl"[..]).unwrap(), None);
    }

    #[test]
    fn a_program_needs_the_newest_of_what_it_names() {
        let text = b"\0GLIBC_2.2.5\0GLIBC_PRIVATE\0GLIBC_2.34\0GLIBC_2.9\0";
        assert_eq!(Glibc::needed_by(&text[..]).unwrap(), Some(Glibc(2, 34)));
        assert_eq!(Glibc::needed_by(&b"static"[..]).unwrap(), None);
    }

    #[test]
    fn a_name_across_two_chunks_is_seen_once() {
        for before in (1 << 20) - 80..(1 << 20) + 10 {
            let mut text = vec![0; before];
            text.extend_from_slice(b"GLIBC_2.31\0");
            assert_eq!(versions(&text[..], SYMBOL).unwrap(), [Glibc(2, 31)], "{before}");
        }
    }

    #[test]
    fn this_program_runs_with_the_library_of_this_machine() {
        let own = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        assert!(Glibc::needed_by(own).unwrap().is_some_and(|needed| needed >= Glibc(2, 17)));
    }
}
