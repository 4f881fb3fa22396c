//! The token within a request's headers.

use http::{HeaderMap, header::AUTHORIZATION};

use crate::AuthError;

/// Longest token that is looked at: several times what a user with many roles needs.
const TOKEN_MAX: usize = 8 * 1024;

/// The token of `Authorization: Bearer TOKEN`; the scheme in letters of any case, as RFC 9110 asks.
pub(crate) fn token(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?;
    if values.next().is_some() {
        return Err(AuthError::Malformed);
    }
    let text = value.to_str().map_err(|_| AuthError::Malformed)?;
    let (scheme, token) = text.split_once(' ').ok_or(AuthError::Malformed)?;
    let token = token.trim_matches(' ');
    let well_formed = scheme.eq_ignore_ascii_case("bearer") && (1..=TOKEN_MAX).contains(&token.len());
    if well_formed { Ok(token) } else { Err(AuthError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&[u8]], expected: Result<&str, &str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, http::HeaderValue::from_bytes(value).unwrap());
        }
        let read = token(&headers).map_err(|error| format!("{error:?}"));
        assert_eq!(read, expected.map_err(str::to_string), "{values:?}");
    }

    #[test]
    fn the_token_follows_the_scheme() {
        check(&[b"Bearer a.b-c._~+/="], Ok("a.b-c._~+/="));
        check(&[b"bearer abc"], Ok("abc"));
        check(&[b"BEARER   abc "], Ok("abc"));
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
            check(&[value], Err("Malformed"));
        }
        check(&[b"Bearer a", b"Bearer b"], Err("Malformed"));
    }
}
