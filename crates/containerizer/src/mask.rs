//! Takes secrets out of what is shown: user names and passwords of URLs, as those of private package indexes.

use std::borrow::Cow;

/// `text` with `***` in the place of what stands before the host of each URL.
pub(crate) fn mask(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        masked.push_str(before);
        masked.push_str("://");
        let end = after.find(|c: char| c == '/' || c.is_whitespace() || "'\"<>`".contains(c)).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                masked.push_str("***");
                &after[at..]
            }
            None => after,
        };
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

/// A source of a model as people may see it: without the name, the password and the query of a URL.
pub fn shown_source(source: &str) -> String {
    let masked = mask(source);
    let Some((scheme, rest)) = masked.split_once("://") else { return masked.into_owned() };
    let (place, fragment) = rest.split_once('#').map_or((rest, None), |(place, fragment)| (place, Some(fragment)));
    let place = place.split_once('?').map_or(place, |(place, _)| place);
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{scheme}://{place}{fragment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_shown_without_its_secrets() {
        let check = |source: &str, expected: &str| assert_eq!(shown_source(source), expected);
        check("/models/what?.joblib", "/models/what?.joblib");
        check("https://me:secret@host/m.onnx?token=secret#sha256=ab", "https://***@host/m.onnx#sha256=ab");
        check("git+https://secret@host/m.git@main#folder", "git+https://***@host/m.git@main#folder");
    }

    #[test]
    fn what_stands_before_a_host_is_hidden() {
        let check = |text: &str, expected: &str| assert_eq!(mask(text), expected);
        check("--index-url https://me:secret@host/simple", "--index-url https://***@host/simple");
        check("at https://token@a/x and http://b/y@z", "at https://***@a/x and http://b/y@z");
        check("x @ git+https://u:p@ss@host/x.git@main", "x @ git+https://***@host/x.git@main");
        check("https://host", "https://host");
        check("no url: me@host", "no url: me@host");
    }
}
