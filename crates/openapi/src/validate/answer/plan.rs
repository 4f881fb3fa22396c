//! What one function answers, prepared.

use jsonschema::Draft;
use kea_core::{Datatype, Field, Function, ValueType};

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
        let arrays = outputs.iter().filter(|output| matches!(output.kind, Kind::Array(_))).count();
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
            ValueType::Json { .. } => (field.clone(), of_schema(field)),
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

fn of_schema(field: &Field) -> Kind {
    let schema = schema::of_field(field);
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).offline();
    options.build(&schema).map_or(Kind::Any, Kind::Json)
}
