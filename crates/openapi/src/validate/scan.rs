//! A reader of JSON for the fast path: whole bodies in memory, most of which are decimal numbers.
//!
//! It takes a part of what [`serde_json`] takes, with the same values, and is about twice as fast where there are many
//! numbers. It says no more than that it does not go on; its caller asks `serde_json` then.

use std::fmt;

use serde::{
    de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

/// Deepest nesting; `serde_json` has the same limit.
const DEEPEST: u8 = 127;

/// Powers of ten that a float holds exactly.
const EXACT_TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Largest whole number up to which a float holds each.
const EXACT_WHOLE: u64 = 1 << 53;

/// Digits that surely fit into 64 bits.
const SAFE_DIGITS: usize = 19;

/// It does not go on.
#[derive(Debug)]
pub(crate) struct Unsure;

impl fmt::Display for Unsure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not understood at once")
    }
}

impl std::error::Error for Unsure {}

impl de::Error for Unsure {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self
    }
}

type Result<T> = std::result::Result<T, Unsure>;

/// Reads one value after the other.
pub(crate) struct Scanner<'de> {
    bytes: &'de [u8],
    at: usize,
    deep: u8,
}

impl<'de> Scanner<'de> {
    pub(crate) fn new(bytes: &'de [u8]) -> Self {
        Self { bytes, at: 0, deep: 0 }
    }

    /// Nothing but space is left.
    pub(crate) fn end(mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Unsure),
        }
    }

    /// The next byte that is no space.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    #[inline]
    pub(super) fn take(&mut self, wanted: u8) -> Result<()> {
        if self.peek() != Some(wanted) {
            return Err(Unsure);
        }
        self.at += 1;
        Ok(())
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'de [u8] {
        &self.bytes[self.at..]
    }

    /// Goes on behind that many bytes of the rest.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// What is between brackets, of which the opening one is next.
    fn within<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.deep == DEEPEST {
            return Err(Unsure);
        }
        self.at += 1;
        self.deep += 1;
        let read = read(self);
        self.deep -= 1;
        read
    }

    /// Whether another item comes before `end`, which is taken where none does.
    #[inline]
    fn another(&mut self, is_first: bool, end: u8) -> Result<bool> {
        match self.peek() {
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if !is_first => {
                self.at += 1;
                // What follows is no end: a comma that nothing follows is none in JSON.
                Ok(true)
            }
            Some(_) if is_first => Ok(true),
            _ => Err(Unsure),
        }
    }

    /// A string without escapes, whose quote is next.
    pub(super) fn text(&mut self) -> Result<&'de str> {
        let rest = &self.bytes[self.at + 1..];
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).ok_or(Unsure)?;
        if rest[length] != b'"' {
            return Err(Unsure);
        }
        self.at += length + 2;
        str::from_utf8(&rest[..length]).map_err(|_| Unsure)
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(Unsure);
        }
        self.at += word.len();
        Ok(())
    }

    /// Digits from here on, of which `value` becomes the number; how many there are.
    #[inline]
    fn digits(&mut self, value: &mut u64) -> usize {
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            *value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        self.at - start
    }

    #[inline]
    fn number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let start = self.at;
        let is_negative = self.bytes.get(start) == Some(&b'-');
        self.at += usize::from(is_negative);
        let (leads_with_zero, mut value) = (self.bytes.get(self.at) == Some(&b'0'), 0);
        let whole = self.digits(&mut value);
        if whole == 0 || (leads_with_zero && whole > 1) {
            return Err(Unsure);
        }
        let mut fraction = 0;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            fraction = self.digits(&mut value);
            if fraction == 0 {
                return Err(Unsure);
            }
        }
        let has_exponent = matches!(self.bytes.get(self.at), Some(b'e' | b'E'));
        if has_exponent || whole + fraction > SAFE_DIGITS || (fraction > 0 && value > EXACT_WHOLE) {
            return self.long_number(start, visitor);
        }
        match (fraction, is_negative) {
            (0, false) => visitor.visit_u64(value),
            // Minus zero is a float.
            (0, true) if value > 0 => visitor.visit_i64(0i64.checked_sub_unsigned(value).ok_or(Unsure)?),
            _ => {
                // One division of two exact floats is rounded once, and so correctly.
                let float = value as f64 / EXACT_TENS[fraction];
                visitor.visit_f64(if is_negative { -float } else { float })
            }
        }
    }

    /// A float with an exponent, or with more digits than are exact; it began at `start`. Whole numbers that are as
    /// long are left to others.
    #[cold]
    fn long_number<V: Visitor<'de>>(&mut self, start: usize, visitor: V) -> Result<V::Value> {
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            if self.digits(&mut 0) == 0 {
                return Err(Unsure);
            }
        }
        let text = &self.bytes[start..self.at];
        if !text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return Err(Unsure);
        }
        let float: f64 = str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Unsure)?;
        if float.is_finite() { visitor.visit_f64(float) } else { Err(Unsure) }
    }
}

