//! One value, held against the schema of one field.

use kea_core::Field;
use serde_json::{Map, Value};

use super::{
    arguments::compiled,
    broken::Broken,
    schema,
    words::{self, Path},
};

/// The schema of a field, compiled.
pub(crate) struct Schema(Option<jsonschema::Validator>);

/// What is wrong with a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// JSON pointer into the value.
    pub(crate) below: String,
    /// What is expected there.
    pub(crate) expected: String,
}

impl Schema {
    /// What a field takes. A schema that cannot be compiled takes anything: who holds requests against it says so.
    pub(crate) fn of_field(field: &Field) -> Self {
        Self(compiled(&schema::of_field(field)).ok())
    }

    /// What elements of a schema's arrays take.
    pub(crate) fn of_elements(schema: &Value) -> Self {
        Self(compiled(&schema::translate(&elements(schema))).ok())
    }

    /// The first thing that is wrong with `value`.
    pub(crate) fn misfit(&self, value: &Value) -> Option<Misfit> {
        let mut broken = Broken::below(&Path::Root);
        self.0.as_ref()?.iter_errors(value).for_each(|error| broken.add(&error));
        let first = broken.into_list().into_iter().next()?;
        Some(Misfit { below: first.pointer, expected: first.expected })
    }
}

/// The schema of the innermost elements, with what it refers to.
fn elements(schema: &Value) -> Value {
    let mut inner = schema;
    while inner["type"] == "array" && inner["items"].is_object() {
        inner = &inner["items"];
    }
    let mut words: Map<String, Value> = inner.as_object().cloned().unwrap_or_default();
    for shared in ["$defs", "definitions"] {
        if let Some(definitions) = schema.get(shared) {
            words.insert(shared.into(), definitions.clone());
        }
    }
    words.into()
}

/// `text`, cut with an ellipsis where it is longer than `longest` characters.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    words::cut(text, longest)
}
