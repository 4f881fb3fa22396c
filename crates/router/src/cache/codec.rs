//! An answer as bytes: a line of JSON about it, then its body.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::{Entry, Generation, LARGEST};

#[derive(Serialize, Deserialize)]
struct Head {
    generation: (u64, u64),
    headers: Vec<(String, String)>,
    owner: Option<Box<str>>,
    /// Milliseconds since 1970.
    born: u64,
    /// Milliseconds.
    ttl: u64,
    /// Milliseconds.
    stale: u64,
}

/// The bytes of an answer; `None` where one of its headers is no text.
pub(super) fn encode(entry: &Entry, generation: Generation) -> Option<Bytes> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_string()));
    let milliseconds = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let head = Head {
        generation: (generation.service, generation.function),
        headers: entry.headers.iter().map(text).collect::<Option<_>>()?,
        owner: entry.owner.clone(),
        born: entry.born,
        ttl: milliseconds(entry.ttl),
        stale: milliseconds(entry.stale),
    };
    let mut out = BytesMut::with_capacity(entry.body.len() + 512);
    serde_json::to_writer((&mut out).writer(), &head).ok()?;
    out.put_u8(b'\n');
    out.put_slice(&entry.body);
    Some(out.freeze())
}

/// Reads an answer of this generation; `None` for one of another, and for what is none: others can write to a Redis.
pub(super) fn decode(bytes: &Bytes, generation: Generation) -> Option<Entry> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
    let body = bytes.slice(end + 1..);
    let current = head.generation == (generation.service, generation.function);
    if !current || body.len() > LARGEST {
        return None;
    }
    let header = |(name, value): (String, String)| Some((name.parse().ok()?, value.parse().ok()?));
    Some(Entry {
        body,
        headers: head.headers.into_iter().map(header).collect::<Option<HeaderMap>>()?,
        owner: head.owner,
        born: head.born,
        ttl: Duration::from_millis(head.ttl),
        stale: Duration::from_millis(head.stale),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATION: Generation = Generation { service: 7, function: 9 };

    fn entry() -> Entry {
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
        let (ttl, stale) = (Duration::from_secs(60), Duration::from_millis(1500));
        Entry::new(Bytes::from_static(b"a\nb\0\xff"), headers, Some("user:ada".into()), ttl, stale)
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let bytes = encode(&entry(), GENERATION).unwrap();
        let read = decode(&bytes, GENERATION).unwrap();
        assert_eq!(read, Entry { born: read.born, ..entry() });
        assert_eq!(decode(&bytes, Generation { function: 8, ..GENERATION }), None);
        assert_eq!(decode(&bytes, Generation { service: 8, ..GENERATION }), None);
    }

    #[test]
    fn what_others_wrote_is_no_answer() {
        let bytes = encode(&entry(), GENERATION).unwrap();
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        for cut in 0..=end {
            assert_eq!(decode(&bytes.slice(..cut), GENERATION), None, "{cut}");
        }
        let split = String::from_utf8_lossy(&bytes).replace("text/plain", "a\\nset-cookie: b");
        assert_eq!(decode(&Bytes::from(split), GENERATION), None);
        let large = [&bytes[..], &vec![b'x'; LARGEST]].concat();
        assert_eq!(decode(&Bytes::from(large), GENERATION), None);
    }
}
