//! One line of a service's log.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// In place of a replica's name: the steps by which versions were made, and what the tools wrote that they ran.
pub const BUILD: &str = "build";

/// One line that a replica printed, or that KEA has to say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was read from the replica, to the microsecond.
    pub time: Timestamp,
    /// Name of the replica; `-` where it concerns them all.
    pub replica: Arc<str>,
    /// Where it was printed.
    pub stream: Stream,
    /// The line, without its end; never holds a line feed or a carriage return.
    pub line: String,
}

/// Where a line was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output of the replica.
    Stdout,
    /// Standard error of the replica.
    Stderr,
    /// KEA's own words, as those on lines that were lost.
    Kea,
}

impl Entry {
    pub(crate) fn now(replica: Arc<str>, stream: Stream, line: String) -> Self {
        let now = Timestamp::now();
        let time = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
        Self { time, replica, stream, line }
    }
}

impl Stream {
    /// Its name in files and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Kea => "kea",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `TIME REPLICA STREAM LINE`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, replica, stream, line } = self;
        write!(f, "{time:.6} {replica} {stream} {line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let time = "2024-02-29T12:34:56.5Z".parse().unwrap();
        Entry { time, replica: "iris-1-0".into(), stream: Stream::Stderr, line: "a \"b\" ü".into() }
    }

    #[test]
    fn an_entry_is_shown_as_one_line() {
        assert_eq!(entry().to_string(), "2024-02-29T12:34:56.500000Z iris-1-0 stderr a \"b\" ü");
    }

    #[test]
    fn an_entry_is_kept_as_json() {
        let json = serde_json::to_string(&entry()).unwrap();
        let expected = r#"{"time":"2024-02-29T12:34:56.5Z","replica":"iris-1-0","stream":"stderr","line":"a \"b\" ü"}"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry());
    }
}
