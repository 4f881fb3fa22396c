//! What a request's headers say of its sender: a token, an API key, or a browser's cookie.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, SET_COOKIE},
};

use crate::{AuthError, api_keys::KEY_PREFIX};

/// Longest token that is looked at: several times what a user with many roles needs.
const TOKEN_MAX: usize = 8 * 1024;

/// Header in which a browser says whose page sent a request.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Header of an API key, beside `Authorization`.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Header that a request with a cookie has to have. A page of another site can make a browser send the cookie, but not
/// this header: browsers ask first whether they may, and KEA never says so.
pub const CSRF_HEADER: &str = "x-kea-csrf";

/// Cookie of a browser's access token.
pub const ACCESS_COOKIE: &str = "kea_access";

/// Cookie of a browser's refresh token; sent to the operations of sessions alone.
pub const REFRESH_COOKIE: &str = "kea_refresh";

/// What a sender is known by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credential<'a> {
    /// An access token.
    Token(&'a str),
    /// An API key.
    Key(&'a str),
}

/// What the headers say. A header comes before a cookie, which a browser sends unasked.
pub(crate) fn of(headers: &HeaderMap) -> Result<Credential<'_>, AuthError> {
    match bearer(headers) {
        Err(AuthError::Missing) => {}
        Ok(token) if token.starts_with(KEY_PREFIX) => return Ok(Credential::Key(token)),
        other => return other.map(Credential::Token),
    }
    if let Some(key) = single(headers, &API_KEY)? {
        return Ok(Credential::Key(key));
    }
    let token = cookie(headers, ACCESS_COOKIE).ok_or(AuthError::Missing)?;
    if is_of_this_site(headers) { Ok(Credential::Token(token)) } else { Err(AuthError::CrossSite) }
}

/// The token of `Authorization: Bearer TOKEN`; the scheme in letters of any case, as RFC 9110 asks.
fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let text = single(headers, &AUTHORIZATION)?.ok_or(AuthError::Missing)?;
    let (scheme, token) = text.split_once(' ').ok_or(AuthError::Malformed)?;
    let token = token.trim_matches(' ');
    let well_formed = scheme.eq_ignore_ascii_case("bearer") && (1..=TOKEN_MAX).contains(&token.len());
    if well_formed { Ok(token) } else { Err(AuthError::Malformed) }
}

/// The value of a header that may come once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, AuthError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| AuthError::Malformed),
        (Some(_), Some(_)) => Err(AuthError::Malformed),
    }
}

/// The cookie of that name; empty ones are none.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value)
}

/// Whether a page of this server sent the request: it has the header that no other site can add, and comes from here
/// where the browser says where it comes from.
pub fn is_of_this_site(headers: &HeaderMap) -> bool {
    headers.contains_key(CSRF_HEADER) && headers.get(ORIGIN).is_none_or(|origin| is_of_host(origin, headers.get(HOST)))
}

/// Whether a browser says that a page of another site made it send the request. Programs say nothing of the kind.
pub fn is_of_other_site(headers: &HeaderMap) -> bool {
    match headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
        Some(site) => !matches!(site, b"same-origin" | b"none"),
        None => headers.get(ORIGIN).is_some_and(|origin| !is_of_host(origin, headers.get(HOST))),
    }
}

/// Drops what a caller is known by, before a request goes on to a service: none of it is the service's business.
pub fn drop_credentials(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    headers.remove(API_KEY);
    headers.remove(CSRF_HEADER);
    if let http::header::Entry::Occupied(cookies) = headers.entry(COOKIE) {
        let (name, values) = cookies.remove_entry_mult();
        let kept: Vec<_> = values.filter_map(|value| others(&value)).collect();
        for value in kept {
            headers.append(name.clone(), value);
        }
    }
}

/// Drops cookies that a service sets by names of KEA's own: it shares an origin with KEA's pages, and would log its
/// visitors in as somebody else.
pub fn drop_own_cookies(headers: &mut HeaderMap) {
    let is_own = |value: &HeaderValue| {
        let name = value.as_bytes().trim_ascii_start();
        name.starts_with(b"kea_") || name.starts_with(b"kea-")
    };
    if headers.get_all(SET_COOKIE).iter().any(is_own)
        && let http::header::Entry::Occupied(cookies) = headers.entry(SET_COOKIE)
    {
        let (name, values) = cookies.remove_entry_mult();
        let kept: Vec<_> = values.filter(|value| !is_own(value)).collect();
        for value in kept {
            headers.append(name.clone(), value);
        }
    }
}

/// The cookies of that header but for those of KEA; `None` where there are no others.
fn others(value: &HeaderValue) -> Option<HeaderValue> {
    let is_own = |pair: &&[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        [ACCESS_COOKIE, REFRESH_COOKIE].iter().any(|own| own.as_bytes() == name)
    };
    let pairs = value.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let kept: Vec<_> = pairs.filter(|pair| !is_own(pair)).collect();
    (!kept.is_empty()).then(|| HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok()).flatten()
}

