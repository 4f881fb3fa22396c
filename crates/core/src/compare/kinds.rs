//! The kinds of JSON values that a schema lets pass, as a set.

use serde_json::Value;

/// A set of kinds. A number is a whole one or one with a fraction, so that whole numbers are within numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    const NULL: Self = Self(1);
    const BOOLEAN: Self = Self(2);
    const WHOLE: Self = Self(4);
    const FRACTION: Self = Self(8);
    pub(super) const NUMBER: Self = Self(4 | 8);
    pub(super) const STRING: Self = Self(16);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const OBJECT: Self = Self(64);
    pub(super) const ALL: Self = Self(127);
    const NONE: Self = Self(0);

    /// The kinds that pass a schema, by its `type` and `nullable` alone.
    pub(super) fn of(schema: &Value) -> Self {
        if *schema == Value::Bool(false) {
            return Self::NONE;
        }
        let kinds = match schema.get("type") {
            Some(Value::String(name)) => Self::named(name),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).fold(Self::NONE, |kinds, name| kinds.and(Self::named(name)))
            }
            _ => Self::of_choices(schema),
        };
        if schema.get("nullable") == Some(&Value::Bool(true)) { kinds.and(Self::NULL) } else { kinds }
    }

    /// The kinds of the only values that pass a schema without a type.
    fn of_choices(schema: &Value) -> Self {
        let kind = |value: &Value| match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => Self::WHOLE,
            Value::Number(_) => Self::NUMBER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        };
        match (schema.get("enum"), schema.get("const")) {
            (Some(Value::Array(values)), _) => values.iter().map(kind).fold(Self::NONE, Self::and),
            (_, Some(value)) => kind(value),
            _ => Self::ALL,
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "null" => Self::NULL,
            "boolean" => Self::BOOLEAN,
            "integer" => Self::WHOLE,
            "number" => Self::NUMBER,
            "string" => Self::STRING,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::ALL,
        }
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both have.
    pub(super) fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether anything passes.
    pub(super) fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// Whether nothing passes.
    pub(super) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Whether all of these are among those.
    pub(super) fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether some of those are among these.
    pub(super) fn has(self, some: Self) -> bool {
        self.0 & some.0 != 0
    }

    pub(super) fn has_null(self) -> bool {
        self.has(Self::NULL)
    }

    pub(super) fn without_null(self) -> Self {
        Self(self.0 & !Self::NULL.0)
    }

    /// As it is told to people.
    pub(super) fn words(self) -> String {
        if self.is_all() {
            return "anything".into();
        }
        let number = if self.has(Self::FRACTION) { "a number" } else { "a whole number" };
        let named = [
            (Self::BOOLEAN, "true or false"),
            (Self::NUMBER, number),
            (Self::STRING, "text"),
            (Self::ARRAY, "an array"),
            (Self::OBJECT, "an object"),
            (Self::NULL, "null"),
        ];
        let words: Vec<&str> = named.into_iter().filter(|(kind, _)| self.has(*kind)).map(|(_, word)| word).collect();
        if words.is_empty() { "nothing".into() } else { words.join(" or ") }
    }
}
