//! What a violation says: where, what was expected, what came, what to do.

use std::fmt;

use kea_core::{Datatype, Field, Function, management::Violation};
use serde_json::Value;

use super::{
    element::Fault,
    json::{self, Kind, Raw},
};

/// More violations than this help nobody, and a hostile body could ask for millions.
pub(crate) const MOST_VIOLATIONS: usize = 100;

/// Longest piece of a request or example that a violation repeats, in characters.
const LONGEST_QUOTE: usize = 80;

/// Longest example of a whole body that a violation repeats, in characters.
const LONGEST_BODY: usize = 400;

/// A place in the request: its JSON pointer (RFC 6901) is written where it is needed only.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub(crate) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }

    pub(crate) fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(parent, key) => write!(f, "{parent}/{}", escaped(key)),
            Self::Index(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// A key as a pointer's token.
pub(crate) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The violations found so far.
#[derive(Default)]
pub(crate) struct Problems {
    list: Vec<Violation>,
    /// Whether there were more.
    more: bool,
}

impl Problems {
    pub(crate) fn add(
        &mut self,
        path: &Path<'_>,
        expected: impl Into<String>,
        received: impl Into<String>,
        detail: impl Into<String>,
    ) {
        let violation = Violation {
            pointer: path.to_string(),
            expected: expected.into(),
            received: received.into(),
            detail: detail.into(),
        };
        self.push(violation);
    }

    pub(crate) fn push(&mut self, violation: Violation) {
        if self.list.len() < MOST_VIOLATIONS {
            self.list.push(violation);
        } else {
            self.more = true;
        }
    }

    /// Whether further ones would not be listed, so that looking for them is in vain.
    pub(crate) fn is_full(&self) -> bool {
        self.more
    }

    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// Gives those that were added since there were `before` of them these words for what to do.
    pub(crate) fn detail_since(&mut self, before: usize, detail: &str) {
        self.list.iter_mut().skip(before).for_each(|violation| violation.detail = detail.into());
    }

    pub(crate) fn into_list(mut self) -> Vec<Violation> {
        if let (true, Some(last)) = (self.more, self.list.last_mut()) {
            last.detail.push_str(&format!("; there are more problems than the {MOST_VIOLATIONS} listed"));
        }
        self.list
    }
}

/// What values an element of `field` takes, as `a number from 0 to 10 (FP64)`.
pub(crate) fn expected_element(field: &Field, datatype: Datatype) -> String {
    let what = if field.choices.is_empty() {
        match datatype {
            Datatype::Bool => "true or false".into(),
            Datatype::Bytes => "a string".into(),
            _ => format!("{}{}", number_noun(datatype), bounds(field)),
        }
    } else {
        let choices: Vec<String> = field.choices.iter().map(Value::to_string).collect();
        format!("one of {}", cut(&choices.join(", "), LONGEST_QUOTE * 2))
    };
    let or_null = if field.nullable && datatype.is_float() { " or null" } else { "" };
    format!("{what}{or_null} ({datatype})")
}

fn number_noun(datatype: Datatype) -> &'static str {
    if datatype.is_float() { "a number" } else { "a whole number" }
}

fn bounds(field: &Field) -> String {
    match (field.minimum, field.maximum) {
        (Some(minimum), Some(maximum)) => format!(" from {minimum} to {maximum}"),
        (Some(minimum), None) => format!(" of at least {minimum}"),
        (None, Some(maximum)) => format!(" of at most {maximum}"),
        (None, None) => String::new(),
    }
}

/// What came, as `string "5.1"`.
pub(crate) fn received(raw: Raw<'_>) -> String {
    let quote = cut(raw.get(), LONGEST_QUOTE);
    match json::kind(raw) {
        Kind::Null => "null".into(),
        Kind::Bool => format!("boolean {quote}"),
        Kind::Number => format!("number {quote}"),
        Kind::Text => format!("string {quote}"),
        Kind::Array => received_array(json::elements(raw).map_or(0, |elements| elements.len())),
        Kind::Object => "an object".into(),
    }
}