fn is_of_host(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    authority.is_some() && authority == host.and_then(|host| host.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn check(pairs: &[(&'static str, &[u8])], expected: Result<Credential, &str>) {
        let headers = headers(pairs);
        let read = of(&headers).map_err(|error| format!("{error:?}"));
        assert_eq!(read, expected.map_err(str::to_string), "{pairs:?}");
    }

    #[test]
    fn a_browser_says_whose_page_it_was_and_a_program_says_nothing() {
        let host = ("host", &b"kea.example"[..]);
        let is_other = |pairs: &[(&'static str, &[u8])]| is_of_other_site(&headers(&[&[host], pairs].concat()));
        for own in ["https://kea.example", "http://kea.example"] {
            assert!(!is_other(&[("origin", own.as_bytes())]), "{own}");
        }
        for other in ["https://evil.example", "https://kea.example.evil", "null"] {
            assert!(is_other(&[("origin", other.as_bytes())]), "{other}");
        }
        for (site, expected) in [("same-origin", false), ("none", false), ("same-site", true), ("cross-site", true)] {
            assert_eq!(is_other(&[("sec-fetch-site", site.as_bytes())]), expected, "{site}");
        }
        assert!(!is_other(&[]));
    }

    #[test]
    fn the_token_follows_the_scheme() {
        check(&[("authorization", b"Bearer a.b-c._~+/=")], Ok(Credential::Token("a.b-c._~+/=")));
        check(&[("authorization", b"bearer abc")], Ok(Credential::Token("abc")));
        check(&[("authorization", b"BEARER   abc ")], Ok(Credential::Token("abc")));
    }

    #[test]
    fn a_request_without_the_header_has_no_token() {
        check(&[], Err("Missing"));
    }

    #[test]
    fn another_header_is_malformed() {
        let long = [b"Bearer ".as_slice(), &[b'x'; TOKEN_MAX + 1]].concat();
        let others: [&[u8]; 7] = [b"", b"Bearer", b"Bearer ", b"Basic YTpi", b"abc", b"Bearer \xff", &long];
        for value in others {
            check(&[("authorization", value)], Err("Malformed"));
        }
        check(&[("authorization", b"Bearer a"), ("authorization", b"Bearer b")], Err("Malformed"));
        check(&[("x-api-key", b"a"), ("x-api-key", b"b")], Err("Malformed"));
    }

    #[test]
    fn an_api_key_comes_in_either_header() {
        check(&[("authorization", b"Bearer kea_a_b")], Ok(Credential::Key("kea_a_b")));
        check(&[("x-api-key", b"kea_a_b")], Ok(Credential::Key("kea_a_b")));
    }

    #[test]
    fn a_service_gets_nothing_that_a_caller_is_known_by() {
        let mut all = headers(&[
            ("authorization", b"Bearer a"),
            ("x-api-key", b"kea_a_b"),
            ("x-kea-csrf", b"1"),
            ("cookie", b"kea_access=a; theme=dark;kea_refresh=b ; lang=\xfc"),
            ("cookie", b"kea_access=c"),
            ("x-other", b"1"),
        ]);
        drop_credentials(&mut all);
        assert_eq!(all, headers(&[("cookie", b"theme=dark; lang=\xfc"), ("x-other", b"1")]));
    }

    #[test]
    fn a_service_sets_no_cookie_of_keas() {
        let set: [(&str, &[u8]); 4] = [
            ("set-cookie", b"theme=dark; Path=/"),
            ("set-cookie", b"kea_access=mine; Path=/"),
            ("set-cookie", b" kea-version-iris=2"),
            ("set-cookie", b"kea=mine"),
        ];
        let mut all = headers(&set);
        drop_own_cookies(&mut all);
        assert_eq!(all, headers(&[set[0], set[3]]));
    }

    #[test]
    fn a_cookie_counts_with_the_header_that_no_other_site_can_add() {
        let cookie: (&str, &[u8]) = ("cookie", b"other=1; kea_access=a.b.c");
        let csrf: (&str, &[u8]) = ("x-kea-csrf", b"1");
        let host: (&str, &[u8]) = ("host", b"kea.example:80");
        let token = || Ok(Credential::Token("a.b.c"));
        check(&[cookie, csrf, host], token());
        check(&[cookie, csrf, host, ("origin", b"https://kea.example:80")], token());
        check(&[cookie, host], Err("CrossSite"));
        for origin in ["https://evil.example", "https://kea.example:80.evil.example", "null", "https://kea.example:81"]
        {
            check(&[cookie, csrf, host, ("origin", origin.as_bytes())], Err("CrossSite"));
        }
        check(&[("cookie", b"kea_access="), csrf], Err("Missing"));
        check(&[cookie, csrf, ("authorization", b"Bearer mine")], Ok(Credential::Token("mine")));
    }
}
