//! Answers as a caller gets them: with what HTTP says of kept ones, and without a body where the caller has it.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{CacheKey, entry::Entry};
use crate::validate::Target;

/// What each answer says of itself: who answered, in which version, whether it came from the cache, and its key.
const SERVICE: HeaderName = HeaderName::from_static("kea-service");
const VERSION: HeaderName = HeaderName::from_static("kea-version");
pub(crate) const CACHE: HeaderName = HeaderName::from_static("kea-cache");
const CACHE_KEY: HeaderName = HeaderName::from_static("kea-cache-key");

/// Headers that an answer gets on its way, nearly: room for them is made once.
const MORE_HEADERS: usize = 12;

/// A kept answer for a request with these headers: 304 where the caller says that it has it.
pub(crate) fn kept(entry: &Entry, asked: &HeaderMap) -> Response {
    let mut response = whole(entry);
    let age = HeaderValue::from(entry.age().as_secs());
    response.headers_mut().insert(header::AGE, age);
    not_modified(response, asked)
}

/// What was just made of a replica's answer: it is of this moment.
pub(super) fn made(entry: &Entry, asked: &HeaderMap) -> Response {
    not_modified(whole(entry), asked)
}

fn whole(entry: &Entry) -> Response {
    let mut headers = HeaderMap::with_capacity(entry.headers.len() + MORE_HEADERS);
    headers.extend(entry.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    let mut response = Response::new(Body::from(entry.body.clone()));
    *response.headers_mut() = headers;
    response
}

fn not_modified(mut response: Response, asked: &HeaderMap) -> Response {
    let tag = response.headers().get(header::ETAG);
    if tag.is_some_and(|tag| has(asked, tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(header::CONTENT_TYPE);
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

/// Whether the caller has the answer of that tag. Tags that are called weak are compared too, as RFC 9110 has it.
fn has(asked: &HeaderMap, tag: &HeaderValue) -> bool {
    let values = asked.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|text| text.split(',')).map(str::trim);
    tags.any(|text| text == "*" || text.strip_prefix("W/").unwrap_or(text).as_bytes() == tag.as_bytes())
}

/// Says what answered, and whether it came from the cache.
pub(super) fn marked(mut response: Response, target: &Target, word: &'static str, key: Option<&CacheKey>) -> Response {
    let headers = response.headers_mut();
    headers.insert(SERVICE, target.service.id_header.clone());
    headers.insert(VERSION, target.version().version_header.clone());
    headers.insert(CACHE, HeaderValue::from_static(word));
    if let Some(key) = key {
        headers.insert(CACHE_KEY, HeaderValue::from_str(key.as_str()).expect("a key is a header value"));
        if !target.service.route.settings.cache.shared {
            headers.append(header::VARY, HeaderValue::from_static("authorization"));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn answered(if_none_match: &[&'static str]) -> Response {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let mut entry = Entry::new(Bytes::from_static(b"{}"), headers, None, Duration::MAX, Duration::ZERO);
        entry.headers.insert(header::ETAG, HeaderValue::from_static("\"abc\""));
        entry.born -= 7_000;
        let pair = |value: &&'static str| (header::IF_NONE_MATCH, HeaderValue::from_static(value));
        kept(&entry, &if_none_match.iter().map(pair).collect())
    }

    #[test]
    fn who_has_the_answer_is_not_sent_it_again() {
        for tags in [&["\"abc\""][..], &["\"x\", W/\"abc\""], &["\"x\"", "\"abc\""], &["*"]] {
            let response = answered(tags);
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{tags:?}");
            assert_eq!(response.headers()[header::ETAG], "\"abc\"");
            assert!(!response.headers().contains_key(header::CONTENT_TYPE));
        }
        for tags in [&[][..], &["\"x\""], &["abc"], &[""]] {
            assert_eq!(answered(tags).status(), StatusCode::OK, "{tags:?}");
        }
    }

    #[test]
    fn a_kept_answer_tells_its_age() {
        assert_eq!(answered(&[]).headers()[header::AGE], "7");
    }
}
