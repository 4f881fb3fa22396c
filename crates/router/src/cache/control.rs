//! `Cache-Control`: what a caller asks of the cache, and what a replica says of its answer.

use std::time::Duration;

use http::{HeaderMap, header};

use super::entry::{Entry, Worth};

/// What a request asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Nothing of it is kept, and no kept answer is taken.
    pub(crate) no_store: bool,
    /// No kept answer is taken.
    no_cache: bool,
    /// Nor an older one.
    max_age: Option<Duration>,
    /// The model is not to be called.
    pub(crate) only_if_cached: bool,
}

impl Asked {
    pub(crate) fn by(headers: &HeaderMap) -> Self {
        let mut asked = Self::default();
        for (name, value) in directives(headers) {
            match name.as_str() {
                "no-store" => asked.no_store = true,
                "no-cache" => asked.no_cache = true,
                "only-if-cached" => asked.only_if_cached = true,
                // One that cannot be read is taken for the strictest.
                "max-age" => asked.max_age = Some(seconds(value).unwrap_or_default()),
                _ => {}
            }
        }
        asked
    }

    /// Whether any kept answer is good enough.
    pub(crate) fn takes_any(&self) -> bool {
        !self.no_cache && self.max_age.is_none()
    }

    /// Whether that answer is good enough.
    pub(crate) fn takes(&self, entry: &Entry) -> bool {
        let young = self.max_age.is_none_or(|limit| !limit.is_zero() && entry.age() <= limit);
        !self.no_cache && young && entry.worth() != Worth::Nothing
    }
}

/// How long a replica lets its answer be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// It says nothing.
    Any,
    /// At most that long.
    For(Duration),
    /// Not at all.
    Never,
}

impl Allowed {
    pub(crate) fn by(headers: &HeaderMap) -> Self {
        let mut allowed = Self::Any;
        for (name, value) in directives(headers) {
            allowed = match (name.as_str(), allowed) {
                ("no-store" | "no-cache" | "private", _) => return Self::Never,
                // Said for caches that are shared, as this one is.
                ("s-maxage", _) => Self::For(seconds(value).unwrap_or_default()),
                ("max-age", Self::Any) => Self::For(seconds(value).unwrap_or_default()),
                (_, before) => before,
            };
        }
        if allowed == Self::For(Duration::ZERO) { Self::Never } else { allowed }
    }
}

/// All directives, their names in lower case.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = (String, Option<&str>)> {
    let values = headers.get_all(header::CACHE_CONTROL).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).map(|directive| {
        let (name, value) = match directive.split_once('=') {
            Some((name, value)) => (name, Some(value.trim().trim_matches('"'))),
            None => (directive, None),
        };
        (name.trim().to_ascii_lowercase(), value)
    })
}

fn seconds(text: Option<&str>) -> Option<Duration> {
    text?.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let pair = |value: &&'static str| (header::CACHE_CONTROL, http::HeaderValue::from_static(value));
        values.iter().map(pair).collect()
    }

    /// Whether a fresh, a stale and a useless answer, of 5, 15 and 35 seconds, are taken.
    fn taken(value: &'static str) -> [bool; 3] {
        let (ttl, stale) = (Duration::from_secs(10), Duration::from_secs(20));
        [5_000, 15_000, 35_000].map(|age| {
            let mut entry = Entry::new(Bytes::new(), HeaderMap::new(), None, ttl, stale);
            entry.born -= age;
            Asked::by(&headers(&[value])).takes(&entry)
        })
    }

    #[test]
    fn callers_choose_how_old_an_answer_may_be() {
        assert_eq!(taken(""), [true, true, false]);
        assert_eq!(taken("No-Cache"), [false; 3]);
        assert_eq!(taken("max-age=10"), [true, false, false]);
        assert_eq!(taken("max-age=\"100\""), [true, true, false]);
        assert_eq!(taken("max-age=1"), [false; 3]);
        assert_eq!(taken("max-age=0"), [false; 3]);
        assert_eq!(taken("max-age=soon"), [false; 3]);
        assert_eq!(taken("public, immutable"), [true, true, false]);
    }

    #[test]
    fn directives_are_found_in_all_headers() {
        let asked = Asked::by(&headers(&["max-age=5, only-if-cached", "NO-STORE"]));
        assert!(asked.no_store && asked.only_if_cached && !asked.takes_any());
        assert!(Asked::by(&headers(&["no-transform"])).takes_any());
    }

    #[test]
    fn a_replica_can_forbid_and_shorten() {
        let allowed = |value: &'static str| Allowed::by(&headers(&[value]));
        let seconds = |n| Allowed::For(Duration::from_secs(n));
        assert_eq!(Allowed::by(&HeaderMap::new()), Allowed::Any);
        assert_eq!(allowed("public"), Allowed::Any);
        assert_eq!(allowed("max-age=7"), seconds(7));
        assert_eq!(allowed("max-age=7, s-maxage=9"), seconds(9));
        assert_eq!(allowed("s-maxage=9, max-age=7"), seconds(9));
        for never in ["no-store", "private=\"x, y\"", "max-age=60, no-cache", "max-age=0", "max-age=-1"] {
            assert_eq!(allowed(never), Allowed::Never, "{never}");
        }
    }
}