impl<'de> Deserializer<'de> for &mut Scanner<'de> {
    type Error = Unsure;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.peek().ok_or(Unsure)? {
            b'0'..=b'9' | b'-' => self.number(visitor),
            b'[' => self.within(|scanner| visitor.visit_seq(Items { scanner, is_first: true })),
            b'"' => visitor.visit_borrowed_str(self.text()?),
            b'{' => self.within(|scanner| visitor.visit_map(Items { scanner, is_first: true })),
            b't' => self.word("true").and_then(|()| visitor.visit_bool(true)),
            b'f' => self.word("false").and_then(|()| visitor.visit_bool(false)),
            b'n' => self.word("null").and_then(|()| visitor.visit_unit()),
            _ => Err(Unsure),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Items of an array, or members of an object. A visitor goes on to the end of each.
struct Items<'s, 'de> {
    scanner: &'s mut Scanner<'de>,
    is_first: bool,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Unsure;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if !self.scanner.another(self.is_first, b']')? {
            return Ok(None);
        }
        self.is_first = false;
        seed.deserialize(&mut *self.scanner).map(Some)
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = Unsure;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if !self.scanner.another(self.is_first, b'}')? {
            return Ok(None);
        }
        self.is_first = false;
        match self.scanner.peek() {
            Some(b'"') => seed.deserialize(&mut *self.scanner).map(Some),
            _ => Err(Unsure),
        }
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        self.scanner.take(b':')?;
        seed.deserialize(&mut *self.scanner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    fn scan(text: &str) -> Option<Value> {
        let mut scanner = Scanner::new(text.as_bytes());
        let value = Value::deserialize(&mut scanner).ok()?;
        scanner.end().ok()?;
        Some(value)
    }

    /// With bits compared: what is equal may still differ in the sign of a zero.
    fn bits(value: &Value) -> String {
        format!("{value:?}")
    }

    #[test]
    fn what_requests_are_made_of_is_read() {
        for text in [
            r#"{"inputs":{"input":[[5.1,3.5,1.4,0.2],[-4.9, 3, 0, -1]]}}"#,
            " [ 1 , -2 ,\t3.25 ,\n true , false , null , \"grüße\" , {} , [ ] ] ",
            "[0.1234567890123456789, 1e3, -2.5E-3, 1e+22, 123456789012345678.5, 5e-324, 1.7976931348623157e308]",
            "[18446744073709551, -9223372036854775, 9007199254740993.0, 0.30000000000000004, -0.0]",
        ] {
            let read = scan(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(bits(&read), bits(&serde_json::from_str(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_not_sure_is_left_to_others() {
        let deep = "[".repeat(128) + &"]".repeat(128);
        for text in [
            "",
            "[",
            "[1",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{1:2}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "01",
            "-",
            "-01",
            "1.",
            ".5",
            "1.e3",
            "1e",
            "1e+",
            "1e999",
            "+1",
            "nul",
            "truth",
            "\"a",
            "\"\\n\"",
            "\"a\nb\"",
            "1 2",
            "[1]]",
            "NaN",
            "-Infinity",
            "123456789012345678901",
            &deep,
        ] {
            assert!(scan(text).is_none(), "{text}");
        }
        let mut scanner = Scanner::new(b"\"\xff\"");
        assert!(Value::deserialize(&mut scanner).is_err());
    }

    fn json() -> impl Strategy<Value = String> {
        let number = prop_oneof![
            any::<f64>().prop_filter("JSON has no others", |n| n.is_finite()).prop_map(|n| n.to_string()),
            any::<i64>().prop_map(|n| n.to_string()),
            any::<u64>().prop_map(|n| n.to_string()),
            "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
        ];
        let leaf = prop_oneof![8 => number, 1 => "true|false|null", 1 => "\"[a-zäπ ]{0,6}\""];
        leaf.prop_recursive(4, 64, 6, |inner| {
            let space = "[ \n\t\r]{0,2}";
            prop_oneof![
                (prop::collection::vec(inner.clone(), 0..6), space)
                    .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},{space}")))),
                prop::collection::vec(("[a-z]{1,3}", inner), 0..4).prop_map(|members| {
                    let member = |(name, value): &(String, String)| format!("\"{name}\":{value}");
                    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_serde_json_reads(text in json()) {
            if let Some(read) = scan(&text) {
                prop_assert_eq!(bits(&read), bits(&serde_json::from_str(&text).unwrap()));
            }
        }

        #[test]
        fn what_is_no_json_is_not_read(text in json(), at in any::<prop::sample::Index>(), byte in "[\\[\\]{},:\"0-9.eE+-]") {
            let mut broken = text.clone();
            let at = (0..=text.len()).rev().filter(|at| text.is_char_boundary(*at)).nth(at.index(text.chars().count() + 1)).unwrap();
            broken.insert_str(at, &byte);
            if let Some(read) = scan(&broken) {
                prop_assert_eq!(bits(&read), bits(&serde_json::from_str(&broken).unwrap()));
            }
        }
    }
}
