//! What a schema says: what it refers to, its alternatives, its members, and all that in short.

use std::{borrow::Cow, sync::LazyLock};

use serde_json::{Map, Value};

use super::{kinds::Kinds, words};

/// References that are followed for one schema; a loop of them ends here.
const HOPS: usize = 16;

/// What a schema refers to, and the members of its `allOf` as one.
pub(super) fn resolved<'a>(root: &'a Value, schema: &'a Value) -> Cow<'a, Value> {
    let mut schema = schema;
    for _ in 0..HOPS {
        let next = match (schema.get("$ref"), schema.get("allOf")) {
            (Some(Value::String(reference)), _) => root.pointer(reference.trim_start_matches('#')),
            (None, Some(Value::Array(members))) => match &members[..] {
                [one] if is_wrapper(schema) => Some(one),
                members => return Cow::Owned(merged(root, schema, members)),
            },
            _ => return Cow::Borrowed(schema),
        };
        let Some(next) = next else { return Cow::Owned(Value::Object(Map::new())) };
        schema = next;
    }
    Cow::Owned(Value::Object(Map::new()))
}

/// All members of an `allOf` and what is beside it, as one schema: the first word counts, lists of members are joined.
fn merged(root: &Value, schema: &Value, members: &[Value]) -> Value {
    let mut merged = schema.as_object().cloned().unwrap_or_default();
    merged.remove("allOf");
    for member in members.iter().take(HOPS) {
        let member = match member.get("allOf") {
            // Deeper ones are left as they are, and compared as a whole.
            Some(_) => Cow::Borrowed(member),
            None => resolved(root, member),
        };
        for (keyword, value) in member.as_object().into_iter().flatten() {
            match (merged.get_mut(keyword), value) {
                (Some(Value::Object(own)), Value::Object(more)) => own.extend(more.clone()),
                (Some(Value::Array(own)), Value::Array(more)) if keyword == "required" => own.extend(more.clone()),
                (Some(_), _) => {}
                (None, value) => drop(merged.insert(keyword.clone(), value.clone())),
            }
        }
    }
    Value::Object(merged)
}

/// The members of an object's schema.
pub(super) struct Members<'a> {
    pub(super) named: &'a Map<String, Value>,
    required: &'a [Value],
    /// The schema of further ones; anything where there is none.
    pub(super) others: Option<&'a Value>,
}

impl<'a> Members<'a> {
    pub(super) fn of(schema: &'a Value) -> Self {
        static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        Self {
            named: schema.get("properties").and_then(Value::as_object).unwrap_or(&NONE),
            required: schema.get("required").and_then(Value::as_array).map_or(&[], Vec::as_slice),
            others: schema.get("additionalProperties"),
        }
    }

    pub(super) fn requires(&self, name: &str) -> bool {
        self.required.iter().any(|required| required == name)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.others == Some(&Value::Bool(false))
    }
}

/// The alternatives of a schema, each with what stands beside them.
pub(super) fn alternatives(schema: &Value) -> Option<Vec<Cow<'_, Value>>> {
    let members = schema.get("anyOf").or(schema.get("oneOf"))?.as_array()?;
    let is_nullable = schema.get("nullable") == Some(&Value::Bool(true));
    Some(members.iter().map(|member| if is_nullable { or_null(member) } else { Cow::Borrowed(member) }).collect())
}

/// A schema that null passes, too. What it refers to is left as it is.
fn or_null(schema: &Value) -> Cow<'_, Value> {
    match schema {
        Value::Object(keywords) if !keywords.contains_key("$ref") => {
            let mut keywords = keywords.clone();
            keywords.insert("nullable".into(), true.into());
            Cow::Owned(Value::Object(keywords))
        }
        schema => Cow::Borrowed(schema),
    }
}

/// Whether nothing but words stands beside the one member of an `allOf`.
fn is_wrapper(schema: &Value) -> bool {
    let words = ["allOf", "description", "title", "default", "example", "examples", "$defs", "deprecated"];
    schema.as_object().is_some_and(|keywords| keywords.keys().all(|keyword| words.contains(&keyword.as_str())))
}

/// Whether a schema says nothing of what passes it.
pub(super) fn is_anything(schema: &Value) -> bool {
    let words = ["description", "title", "default", "example", "examples", "$defs", "deprecated", "nullable"];
    match schema {
        Value::Bool(passes) => *passes,
        Value::Object(keywords) => keywords.keys().all(|keyword| words.contains(&keyword.as_str())),
        _ => true,
    }
}

/// What a value is to be, in short.
pub(super) fn summary(schema: &Value) -> String {
    if let Some(Value::Array(values)) = schema.get("enum") {
        return format!("one of {}", words::list(values.iter()));
    }
    if let Some(members) = alternatives(schema) {
        let members: Vec<String> = members.iter().map(|member| summary(member)).collect();
        return words::shortened(&members.join(" or "));
    }
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => format!("a `{}`", reference.rsplit('/').next().unwrap_or(reference)),
        None => Kinds::of(schema).words(),
    }
}
