//! JSON in one spelling: members in the order of their names, no spaces, numbers as the digits that count and a power of
//! ten. Numbers are never rounded, so that two that differ stay two, however large or fine they are.

use std::borrow::Cow;

/// Deeper than any inputs that a model takes; a deeper text has no canonical form.
const DEPTH: usize = 128;

/// The canonical form of a text that is JSON; `None` where it is none, or nests too deep.
pub(super) fn write(json: &str) -> Option<Vec<u8>> {
    let mut reader = Reader { rest: json.trim() };
    let mut out = Vec::with_capacity(json.len());
    reader.value(DEPTH, &mut out)?;
    reader.rest.trim_start().is_empty().then_some(out)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize, out: &mut Vec<u8>) -> Option<()> {
        self.rest = self.rest.trim_start();
        match self.rest.as_bytes().first()? {
            b'{' => self.object(depth.checked_sub(1)?, out),
            b'[' => self.array(depth.checked_sub(1)?, out),
            b'"' => {
                let text = self.string()?;
                quote(&text, out)
            }
            b'-' | b'0'..=b'9' => {
                let number = self.word(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
                self::number(number, out)
            }
            _ => {
                let word = self.word(|b| b.is_ascii_alphabetic());
                matches!(word, "true" | "false" | "null").then(|| out.extend_from_slice(word.as_bytes()))
            }
        }
    }

    fn object(&mut self, depth: usize, out: &mut Vec<u8>) -> Option<()> {
        let mut members: Vec<(Cow<'a, str>, Vec<u8>)> = Vec::new();
        let mut more = self.open('{', '}')?;
        while more {
            self.rest = self.rest.trim_start();
            let name = self.string()?;
            self.rest = self.rest.trim_start().strip_prefix(':')?;
            let mut value = Vec::new();
            self.value(depth, &mut value)?;
            members.push((name, value));
            more = self.goes_on('}')?;
        }
        // Stable: members of one name keep their order, which says which of them counts.
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        out.push(b'{');
        for (name, value) in &members {
            quote(name, out)?;
            out.push(b':');
            out.extend_from_slice(value);
            out.push(b',');
        }
        out.push(b'}');
        Some(())
    }

    fn array(&mut self, depth: usize, out: &mut Vec<u8>) -> Option<()> {
        let mut more = self.open('[', ']')?;
        out.push(b'[');
        while more {
            self.value(depth, out)?;
            out.push(b',');
            more = self.goes_on(']')?;
        }
        out.push(b']');
        Some(())
    }

    /// Reads the opening bracket; whether anything is between it and the closing one.
    fn open(&mut self, bracket: char, closing: char) -> Option<bool> {
        self.rest = self.rest.strip_prefix(bracket)?.trim_start();
        match self.rest.strip_prefix(closing) {
            Some(after) => {
                self.rest = after;
                Some(false)
            }
            None => Some(true),
        }
    }

    /// Reads what follows an element: whether another one does.
    fn goes_on(&mut self, closing: char) -> Option<bool> {
        let rest = self.rest.trim_start();
        let after = rest.strip_prefix(',');
        self.rest = after.or_else(|| rest.strip_prefix(closing))?;
        Some(after.is_some())
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        while *bytes.get(at)? != b'"' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        let (text, rest) = self.rest.split_at_checked(at + 1)?;
        self.rest = rest;
        let plain = text.strip_prefix('"')?.strip_suffix('"').filter(|inner| !inner.contains('\\'));
        plain.map(Cow::Borrowed).or_else(|| serde_json::from_str::<String>(text).ok().map(Cow::Owned))
    }

    fn word(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(|byte| !belongs(byte)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }
}

fn quote(text: &str, out: &mut Vec<u8>) -> Option<()> {
    serde_json::to_writer(out, text).ok()
}

/// A number as `[-]DIGITSeEXPONENT`, without zeros at either end: the same for all spellings of it. Minus zero is a number
/// of its own, as it is for floats.
fn number(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_end_matches('0');
    let dropped = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    out.extend_from_slice(sign.as_bytes());
    if significant.is_empty() {
        out.push(b'0');
        return Some(());
    }
    // An exponent beyond these bounds is of no number that a model takes.
    let exponent: i64 = exponent.parse().ok()?;
    let shift = i64::try_from(dropped).ok()? - i64::try_from(fraction.len()).ok()?;
    out.extend_from_slice(significant.as_bytes());
    out.extend_from_slice(format!("e{}", exponent.checked_add(shift)?).as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(json: &str) -> String {
        String::from_utf8(write(json).unwrap()).unwrap()
    }

    #[test]
    fn spellings_of_one_number_are_one() {
        for (spellings, canonical) in [
            (&["1", "1.0", "1e0", "10e-1", "0.1E1", "1.00e+0"][..], "1e0"),
            (&["0", "0.0", "0e7", "0.000"], "0"),
            (&["-0", "-0.0"], "-0"),
            (&["-2.50", "-25e-1"], "-25e-1"),
            (&["100", "1e2", "0.01e4"], "1e2"),
            (&["5.1", "0.51e1", "51E-1"], "51e-1"),
        ] {
            for spelling in spellings {
                assert_eq!(form(spelling), canonical, "{spelling}");
            }
        }
    }

    #[test]
    fn numbers_that_floats_cannot_tell_apart_stay_two() {
        assert_ne!(form("18446744073709551616"), form("18446744073709551617"));
        assert_ne!(form("0.1"), form("0.10000000000000000555"));
    }

    #[test]
    fn members_are_in_the_order_of_their_names() {
        assert_eq!(form(r#" { "b" : [ 1 , 2 ] , "a" : { } } "#), form(r#"{"a":{},"b":[1.0,2e0]}"#));
        assert_eq!(form(r#"{"\u0061": "\u00e9"}"#), form(r#"{"a": "é"}"#));
        assert_ne!(form(r#"{"a": 1, "a": 2}"#), form(r#"{"a": 2, "a": 1}"#));
        assert_ne!(form("[1, 2]"), form("[2, 1]"));
        assert_ne!(form("[[], []]"), form("[[[]]]"));
        assert_ne!(form(r#"["1"]"#), form("[1]"));
    }

    #[test]
    fn what_is_no_json_or_nests_too_deep_has_no_form() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for text in ["", "{", "[1", r#"{"a"}"#, r#""a"#, r#""\"#, "nul", "1 2", "1e99999999999999999999", &deep] {
            assert_eq!(write(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[\\[\\]{}\",:\\\\ a0-9.eE+-]{0,60}") {
            let _ = write(&text);
        }

        #[test]
        fn floats_keep_their_value(x in any::<f64>()) {
            prop_assume!(x.is_finite());
            for text in [serde_json::to_string(&x).unwrap(), format!("{x:e}"), format!("{x}")] {
                prop_assert_eq!(form(&text).parse::<f64>().unwrap().to_bits(), x.to_bits());
            }
        }
    }
}