/// What came, of a parsed value.
pub(crate) fn received_value(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Array(elements) => received_array(elements.len()),
        Value::Object(_) => "an object".into(),
        Value::Bool(_) => format!("boolean {value}"),
        Value::Number(_) => format!("number {}", cut(&value.to_string(), LONGEST_QUOTE)),
        Value::String(_) => format!("string {}", cut(&value.to_string(), LONGEST_QUOTE)),
    }
}

fn received_array(length: usize) -> String {
    match length {
        0 => "an empty array".into(),
        1 => "an array of 1 value".into(),
        n => format!("an array of {n} values"),
    }
}

/// What to do about `fault`, with an example where the contract has one.
pub(crate) fn remedy(fault: Fault, field: &Field, datatype: Datatype, raw: Raw<'_>) -> String {
    let what = match fault {
        Fault::Null => "give a value, null is not taken here".into(),
        Fault::Kind => change_kind(datatype, raw),
        Fault::Fraction => "give a number without a fraction".into(),
        Fault::Inexact => "write the number without fraction and exponent, floats of this size are not exact".into(),
        Fault::Overflow => format!("give a number that {datatype} can hold{}", limits(datatype)),
        Fault::Range => format!("give a number{}", bounds(field)),
        Fault::Choice => "give one of the values listed".into(),
        Fault::Text => "give valid text, half of a surrogate pair is none".into(),
    };
    match example_of(field) {
        Some(example) => format!("{what}, for example {example}"),
        None => what,
    }
}

fn change_kind(datatype: Datatype, raw: Raw<'_>) -> String {
    let inner = json::text(raw).filter(|_| json::kind(raw) == Kind::Text);
    let is_number = |text: &str| text.trim().parse::<f64>().is_ok_and(f64::is_finite);
    match (datatype, json::kind(raw)) {
        (_, Kind::Array | Kind::Object) => "give one value here".into(),
        (Datatype::Bytes, _) => format!("write it as a string: \"{}\"", cut(raw.get(), LONGEST_QUOTE)),
        (Datatype::Bool, _) => "write true or false, without quotes".into(),
        (_, Kind::Text) => match inner {
            Some(text) if is_number(&text) => format!("write the number without quotes: {}", text.trim()),
            _ => "give a number".into(),
        },
        (_, Kind::Bool) => format!("write {} instead of {}", u8::from(raw.get() == "true"), raw.get()),
        _ => "give a number".into(),
    }
}

fn limits(datatype: Datatype) -> String {
    match (datatype.integer_bounds(), datatype) {
        (Some((low, high)), _) => format!(", from {low} to {high}"),
        (None, Datatype::Fp32) => format!(", from -{max:e} to {max:e}", max = f32::MAX),
        (None, _) => format!(", from -{max:e} to {max:e}", max = f64::MAX),
    }
}

/// A correct value of `field` as JSON.
pub(crate) fn example_of(field: &Field) -> Option<String> {
    field.example.as_ref().map(|example| cut(&example.to_string(), LONGEST_QUOTE))
}

/// Ends a sentence about the body as a whole with one that works, where the contract has one of bearable length.
pub(crate) fn with_example_body(what: &str, function: &Function) -> String {
    let body = function.example_inputs().map(|inputs| serde_json::json!({ "inputs": inputs }).to_string());
    match body.filter(|body| body.len() <= LONGEST_BODY) {
        Some(body) => format!("{what}, for example {body}"),
        None => what.into(),
    }
}

/// `names`, for a sentence.
pub(crate) fn list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if quoted.is_empty() { "nothing".into() } else { cut(&quoted.join(", "), LONGEST_BODY) }
}

/// `text`, cut with an ellipsis where it is longer than `longest` characters.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// The name among `known` that `name` was most likely meant to be.
pub(crate) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // Nobody mistypes a name that long, and the distance costs the product of both lengths.
    if name.len() > 200 {
        return None;
    }
    let bound = (name.chars().count() / 3).max(1);
    let distances = known.into_iter().take(2000).map(|other| (distance(&plain(name), &plain(other)), other));
    distances.filter(|(distance, _)| *distance <= bound).min_by_key(|(distance, _)| *distance).map(|(_, other)| other)
}

/// A name without what is most often spelled otherwise.
fn plain(name: &str) -> Vec<char> {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(200).collect()
}

/// Levenshtein's distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
