//! OpenAPI 3.0 schemas as JSON Schema (draft 2020-12), which the compiled validators read.
//!
//! OpenAPI 3.0 says `nullable: true` where JSON Schema lists the type `null`, and has booleans for exclusive bounds.

use kea_core::{Field, contract::schema};
use serde_json::{Map, Value, json};

/// Keywords whose value is a schema.
const ONE: [&str; 4] = ["additionalProperties", "items", "not", "propertyNames"];
/// Keywords whose value is a list of schemas.
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is an object of schemas.
const NAMED: [&str; 4] = ["$defs", "definitions", "patternProperties", "properties"];

/// The JSON Schema of an argument.
pub(crate) fn of_field(field: &Field) -> Value {
    translate(&schema::of_field(field, schema::element))
}

/// An OpenAPI 3.0 schema as JSON Schema.
pub(crate) fn translate(schema: &Value) -> Value {
    let Value::Object(keywords) = schema else {
        return schema.clone();
    };
    let mut out: Map<String, Value> = keywords.iter().map(|(key, value)| (key.clone(), inner(key, value))).collect();
    exclusive(&mut out, "exclusiveMinimum", "minimum");
    exclusive(&mut out, "exclusiveMaximum", "maximum");
    match out.remove("nullable") {
        Some(Value::Bool(true)) => nullable(out),
        _ => Value::Object(out),
    }
}

fn inner(keyword: &str, value: &Value) -> Value {
    match value {
        Value::Array(list) if LIST.contains(&keyword) => list.iter().map(translate).collect(),
        Value::Object(named) if NAMED.contains(&keyword) => {
            named.iter().map(|(name, schema)| (name.clone(), translate(schema))).collect()
        }
        _ if ONE.contains(&keyword) => translate(value),
        _ => value.clone(),
    }
}

fn exclusive(keywords: &mut Map<String, Value>, exclusive: &str, bound: &str) {
    match keywords.get(exclusive) {
        Some(Value::Bool(true)) => {
            keywords.remove(exclusive);
            if let Some(limit) = keywords.remove(bound) {
                keywords.insert(exclusive.into(), limit);
            }
        }
        Some(Value::Bool(false)) => drop(keywords.remove(exclusive)),
        _ => {}
    }
}

/// The schema, or null.
fn nullable(mut keywords: Map<String, Value>) -> Value {
    // With these, null has to pass more than `type`: it gets a branch of its own.
    let combined = ["$ref", "allOf", "anyOf", "oneOf", "not", "const"].iter().any(|word| keywords.contains_key(*word));
    if combined {
        return beside_null(keywords);
    }
    match keywords.get_mut("type") {
        Some(Value::Array(types)) if !types.contains(&Value::from("null")) => types.push("null".into()),
        Some(Value::String(one)) => {
            let both = json!([one, "null"]);
            keywords.insert("type".into(), both);
        }
        _ => {}
    }
    if let Some(Value::Array(choices)) = keywords.get_mut("enum")
        && !choices.contains(&Value::Null)
    {
        choices.push(Value::Null);
    }
    Value::Object(keywords)
}

fn beside_null(mut keywords: Map<String, Value>) -> Value {
    let mut outer = Map::new();
    // References point to these from the root, which the wrapping must not move.
    for shared in ["$defs", "definitions"] {
        if let Some(definitions) = keywords.remove(shared) {
            outer.insert(shared.into(), definitions);
        }
    }
    outer.insert("anyOf".into(), json!([keywords, { "type": "null" }]));
    Value::Object(outer)
}
