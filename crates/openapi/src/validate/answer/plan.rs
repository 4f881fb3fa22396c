//! What one function answers, prepared.

use jsonschema::Draft;
use kea_core::{Datatype, Field, Function, ValueType};
use serde_json::Value;

use super::super::{element::Rules, schema};

/// What one function answers.
pub(super) struct Answer {
    pub(super) outputs: Vec<Output>,
    /// Whether each prediction is a row by the contract; else all of the answer is one prediction.
    pub(super) of_rows: bool,
    /// Whether the rows of its outputs may turn out to differ in number, so that all of the answer is one prediction, too.
    pub(super) may_be_whole: bool,
}

/// One output.
pub(super) struct Output {
    pub(super) field: Field,
    pub(super) kind: Kind,
}

/// What an output is made of.
pub(super) enum Kind {
    /// Nested arrays of elements.
    Array(Array),
    /// Any JSON of a schema.
    Json(jsonschema::Validator),
    /// The contract says nothing that could be held against it.
    Any,
}

/// Nested arrays of elements; a single element where there are no dimensions.
pub(super) struct Array {
    pub(super) rules: Rules,
    /// Dimensions with that of the rows; `None` for one element a row.
    pub(super) shape: Option<Vec<i64>>,
}

impl Answer {
    pub(super) fn of(function: &Function) -> Self {
        let outputs: Vec<Output> = function.outputs.iter().map(Output::of).collect();
        let of_rows = outputs.iter().all(Output::is_batched);
        let is_tensor = |output: &&Output| {
            matches!(output.kind, Kind::Array(_)) && !matches!(output.field.value, ValueType::Json { .. })
        };
        let arrays = outputs.iter().filter(is_tensor).count();
        Self { of_rows, may_be_whole: of_rows && arrays > 1, outputs }
    }
}

impl Output {
    fn of(field: &Field) -> Self {
        // NaN and infinities, which models give whatever they promise, are answered as null.
        let answered = |datatype: Datatype| Field { nullable: field.nullable || datatype.is_float(), ..field.clone() };
        let array = |datatype, shape: Option<&Vec<i64>>| {
            let field = answered(datatype);
            match Rules::of(&field, datatype) {
                Ok(rules) => (field, Kind::Array(Array { rules, shape: shape.cloned() })),
                Err(_unusable) => (field, Kind::Any),
            }
        };
        let (field, kind) = match &field.value {
            ValueType::Scalar { datatype } => array(*datatype, None),
            ValueType::Tensor { datatype, shape } => array(*datatype, Some(shape)),
            ValueType::Json { schema } => (field.clone(), numbers(field, schema).unwrap_or_else(|| of_schema(field))),
        };
        Self { field, kind }
    }

    /// Whether the first dimension is the row.
    fn is_batched(&self) -> bool {
        match &self.kind {
            Kind::Array(Array { shape: Some(shape), .. }) => matches!(shape.first(), Some(-1 | 1)),
            Kind::Array(_) | Kind::Json(_) | Kind::Any => true,
        }
    }
}

impl Array {
    /// The dimensions that this output has in one prediction, where predictions are rows, or else one for all.
    pub(super) fn dims(&self, of_rows: bool) -> &[i64] {
        match (&self.shape, of_rows) {
            (None, true) => &[],
            (None, false) => &[-1],
            (Some(shape), true) => shape.get(1..).unwrap_or_default(),
            (Some(shape), false) => shape,
        }
    }
}

/// Nested arrays of numbers need no tree, also where a schema describes them and nothing more.
fn numbers(field: &Field, schema: &Value) -> Option<Kind> {
    let says_more = field.nullable || field.minimum.is_some() || field.maximum.is_some() || !field.choices.is_empty();
    let (mut shape, mut inner) = (vec![-1], schema);
    while inner["type"] == "array" && has_only(inner, &["type", "items"]) {
        shape.push(-1);
        inner = &inner["items"];
    }
    let is_plain = !says_more && inner["type"] == "number" && has_only(inner, &["type", "format"]);
    let rules = Rules::of(field, Datatype::Fp64).ok().filter(|_| is_plain)?;
    Some(Kind::Array(Array { rules, shape: Some(shape) }))
}

/// Whether a schema has these keywords alone, and words for people.
fn has_only(schema: &Value, keywords: &[&str]) -> bool {
    const WORDS: [&str; 3] = ["title", "description", "example"];
    let known = |word: &String| keywords.contains(&word.as_str()) || WORDS.contains(&word.as_str());
    schema.as_object().is_some_and(|schema| schema.keys().all(known))
}

fn of_schema(field: &Field) -> Kind {
    let schema = schema::of_field(field);
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).offline();
    options.build(&schema).map_or(Kind::Any, Kind::Json)
}
