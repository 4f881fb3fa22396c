//! A segment of a path as it is meant: `gr%C3%B6%C3%9Fe` is `größe`.

use std::borrow::Cow;

use http::StatusCode;

use crate::ApiError;

/// A segment that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` in the path is not percent-encoded UTF-8: write a `%` of its own as `%25`")]
pub struct BadSegment(String);

/// The segment with its escapes replaced, once. It is split off the path before, so that what would separate segments stays
/// within this one as `%2F`. Without escapes it is itself.
///
/// # Errors
/// A `%` without two hexadecimal digits, or bytes that are no UTF-8.
pub fn decoded(segment: &str) -> Result<Cow<'_, str>, BadSegment> {
    let mut escapes = segment.split('%').skip(1);
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let bad = || BadSegment(segment.to_owned());
    if !escapes.all(is_escape) {
        return Err(bad());
    }
    percent_encoding::percent_decode_str(segment).decode_utf8().map_err(|_no_text| bad())
}

impl From<BadSegment> for ApiError {
    fn from(bad: BadSegment) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-path", bad.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_without_escapes_is_itself() {
        for segment in ["", "predict", "größe", "a+b"] {
            assert!(matches!(decoded(segment), Ok(Cow::Borrowed(same)) if same == segment), "{segment}");
        }
    }

    #[test]
    fn escapes_are_replaced_once() {
        let cases = [("gr%C3%B6%c3%9fe", "größe"), ("a%2Fb", "a/b"), ("%252F", "%2F"), ("%2e%2E", ".."), ("%00", "\0")];
        for (segment, meant) in cases {
            assert_eq!(decoded(segment).as_deref(), Ok(meant));
        }
    }

    #[test]
    fn what_is_no_escape_is_refused() {
        for segment in ["%", "a%2", "%zz", "%%41", "100%", "%C3", "%ff", "%c3%"] {
            assert_eq!(decoded(segment), Err(BadSegment(segment.into())));
        }
    }
}
