//! Values that authors state, held against what else is known of the same field: choices, defaults and examples.

use std::fmt;

use serde_json::Value;

use crate::contract::{Field, ValueType};

use super::{Contradiction, Place, StatedField, StatedType};

/// What is known of the values of one field.
struct Known<'a> {
    kind: Option<StatedType>,
    /// Arrays of any shape where none is known.
    shape: Option<&'a [i64]>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    choices: &'a [Value],
}

/// What a value does not keep to.
struct Misfit<'a> {
    keyword: &'static str,
    limit: Limit<'a>,
}

enum Limit<'a> {
    Kind(StatedType),
    Shape(&'a [i64]),
    Bound(f64),
    Choices(&'a [Value]),
}

impl fmt::Display for Limit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => kind.fmt(f),
            Self::Shape(shape) => write!(f, "{shape:?}"),
            Self::Bound(bound) => bound.fmt(f),
            Self::Choices(choices) => Value::from(*choices).fmt(f),
        }
    }
}

/// Longest value that a message repeats, in characters.
const LONGEST: usize = 80;

/// Refuses a stated value that another statement on the same field excludes.
///
/// # Errors
/// The keyword of the value, and what excludes it, which is found below the pointer `at`.
pub(super) fn agree(stated: &StatedField, at: &str) -> Result<(), (&'static str, String)> {
    let known = Known {
        kind: stated.kind,
        shape: stated.shape.as_deref(),
        minimum: stated.minimum,
        maximum: stated.maximum,
        choices: &stated.choices,
    };
    let Some((keyword, value, Misfit { keyword: by, limit })) = known.first_misfit(stated) else { return Ok(()) };
    Err((keyword, format!("it says {}, but `{at}/{by}` says {limit}: correct one of the two", shown(value))))
}

/// Refuses a stated value that the field does not take as it was found and refined. JSON schemas are looked at by who has a
/// validator of them.
pub(super) fn fit(field: &Field, stated: &StatedField, place: &Place) -> Result<(), Contradiction> {
    let (datatype, shape): (_, &[i64]) = match &field.value {
        ValueType::Scalar { datatype } => (*datatype, &[]),
        ValueType::Tensor { datatype, shape } => (*datatype, shape),
        ValueType::Json { .. } => return Ok(()),
    };
    // Named elements are an object, whose example nobody shows.
    if !field.labels.is_empty() {
        return Ok(());
    }
    let known = Known {
        kind: Some(StatedType::Datatype(datatype)),
        shape: Some(shape),
        minimum: field.minimum,
        maximum: field.maximum,
        choices: &field.choices,
    };
    let Some((keyword, value, Misfit { keyword: by, limit })) = known.first_misfit(stated) else { return Ok(()) };
    let found = match by {
        "minimum" | "maximum" => format!("has the {by} {limit}"),
        "enum" => format!("takes {limit} alone"),
        "shape" if shape.is_empty() => format!("is one {datatype} a row"),
        "shape" => format!("is {datatype}{limit}"),
        _ => format!("is {limit}"),
    };
    Err(place.contradicts(keyword, shown(value), found))
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl<'a> Known<'a> {
    /// The first stated value that does not keep to what is known, with the keyword by which it is stated.
    fn first_misfit<'v>(&self, stated: &'v StatedField) -> Option<(&'static str, &'v Value, Misfit<'a>)> {
        // Of a value that may be missing null is one of the choices.
        let choices = stated.choices.iter().filter(|choice| !choice.is_null());
        let choices = choices.into_iter().find_map(|choice| Some(("enum", choice, self.bounds(choice)?)));
        choices.or_else(|| {
            let values = [("default", &stated.default), ("example", &stated.example)];
            let mut values = values.into_iter().filter_map(|(keyword, value)| Some((keyword, value.as_ref()?)));
            values.find_map(|(keyword, value)| Some((keyword, value, self.whole(value)?)))
        })
    }

    /// A value of the field: one element, or arrays of them.
    fn whole(&self, value: &Value) -> Option<Misfit<'a>> {
        let Some(shape) = self.shape else {
            let is_choice = self.choices.iter().any(|choice| is_same(choice, value));
            return if is_choice { None } else { self.elements(value) };
        };
        // One row may stand for rows.
        let is_row = matches!(shape.first(), Some(-1 | 1)) && depth(value) + 1 == shape.len();
        self.nested(value, if is_row { &shape[1..] } else { shape }, shape)
    }

    fn nested(&self, value: &Value, left: &[i64], shape: &'a [i64]) -> Option<Misfit<'a>> {
        let misfit = Some(Misfit { keyword: "shape", limit: Limit::Shape(shape) });
        match (left.split_first(), value) {
            (None, Value::Array(_)) => misfit,
            (None, element) => self.element(element),
            (Some((length, left)), Value::Array(elements)) => {
                let fits = *length == -1 || usize::try_from(*length) == Ok(elements.len());
                let below = || elements.iter().find_map(|element| self.nested(element, left, shape));
                if fits { below() } else { misfit }
            }
            (Some(_), _) => misfit,
        }
    }

    /// Elements of arrays of whatever shape.
    fn elements(&self, value: &Value) -> Option<Misfit<'a>> {
        match value {
            Value::Array(elements) => elements.iter().find_map(|element| self.elements(element)),
            element => self.element(element),
        }
    }

    fn element(&self, element: &Value) -> Option<Misfit<'a>> {
        // Whether null stands for a missing value is the model's to say.
        if element.is_null() {
            return None;
        }
        let is_chosen = self.choices.is_empty() || self.choices.iter().any(|choice| is_same(choice, element));
        let misfit = Misfit { keyword: "enum", limit: Limit::Choices(self.choices) };
        self.bounds(element).or((!is_chosen).then_some(misfit))
    }

    /// An element of the type, and within the range.
    fn bounds(&self, element: &Value) -> Option<Misfit<'a>> {
        let bound = |keyword, bound| Some(Misfit { keyword, limit: Limit::Bound(bound) });
        match (self.kind, self.minimum, self.maximum) {
            (Some(kind), ..) if !kind.takes(element) => Some(Misfit { keyword: "type", limit: Limit::Kind(kind) }),
            (_, Some(minimum), _) if element.as_f64().is_none_or(|number| number < minimum) => {
                bound("minimum", minimum)
            }
            (.., Some(maximum)) if element.as_f64().is_none_or(|number| number > maximum) => bound("maximum", maximum),
            _ => None,
        }
    }
}

/// Whether JSON means the same by both: 1 is 1.0.
fn is_same(one: &Value, other: &Value) -> bool {
    let is_whole = |value: &Value| value.is_i64() || value.is_u64();
    let are_same_numbers = || one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| one == other);
    // Large whole numbers are different although their floats are the same.
    one == other || (!(is_whole(one) && is_whole(other)) && are_same_numbers())
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.first().map_or(0, depth),
        _ => 0,
    }
}
