//! Schemas as rows of a table: each field by its dotted name, with its type in words.

use serde_json::Value;

/// Levels of fields that are shown; deeper ones are in the document.
const DEPTH: usize = 4;

/// References that are followed one after the other.
const HOPS: usize = 8;

/// Choices that are listed.
const CHOICES: usize = 12;

/// Reads schemas, and what they refer to.
pub(super) struct Reader<'d> {
    pub(super) document: &'d Value,
}

impl<'d> Reader<'d> {
    /// What a reference refers to; anything else as it is.
    pub(super) fn resolved<'v>(&self, value: &'v Value) -> &'v Value
    where
        'd: 'v,
    {
        let mut value = value;
        for _ in 0..HOPS {
            let Some(pointer) = value.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'))
            else {
                break;
            };
            value = self.document.pointer(pointer).unwrap_or(&Value::Null);
        }
        value
    }

    /// Name, type, whether it is required, and description of each field, outer ones first.
    pub(super) fn fields(&self, schema: &Value) -> Vec<[String; 4]> {
        let mut rows = Vec::new();
        self.collect(schema, "", 0, &mut rows);
        rows
    }

    fn collect(&self, schema: &Value, outer: &str, depth: usize, rows: &mut Vec<[String; 4]>) {
        let schema = self.element(schema);
        let required = schema["required"].as_array();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let dotted = if outer.is_empty() { name.clone() } else { format!("{outer}.{name}") };
            let is_required = required.is_some_and(|names| names.iter().any(|required| required == name));
            let described = self.resolved(property)["description"].as_str().unwrap_or_default();
            let needed = if is_required { "yes" } else { "no" };
            rows.push([format!("`{dotted}`"), self.kind(property), needed.to_owned(), cell(described)]);
            if depth + 1 < DEPTH {
                self.collect(property, &dotted, depth + 1, rows);
            }
        }
    }

    /// The innermost elements of an array, whose fields are shown as the array's.
    fn element<'v>(&self, schema: &'v Value) -> &'v Value
    where
        'd: 'v,
    {
        let mut schema = self.resolved(schema);
        for _ in 0..HOPS {
            match schema.get("items") {
                Some(items) => schema = self.resolved(items),
                None => break,
            }
        }
        schema
    }

    /// A type in words, as `array of integer, at least 1`.
    pub(super) fn kind(&self, schema: &Value) -> String {
        cell(&self.words(schema, 0))
    }

    fn words(&self, schema: &Value, depth: usize) -> String {
        let schema = self.resolved(schema);
        if depth > DEPTH {
            return "…".to_owned();
        }
        let mut words = match (schema["type"].as_str(), alternatives(schema)) {
            (_, Some(members)) => {
                let members: Vec<String> = members.iter().map(|member| self.words(member, depth + 1)).collect();
                members.join(" or ")
            }
            (Some("array"), _) => format!("array of {}", self.words(&schema["items"], depth + 1)),
            (Some(kind), _) => schema["format"].as_str().map_or(kind.to_owned(), |format| format!("{kind} ({format})")),
            (None, _) => "anything".to_owned(),
        };
        words.push_str(&limits(schema));
        words
    }
}

fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    ["anyOf", "oneOf", "allOf"].into_iter().find_map(|keyword| schema.get(keyword)?.as_array())
}

/// What a schema says beyond its type.
fn limits(schema: &Value) -> String {
    let mut limits = String::new();
    let exclusive = |flag: &str| schema[flag] == true;
    let bound = |keyword: &str| schema.get(keyword).filter(|value| value.is_number());
    if let Some(low) = bound("minimum") {
        let word = if exclusive("exclusiveMinimum") { "more than" } else { "at least" };
        limits.push_str(&format!(", {word} {low}"));
    }
    if let Some(high) = bound("maximum") {
        let word = if exclusive("exclusiveMaximum") { "less than" } else { "at most" };
        limits.push_str(&format!(", {word} {high}"));
    }
    if let Some(choices) = schema["enum"].as_array() {
        let shown: Vec<String> = choices.iter().take(CHOICES).map(|choice| format!("`{choice}`")).collect();
        let more = if choices.len() > CHOICES { ", …" } else { "" };
        limits.push_str(&format!(", one of {}{more}", shown.join(", ")));
    }
    if schema["nullable"] == true {
        limits.push_str(" or null");
    }
    if let Some(default) = schema.get("default") {
        limits.push_str(&format!(" = `{default}`"));
    }
    limits
}

/// A text that stays within its cell.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A row of a table.
pub(super) fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}
