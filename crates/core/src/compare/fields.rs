//! Inputs and outputs of a function, field by field.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use crate::{
    contract::{Field, Function, Layout, ValueType, schema as of_values},
    tensor::Datatype,
};

use super::{
    found::{Found, Moved, moved},
    limits::{self, Bound, End},
    reading,
    schema::{self, Context},
    words,
};

/// Where the inputs of a request are.
const INPUTS: &str = "/inputs";

/// Where the outputs of one prediction are.
const PREDICTION: &str = "/predictions/*";

/// What two functions take. No function takes an input that it does not know.
pub(super) fn inputs(before: &Function, after: &Function, context: &Context) -> Vec<Found> {
    let layouts = (before.layout, after.layout);
    let mut found = Vec::from_iter(layout(before.layout, after.layout));
    let sides = Sides { before: &before.inputs, after: &after.inputs, at: INPUTS, context };
    found.extend(sides.compare(|field, is_after| field.must_be_given(if is_after { layouts.1 } else { layouts.0 })));
    found.extend(order(before, after));
    found
}

/// What a prediction of two functions holds.
pub(super) fn outputs(before: &Function, after: &Function, context: &Context) -> Vec<Found> {
    match (before.outputs.is_empty(), after.outputs.is_empty()) {
        (true, true) => return Vec::new(),
        (true, false) => return vec![Found::unknown(PREDICTION, "not known", "named outputs")],
        (false, true) => return vec![Found::unknown(PREDICTION, "named outputs", "not known")],
        (false, false) => {}
    }
    let sides = Sides { before: &before.outputs, after: &after.outputs, at: PREDICTION, context };
    sides.compare(|field, _| field.required)
}

/// How inputs are laid out. One call's arguments are also what one row of features looks like.
fn layout(before: Layout, after: Layout) -> Option<Found> {
    let moved = match (before, after) {
        (before, after) if before == after => return None,
        (Layout::Arguments, Layout::Features) => Moved::Widened,
        (Layout::Features, Layout::Arguments) => Moved::Narrowed,
        _ => Moved::Changed,
    };
    Some(Found::of(INPUTS, moved, words::layout(before), words::layout(after)))
}

/// Features that callers may send as one matrix have their meaning by their order.
fn order(before: &Function, after: &Function) -> Option<Found> {
    before.matrix_datatype().and(after.matrix_datatype())?;
    let kept = |function: &Function, other: &Function| -> Vec<String> {
        let is_there = |name: &str| other.inputs.iter().any(|field| field.name == name);
        function.inputs.iter().map(|field| field.name.clone()).filter(|name| is_there(name)).collect()
    };
    let (was, is) = (kept(before, after), kept(after, before));
    let told = |names: &[String]| format!("in the order {}", words::shortened(&names.join(", ")));
    (was != is).then(|| Found::of(INPUTS, Moved::Changed, told(&was), told(&is)))
}

/// One value that a web service takes.
pub(super) fn one(at: &str, before: &Field, after: &Field, context: &Context) -> Vec<Found> {
    Sides { before: &[], after: &[], at: "", context }.field(at, before, after)
}

/// Fields of one side of a function, before and after.
struct Sides<'a> {
    before: &'a [Field],
    after: &'a [Field],
    at: &'static str,
    context: &'a Context,
}

impl Sides<'_> {
    fn compare(&self, must_be_there: impl Fn(&Field, bool) -> bool) -> Vec<Found> {
        let names = |fields: &'_ [Field]| -> HashMap<String, usize> {
            fields.iter().enumerate().map(|(at, field)| (field.name.clone(), at)).collect()
        };
        let (old, new) = (names(self.before), names(self.after));
        let mut found = Vec::new();
        for field in self.before {
            let at = words::below(self.at, &field.name);
            match new.get(&field.name).map(|index| &self.after[*index]) {
                Some(other) => {
                    found.extend(self.field(&at, field, other));
                    let (was, is) = (must_be_there(field, false), must_be_there(other, true));
                    found.extend(schema::required(&at, was, is));
                }
                None => found.push(Found::of(at, Moved::Removed { taken: false }, kind(field), "gone")),
            }
        }
        for field in self.after.iter().filter(|field| !old.contains_key(&field.name)) {
            let moved = Moved::Added { required: must_be_there(field, true) };
            found.push(Found::of(words::below(self.at, &field.name), moved, "nothing", kind(field)));
        }
        found
    }

    fn field(&self, at: &str, before: &Field, after: &Field) -> Vec<Found> {
        let mut found = match (native(before), native(after)) {
            (Some(old), Some(new)) => elements(at, (before, old), (after, new)),
            (None, None) if !before.labels.is_empty() && !after.labels.is_empty() => labels(at, before, after),
            _ => schema::compare(at, &as_schema(before), &as_schema(after), self.context),
        };
        found.extend(schema::default(at, before.default.as_ref(), after.default.as_ref()));
        if before.description != after.description {
            let (was, is) = (words::shortened(&before.description), words::shortened(&after.description));
            found.push(Found::of(at, Moved::Words, was, is));
        }
        if before.example != after.example {
            let told = |field: &Field| match &field.example {
                Some(example) => format!("example {}", words::value(example)),
                None => "without an example".into(),
            };
            found.push(Found::of(at, Moved::Words, told(before), told(after)));
        }
        found
    }
}

