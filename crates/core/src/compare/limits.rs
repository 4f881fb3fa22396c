//! What bounds values: the least and the most, lengths, choices, and keywords that are the same or not.

use serde_json::Value;

use super::{
    found::{Found, Moved, moved},
    kinds::Kinds,
    words,
};

/// Bounds of a number or of a length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    value: f64,
    exclusive: bool,
}

impl Bound {
    /// One that may be reached.
    pub(super) fn at(value: f64) -> Self {
        Self { value, exclusive: false }
    }

    /// The bound of a schema under `keyword`, which `exclusive` makes one that may not be reached, as OpenAPI 3.0 writes it
    /// (a boolean beside it) or JSON Schema (a number in its place).
    fn of(schema: &Value, keyword: &str, exclusive: &str) -> Option<Self> {
        let own = schema.get(keyword).and_then(Value::as_f64);
        match schema.get(exclusive) {
            Some(Value::Bool(true)) => own.map(|value| Self { value, exclusive: true }),
            Some(Value::Number(number)) => number.as_f64().map(|value| Self { value, exclusive: true }),
            _ => own.map(Self::at),
        }
    }

    /// Whether all that keeps to this lower bound keeps to the other.
    fn is_above(self, other: Self) -> bool {
        self.value > other.value || self.value == other.value && (self.exclusive || !other.exclusive)
    }

    /// The same of an upper bound.
    fn is_below(self, other: Self) -> bool {
        self.value < other.value || self.value == other.value && (self.exclusive || !other.exclusive)
    }
}

/// Which end of the values a bound is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Least,
    Most,
}

/// Compares two bounds of `what`, as `letters`; nothing for the value itself.
pub(super) fn bound(at: &str, end: End, before: Option<Bound>, after: Option<Bound>, what: &str) -> Option<Found> {
    let within = |one: Option<Bound>, other: Option<Bound>| match (one, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(one), Some(other)) if end == End::Least => one.is_above(other),
        (Some(one), Some(other)) => one.is_below(other),
    };
    let moved = moved(within(before, after), within(after, before))?;
    Some(Found::of(at, moved, told(end, before, what), told(end, after, what)))
}

fn told(end: End, bound: Option<Bound>, what: &str) -> String {
    let Some(Bound { value, exclusive }) = bound else {
        return match (what, end) {
            ("", End::Least) => "without a least value".into(),
            ("", End::Most) => "without a greatest value".into(),
            (what, _) => format!("any number of {what}"),
        };
    };
    let space = if what.is_empty() { "" } else { " " };
    let words = match (end, exclusive) {
        (End::Least, false) => "at least",
        (End::Least, true) => "more than",
        (End::Most, false) => "at most",
        (End::Most, true) => "less than",
    };
    format!("{words} {value}{space}{what}")
}

/// Lengths: keyword, of what, at which end, and what is counted.
const LENGTHS: [(&str, Kinds, End, &str); 6] = [
    ("minLength", Kinds::STRING, End::Least, "letters"),
    ("maxLength", Kinds::STRING, End::Most, "letters"),
    ("minItems", Kinds::ARRAY, End::Least, "elements"),
    ("maxItems", Kinds::ARRAY, End::Most, "elements"),
    ("minProperties", Kinds::OBJECT, End::Least, "members"),
    ("maxProperties", Kinds::OBJECT, End::Most, "members"),
];

/// Keywords that bound values in ways that cannot be weighed against each other.
const RULES: [(&str, Kinds); 11] = [
    ("multipleOf", Kinds::NUMBER),
    ("pattern", Kinds::STRING),
    ("format", Kinds::STRING),
    ("contentEncoding", Kinds::STRING),
    ("uniqueItems", Kinds::ARRAY),
    ("prefixItems", Kinds::ARRAY),
    ("contains", Kinds::ARRAY),
    ("patternProperties", Kinds::OBJECT),
    ("propertyNames", Kinds::OBJECT),
    ("dependentRequired", Kinds::OBJECT),
    ("not", Kinds::ALL),
];

/// Compares all bounds that matter for values of `kinds`.
pub(super) fn bounds(at: &str, kinds: Kinds, before: &Value, after: &Value) -> Vec<Found> {
    let mut found = Vec::new();
    if kinds.has(Kinds::NUMBER) {
        let least = |schema| Bound::of(schema, "minimum", "exclusiveMinimum");
        let most = |schema| Bound::of(schema, "maximum", "exclusiveMaximum");
        found.extend(bound(at, End::Least, least(before), least(after), ""));
        found.extend(bound(at, End::Most, most(before), most(after), ""));
    }
    for (keyword, _, end, what) in LENGTHS.iter().filter(|(_, of, ..)| kinds.has(*of)) {
        let length = |schema: &Value| schema.get(*keyword).and_then(Value::as_f64).map(Bound::at);
        // No length is less than none.
        let length = |schema| length(schema).filter(|bound| *end == End::Most || bound.value > 0.0);
        found.extend(bound(at, *end, length(before), length(after), what));
    }
    for (keyword, _) in RULES.iter().filter(|(_, of)| kinds.has(*of)) {
        found.extend(rule(at, keyword, before, after));
    }
    found
}

fn rule(at: &str, keyword: &str, before: &Value, after: &Value) -> Option<Found> {
    let given = |schema: &Value| schema.get(keyword).filter(|value| **value != Value::Bool(false)).cloned();
    let (before, after) = (given(before), given(after));
    let told = |value: &Option<Value>| match value {
        Some(value) => format!("`{keyword}` {}", words::value(value)),
        None => format!("without `{keyword}`"),
    };
    let moved = match (&before, &after) {
        (Some(before), Some(after)) if before == after => return None,
        (None, None) => return None,
        (None, Some(_)) => Moved::Narrowed,
        (Some(_), None) => Moved::Widened,
        (Some(_), Some(_)) => Moved::Changed,
    };
    Some(Found::of(at, moved, told(&before), told(&after)))
}

/// Compares the only values that are taken; all are where there is no list of them. Null is none of them.
pub(super) fn choices(at: &str, before: &[Value], after: &[Value]) -> Option<Found> {
    let real = |values: &[Value]| -> Vec<Value> { values.iter().filter(|value| !value.is_null()).cloned().collect() };
    let (before, after) = (real(before), real(after));
    let within = |one: &[Value], other: &[Value]| match (one, other) {
        (_, []) => true,
        ([], _) => false,
        (one, other) => one.iter().all(|value| other.iter().any(|other| is_same(value, other))),
    };
    let moved = moved(within(&before, &after), within(&after, &before))?;
    let told = |values: &[Value]| match values {
        [] => "any value".to_owned(),
        values => format!("one of {}", words::list(values.iter())),
    };
    Some(Found::of(at, moved, told(&before), told(&after)))
}

/// Whether two values are the same to a validator: 1 and 1.0 are.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}
