//! Schemas of another document in the words of OpenAPI 3.0, with what they refer to beside them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use serde_json::{Map, Value, json};

/// Nesting that is followed.
const DEPTH: usize = 24;

/// Schemas that are read for one value.
const COUNT: usize = 2_000;

/// Where other schemas are referred to.
const COMPONENTS: &str = "#/components/schemas/";

/// Keywords with a number.
const NUMBERS: [&str; 3] = ["minimum", "maximum", "multipleOf"];
/// Keywords with a length.
const LENGTHS: [&str; 6] = ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"];
/// Keywords with a text.
const TEXTS: [&str; 4] = ["title", "description", "format", "pattern"];
/// Keywords with alternatives.
const LISTS: [&str; 3] = ["anyOf", "oneOf", "allOf"];

/// Reads one schema, and those that it refers to.
pub(super) struct Schemas<'a> {
    components: &'a Value,
    left: Cell<usize>,
    /// What was referred to, by name; null while it is being read.
    found: RefCell<BTreeMap<String, Value>>,
}

impl<'a> Schemas<'a> {
    pub(super) fn of(components: &'a Value) -> Self {
        Self { components, left: Cell::new(COUNT), found: RefCell::default() }
    }

    /// The schema, with others in its `$defs`. What it does not say takes anything.
    pub(super) fn read(self, schema: &Value) -> Value {
        let mut read = self.schema(schema, 0);
        let found = self.found.into_inner();
        if let (Some(object), false) = (read.as_object_mut(), found.is_empty()) {
            object.insert("$defs".into(), found.into_iter().collect());
        }
        read
    }

    fn schema(&self, schema: &Value, depth: usize) -> Value {
        let Some(keywords) = schema.as_object().filter(|_| depth < DEPTH && self.left.get() > 0) else {
            return json!({});
        };
        self.left.set(self.left.get() - 1);
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            return self.referred(reference, depth);
        }
        let mut read = Map::new();
        self.kind(keywords, &mut read);
        limits(keywords, &mut read);
        self.members(keywords, depth, &mut read);
        for word in LISTS {
            if let Some(list) = keywords.get(word).and_then(Value::as_array).filter(|list| !list.is_empty()) {
                self.alternatives(word, list, depth, &mut read);
            }
        }
        Value::Object(read)
    }

    /// A reference to a component stays one; the component is read once.
    fn referred(&self, reference: &str, depth: usize) -> Value {
        let named = reference.strip_prefix(COMPONENTS).and_then(|name| Some((name, self.components.get(name)?)));
        let Some((name, schema)) = named else { return json!({}) };
        if !self.found.borrow().contains_key(name) {
            self.found.borrow_mut().insert(name.into(), json!({}));
            let read = self.schema(schema, depth + 1);
            self.found.borrow_mut().insert(name.into(), read);
        }
        json!({"$ref": format!("#/$defs/{}", name.replace('~', "~0").replace('/', "~1"))})
    }

    /// `type`, `enum` and what may be null: OpenAPI 3.1 lists the type `null`, 3.0 says `nullable` beside a type.
    fn kind(&self, keywords: &Map<String, Value>, read: &mut Map<String, Value>) {
        let listed: Vec<&str> = match keywords.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut kinds = listed.iter().filter(|kind| is_kind(kind));
        if let (Some(kind), None) = (kinds.next(), kinds.next()) {
            read.insert("type".into(), (*kind).into());
            let is_nullable = keywords.get("nullable") == Some(&Value::Bool(true)) || listed.contains(&"null");
            if is_nullable {
                read.insert("nullable".into(), true.into());
            }
        }
        let choices = keywords.get("const").map(|one| json!([one])).or_else(|| keywords.get("enum").cloned());
        if let Some(choices) = choices.filter(|list| list.as_array().is_some_and(|list| !list.is_empty())) {
            read.insert("enum".into(), choices);
        }
    }

    fn members(&self, keywords: &Map<String, Value>, depth: usize, read: &mut Map<String, Value>) {
        if let Some(members) = keywords.get("properties").and_then(Value::as_object) {
            let members = members.iter().map(|(name, schema)| (name.clone(), self.schema(schema, depth + 1)));
            read.insert("properties".into(), members.collect());
        }
        if let Some(names) = keywords.get("required").and_then(Value::as_array) {
            let mut names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            names.sort_unstable();
            names.dedup();
            if !names.is_empty() {
                read.insert("required".into(), json!(names));
            }
        }
        match keywords.get("additionalProperties") {
            Some(Value::Bool(flag)) => drop(read.insert("additionalProperties".into(), (*flag).into())),
            Some(schema @ Value::Object(_)) => {
                read.insert("additionalProperties".into(), self.schema(schema, depth + 1));
            }
            _ => {}
        }
        // OpenAPI 3.0 wants to know what an array holds.
        if read.get("type").is_some_and(|kind| kind == "array") {
            let items = keywords.get("items").map_or_else(|| json!({}), |items| self.schema(items, depth + 1));
            read.insert("items".into(), items);
        }
    }

    /// `null` among alternatives makes the others nullable.
    fn alternatives(&self, word: &str, list: &[Value], depth: usize, read: &mut Map<String, Value>) {
        let (nulls, others): (Vec<&Value>, Vec<&Value>) = list.iter().partition(|one| one["type"] == "null");
        let mut others: Vec<Value> = others.into_iter().map(|one| self.schema(one, depth + 1)).collect();
        if !nulls.is_empty() && word != "allOf" {
            others = others.into_iter().map(or_null).collect();
        }
        match others.len() {
            0 => {}
            1 if others[0].is_object() && !others[0].as_object().is_some_and(|one| one.contains_key("$ref")) => {
                let Some(Value::Object(only)) = others.pop() else { return };
                for (key, value) in only {
                    read.entry(key).or_insert(value);
                }
            }
            _ => drop(read.insert(word.into(), others.into())),
        }
    }
}