/// A field as people read it.
fn kind(field: &Field) -> String {
    match &field.value {
        _ if !field.choices.is_empty() => format!("one of {}", words::list(field.choices.iter())),
        ValueType::Scalar { datatype } => datatype.to_string(),
        ValueType::Tensor { datatype, shape } => format!("{datatype} {shape:?}"),
        ValueType::Json { schema } => reading::summary(schema),
    }
}

/// The elements and the shape of what is no JSON of its own. An output with labels is shown as an object.
fn native(field: &Field) -> Option<(Datatype, &[i64])> {
    match &field.value {
        _ if !field.labels.is_empty() => None,
        ValueType::Scalar { datatype } => Some((*datatype, &[])),
        ValueType::Tensor { datatype, shape } => Some((*datatype, shape)),
        ValueType::Json { .. } => None,
    }
}

fn elements(
    at: &str,
    (before, (was, was_shape)): (&Field, (Datatype, &[i64])),
    (after, (is, is_shape)): (&Field, (Datatype, &[i64])),
) -> Vec<Found> {
    let mut found = Vec::from_iter(datatypes(at, was, is));
    found.extend(shapes(at, was_shape, is_shape));
    if before.nullable != after.nullable {
        found.push(schema::nullable(at, before.nullable));
    }
    found.extend(limits::choices(at, &before.choices, &after.choices));
    let bound = |value: Option<f64>| value.map(Bound::at);
    found.extend(limits::bound(at, End::Least, bound(before.minimum), bound(after.minimum), ""));
    found.extend(limits::bound(at, End::Most, bound(before.maximum), bound(after.maximum), ""));
    found
}

/// The classes of a classifier: a number for each of them, and one of them in another output. Whichever comes or goes, callers
/// could stumble.
fn labels(at: &str, before: &Field, after: &Field) -> Vec<Found> {
    let set = |field: &Field| BTreeSet::from_iter(field.labels.iter().cloned());
    let told = |field: &Field| {
        let labels: Vec<Value> = field.labels.iter().map(|label| label.as_str().into()).collect();
        format!("for {}", words::list(labels.iter()))
    };
    match set(before) == set(after) {
        true => Vec::new(),
        false => vec![Found::of(at, Moved::Changed, told(before), told(after))],
    }
}

/// Two datatypes. Floating point numbers of all lengths are one to callers, who write numbers.
fn datatypes(at: &str, before: Datatype, after: Datatype) -> Option<Found> {
    let within = |one: Datatype, other: Datatype| match (one.integer_bounds(), other.integer_bounds()) {
        (Some((low, high)), Some((least, most))) => least <= low && high <= most,
        (Some(_), None) => other.is_float(),
        (None, _) => one == other || one.is_float() && other.is_float(),
    };
    if before == after {
        return None;
    }
    let moved = moved(within(before, after), within(after, before)).unwrap_or(Moved::Words);
    Some(Found::of(at, moved, before.as_str(), after.as_str()))
}

/// Two shapes, in which -1 is any length.
fn shapes(at: &str, before: &[i64], after: &[i64]) -> Option<Found> {
    let within = |one: &[i64], other: &[i64]| {
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| other == one || *other == -1)
    };
    let moved = moved(within(before, after), within(after, before))?;
    let told = |shape: &[i64]| if shape.is_empty() { "one value a row".into() } else { format!("shape {shape:?}") };
    Some(Found::of(at, moved, told(before), told(after)))
}

/// A field as the schema of its values.
fn as_schema(field: &Field) -> Value {
    match field.labels.is_empty() {
        true => of_values::of_field(field, element),
        false => labelled(&field.labels),
    }
}

/// Bounds of 64 bits are those of whole numbers at all, as far as callers are concerned.
fn element(datatype: Datatype) -> Value {
    match datatype {
        Datatype::Int64 => json!({"type": "integer"}),
        Datatype::Uint64 => json!({"type": "integer", "minimum": 0}),
        other => of_values::element(other),
    }
}

/// An object with a number for each label.
fn labelled(labels: &[String]) -> Value {
    let number = |label: &String| (label.clone(), json!({"type": "number", "nullable": true}));
    let properties: Map<String, Value> = labels.iter().map(number).collect();
    json!({"type": "object", "properties": properties, "required": labels, "additionalProperties": false})
}
