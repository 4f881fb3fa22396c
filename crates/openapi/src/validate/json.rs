//! JSON taken apart one layer at a time, with its text kept: what `explain` reads.
//!
//! A parsed tree would lose what has to be told: keys that come twice, numbers beyond a float, the spelling.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Rejection,
    element::{Fault, Number, Rules, Scalar, judge},
    nest::visit_scalars,
};

/// What a JSON text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

/// A value, unread.
pub(crate) type Raw<'a> = &'a RawValue;

/// Reads `body` as far as to know that it is JSON.
pub(crate) fn parse(body: &[u8]) -> Result<Raw<'_>, Rejection> {
    serde_json::from_slice(body).map_err(|error| not_json(body, &error))
}

pub(crate) fn kind(raw: Raw<'_>) -> Kind {
    match raw.get().as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::Text,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') | None => Kind::Null,
        Some(_) => Kind::Number,
    }
}

/// The members of an object in their order, those that come twice included; `None` where it is none or a key is no
/// text.
pub(crate) fn members(raw: Raw<'_>) -> Option<Vec<(Cow<'_, str>, Raw<'_>)>> {
    serde_json::from_str::<Members<'_>>(raw.get()).ok().map(|members| members.0)
}

/// The elements of an array; `None` where it is none.
pub(crate) fn elements(raw: Raw<'_>) -> Option<Vec<Raw<'_>>> {
    if kind(raw) == Kind::Array { serde_json::from_str(raw.get()).ok() } else { None }
}

/// The text that a string stands for.
pub(crate) fn text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}

/// Whether `raw` is an element under `rules`.
pub(crate) fn judge_raw(raw: Raw<'_>, rules: &Rules) -> Result<(), Fault> {
    match kind(raw) {
        Kind::Array | Kind::Object => Err(Fault::Kind),
        Kind::Null => judge(Scalar::Null, rules),
        Kind::Bool => judge(Scalar::Bool(raw.get() == "true"), rules),
        Kind::Text => judge(Scalar::Text(&text(raw).ok_or(Fault::Text)?), rules),
        Kind::Number => judge(Scalar::Number(number(raw).ok_or(Fault::Overflow)?), rules),
    }
}

/// The number, unless it is beyond every float.
pub(crate) fn number(raw: Raw<'_>) -> Option<Number> {
    serde_json::from_str(raw.get()).ok()
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Members<'a>(Vec<(Cow<'a, str>, Raw<'a>)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = map.next_entry::<Text<'de>, Raw<'de>>()? {
            members.push((key.0, value));
        }
        Ok(Members(members))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    visit_scalars!(self, scalar => match scalar {
        Scalar::Number(number) => Ok(number),
        _ => Err(super::nest::refuse()),
    });
}

/// The rejection of a text that is no JSON, with what its author most likely did.
pub(crate) fn not_json(body: &[u8], error: &serde_json::Error) -> Rejection {
    let told = error.to_string();
    let told = told.split(" at line ").next().unwrap_or_default();
    let offset = offset_of(body, error.line(), error.column());
    let hint = hint(body, offset, told);
    let why = if hint.is_empty() { told.to_owned() } else { format!("{told}: {hint}") };
    Rejection::NotJson { line: error.line(), column: error.column(), why }
}

/// Where line and column (from 1, in bytes) are in the body.
fn offset_of(body: &[u8], line: usize, column: usize) -> usize {
    let start = match line {
        0 | 1 => 0,
        _ => body.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(line - 2).map_or(body.len(), |(at, _)| at + 1),
    };
    (start + column.saturating_sub(1)).min(body.len())
}

fn hint(body: &[u8], offset: usize, told: &str) -> String {
    if body.iter().all(u8::is_ascii_whitespace) {
        return r#"the body is empty, send {"inputs": {...}}"#.into();
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return "the body starts with a byte order mark, send plain UTF-8".into();
    }
    let word = word_at(body, offset);
    match word.trim_start_matches(['-', '+']).to_ascii_lowercase().as_str() {
        "nan" => "JSON has no NaN, send null for a missing value where the field is nullable".into(),
        "inf" | "infinity" => "JSON has no infinity, send a finite number".into(),
        "none" => "write null instead of None".into(),
        "true" | "false" if word.starts_with(|c: char| c.is_ascii_uppercase()) => {
            format!("write {} instead of {word}", word.to_ascii_lowercase())
        }
        "undefined" => "write null instead of undefined".into(),
        _ if body.get(offset) == Some(&b'\'') => "strings and keys go in double quotes".into(),
        _ if is_after_comma(body, offset) => "remove the comma before the closing bracket".into(),
        _ if told.starts_with("invalid unicode") => "the body is to be UTF-8".into(),
        _ if told.starts_with("EOF") => "the body ends too early, a bracket or a quote is missing".into(),
        _ => String::new(),
    }
}

/// Whether a closing bracket at `offset` follows a comma.
fn is_after_comma(body: &[u8], offset: usize) -> bool {
    let closes = matches!(body.get(offset), Some(b'}' | b']'));
    closes && body[..offset].trim_ascii_end().last() == Some(&b',')
}

/// The word around `offset`.
fn word_at(body: &[u8], offset: usize) -> String {
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+');
    let before = body[..offset].iter().rev().take_while(|b| is_part(b)).count();
    let after = body[offset..].iter().take_while(|b| is_part(b)).count();
    String::from_utf8_lossy(&body[offset - before..offset + after]).into_owned()
}
