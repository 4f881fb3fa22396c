//! An answer that was given before, and for how long it holds.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};

/// Answers above this are not kept: one must not push out thousands.
pub const LARGEST: usize = 1 << 20;

/// Whatever a service says, no answer is older: 100 days.
const LONGEST: Duration = Duration::from_secs(100 * 24 * 3600);

/// An answer that was given before.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its body.
    pub body: Bytes,
    /// Its headers, an entity tag among them.
    pub headers: HeaderMap,
    /// Who may have it; `None` where all may.
    pub owner: Option<Box<str>>,
    /// When it was given, in milliseconds since 1970: routers that share answers have no other clock in common.
    pub born: u64,
    /// How long it holds.
    pub ttl: Duration,
    /// How long after that it is still given, while another one is fetched.
    pub stale: Duration,
}

/// What an answer is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    Fresh,
    Stale,
    Nothing,
}

impl Entry {
    /// An answer that is given now. Its entity tag is made of its body, so that it is strong, and the same everywhere.
    pub fn new(body: Bytes, mut headers: HeaderMap, owner: Option<Box<str>>, ttl: Duration, stale: Duration) -> Self {
        headers.insert(header::ETAG, entity_tag(&body));
        Self { body, headers, owner, born: now(), ttl, stale }
    }

    /// How old it is.
    pub fn age(&self) -> Duration {
        Duration::from_millis(now().saturating_sub(self.born))
    }

    pub(crate) fn worth(&self) -> Worth {
        match self.age() {
            age if age < self.ttl => Worth::Fresh,
            age if age < self.lifetime() => Worth::Stale,
            _ => Worth::Nothing,
        }
    }

    /// How long it is of any use.
    pub(crate) fn lifetime(&self) -> Duration {
        self.ttl.saturating_add(self.stale).min(LONGEST)
    }

    /// Bytes that it takes, nearly.
    pub(crate) fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64);
        self.body.len() + headers.sum::<usize>() + 256
    }
}

fn now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

fn entity_tag(body: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(body);
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{hex}\"")).expect("digits are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aged(milliseconds: u64) -> Worth {
        let (ttl, stale) = (Duration::from_secs(10), Duration::from_secs(20));
        let mut entry = Entry::new(Bytes::new(), HeaderMap::new(), None, ttl, stale);
        entry.born -= milliseconds;
        entry.worth()
    }

    #[test]
    fn an_answer_is_fresh_then_stale_then_nothing() {
        assert_eq!([aged(0), aged(9_000)], [Worth::Fresh; 2]);
        assert_eq!([aged(10_000), aged(29_000)], [Worth::Stale; 2]);
        assert_eq!(aged(30_000), Worth::Nothing);
    }

    #[test]
    fn a_tag_changes_with_the_body_alone() {
        let tag = |body: &'static str| entity_tag(body.as_bytes());
        assert_eq!(tag("a"), tag("a"));
        assert_ne!(tag("a"), tag("b"));
    }
}
