//! A field of a contract as an OpenAPI 3.0 schema of its values in JSON: what requests are held against, and what versions
//! are compared by.

use serde_json::{Map, Value, json};

use super::{Field, ValueType};
use crate::tensor::Datatype;

/// The schema of a field's values, elements of which have the schema that `element` gives. Labels are not looked at.
pub fn of_field(field: &Field, element: impl Fn(Datatype) -> Value) -> Value {
    let mut schema = match &field.value {
        ValueType::Json { schema } => schema.clone(),
        ValueType::Scalar { datatype } => element(*datatype),
        ValueType::Tensor { datatype, shape } => {
            shape.iter().rev().fold(element(*datatype), |items, length| array(&items, *length))
        }
    };
    if let Value::Object(keywords) = &mut schema {
        add_words_of(field, keywords);
    }
    schema
}

/// What the field says beside its schema. The schema's own word stands where both say something.
fn add_words_of(field: &Field, keywords: &mut Map<String, Value>) {
    let mut add = |keyword: &str, value: Option<Value>| {
        if let (Some(value), false) = (value, keywords.contains_key(keyword)) {
            keywords.insert(keyword.into(), value);
        }
    };
    add("nullable", field.nullable.then_some(Value::Bool(true)));
    add("minimum", field.minimum.map(Value::from));
    add("maximum", field.maximum.map(Value::from));
    add("enum", (!field.choices.is_empty()).then(|| Value::from(field.choices.clone())));
}

/// The schema of one element.
pub fn element(datatype: Datatype) -> Value {
    match (datatype, datatype.integer_bounds()) {
        (Datatype::Bool, _) => json!({"type": "boolean"}),
        (Datatype::Bytes, _) => json!({"type": "string"}),
        // Every bound fits i64 or u64.
        (_, Some((low, high))) => json!({"type": "integer", "minimum": low as i64, "maximum": high as u64}),
        (_, None) => json!({"type": "number"}),
    }
}

/// An array of that many items; -1 is any number of them.
fn array(items: &Value, length: i64) -> Value {
    match u64::try_from(length) {
        Ok(length) => json!({"type": "array", "items": items, "minItems": length, "maxItems": length}),
        Err(_) => json!({"type": "array", "items": items}),
    }
}
