//! Where a Redis is. The URL may hold a password, so that nothing shows it.

use std::{fmt, str::FromStr};

use redis::Client;

/// `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, or `rediss://` for TLS.
#[derive(Clone)]
pub struct RedisUrl {
    pub(super) client: Client,
    text: String,
}

/// A text that names no Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no URL of a Redis: write redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], or rediss:// for TLS")]
pub struct RedisUrlError;

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        let known = text.starts_with("redis://") || text.starts_with("rediss://");
        // `#insecure` would turn off the check of certificates.
        let client = Some(text).filter(|text| known && !text.contains('#')).and_then(|text| Client::open(text).ok());
        client.map(|client| Self { client, text: text.into() }).ok_or(RedisUrlError)
    }
}

impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

/// Without user and password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.text.split_once("://").unwrap_or_default();
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        write!(f, "{scheme}://{}", place.split('?').next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_shown_without_its_password() {
        let shown = |text: &str| text.parse::<RedisUrl>().map(|url| format!("{url} {url:?}"));
        let expected = "redis://cache.example:6380/2 RedisUrl(redis://cache.example:6380/2)";
        assert_eq!(shown("redis://kea:geheim@cache.example:6380/2"), Ok(expected.into()));
        assert_eq!(shown("rediss://:p%40ss@cache.example").unwrap().split(' ').next(), Some("rediss://cache.example"));
    }

    #[test]
    fn what_names_no_redis_is_refused() {
        for text in ["", "cache.example:6379", "http://cache.example", "redis://", "rediss://cache.example/#insecure"] {
            assert_eq!(text.parse::<RedisUrl>().err(), Some(RedisUrlError), "{text}");
        }
    }
}