fn is_kind(kind: &str) -> bool {
    matches!(kind, "object" | "array" | "string" | "number" | "integer" | "boolean")
}

/// The schema, or null. One that is only a reference says so beside it.
fn or_null(mut schema: Value) -> Value {
    match schema.as_object_mut() {
        Some(object) if object.contains_key("type") => {
            object.insert("nullable".into(), true.into());
            schema
        }
        Some(object) if object.contains_key("$ref") => json!({"anyOf": [
            schema, {"type": "string", "nullable": true, "enum": [null]},
        ]}),
        _ => schema,
    }
}

/// Numbers, lengths and words. OpenAPI 3.1 has exclusive bounds of their own, 3.0 says that a bound is exclusive.
fn limits(keywords: &Map<String, Value>, read: &mut Map<String, Value>) {
    let mut keep = |words: &[&str], fits: fn(&Value) -> bool| {
        for word in words {
            if let Some(value) = keywords.get(*word).filter(|value| fits(value)) {
                read.insert((*word).into(), value.clone());
            }
        }
    };
    keep(&NUMBERS, Value::is_number);
    keep(&LENGTHS, Value::is_u64);
    keep(&TEXTS, Value::is_string);
    keep(&["uniqueItems", "readOnly", "writeOnly"], Value::is_boolean);
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match keywords.get(exclusive) {
            Some(limit @ Value::Number(_)) => {
                read.insert(bound.into(), limit.clone());
                read.insert(exclusive.into(), true.into());
            }
            Some(Value::Bool(true)) if read.contains_key(bound) => drop(read.insert(exclusive.into(), true.into())),
            _ => {}
        }
    }
    if read.get("multipleOf").and_then(Value::as_f64).is_some_and(|step| step <= 0.0) {
        read.remove("multipleOf");
    }
}
