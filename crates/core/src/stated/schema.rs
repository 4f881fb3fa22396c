//! A field that a JSON schema describes, as an argument of a Python function.

use serde_json::{Map, Value, json};

use super::{Contradiction, Place, StatedField, fields};

/// Words of a schema that say nothing of values.
const SILENT: [&str; 6] = ["default", "deprecated", "description", "example", "nullable", "title"];

/// Refines the type; whether there was none before.
pub(super) fn refine(schema: &mut Value, stated: &StatedField, place: &Place) -> Result<bool, Contradiction> {
    if stated.kind.is_none() && stated.shape.is_none() {
        // What takes a few values alone is known, of whatever type they are.
        return Ok(is_open(schema) && !stated.choices.is_empty());
    }
    let element = stated.kind.map_or_else(|| json!({}), |kind| json!({"type": kind.in_json()}));
    let wanted = stated.shape.iter().flatten().rev().fold(element, |items, length| array(&items, *length));
    let was_open = is_open(schema);
    narrow(schema, &wanted, place)?;
    Ok(was_open)
}

fn array(items: &Value, length: i64) -> Value {
    let mut array = json!({"type": "array", "items": items});
    if length >= 0 {
        (array["minItems"], array["maxItems"]) = (length.into(), length.into());
    }
    array
}

/// Whether it takes anything.
fn is_open(schema: &Value) -> bool {
    schema.as_object().is_some_and(|words| words.keys().all(|word| SILENT.contains(&word.as_str())))
}

fn narrow(found: &mut Value, stated: &Value, place: &Place) -> Result<(), Contradiction> {
    let (open, Value::Object(stated_words)) = (is_open(found), stated) else { return Ok(()) };
    let Value::Object(words) = found else { return Ok(()) };
    if open {
        words.extend(stated_words.clone());
        return Ok(());
    }
    if stated_words.is_empty() {
        return Ok(());
    }
    kind(words, stated_words, place)?;
    for bound in ["minItems", "maxItems"] {
        let Some(length) = stated_words.get(bound).and_then(Value::as_i64) else { continue };
        let excludes = |there: &i64| if bound == "minItems" { *there > length } else { *there < length };
        if let Some(there) = words.get(bound).and_then(Value::as_i64).filter(excludes) {
            let stated = format_args!("a dimension of {length}");
            return Err(place.contradicts("shape", stated, format_args!("has {bound} {there}")));
        }
        words.insert(bound.into(), length.into());
    }
    match stated_words.get("items") {
        Some(items) => narrow(words.entry("items").or_insert_with(|| json!({})), items, place),
        None => Ok(()),
    }
}

/// The found type is the stated one, or becomes it where that is narrower.
fn kind(found: &mut Map<String, Value>, stated: &Map<String, Value>, place: &Place) -> Result<(), Contradiction> {
    let wanted = stated.get("type").and_then(Value::as_str).unwrap_or_default();
    match found.get("type").and_then(Value::as_str) {
        Some(there) if there == wanted => Ok(()),
        Some("number") if wanted == "integer" => {
            found.insert("type".into(), wanted.into());
            Ok(())
        }
        there => {
            let keyword = if [Some(wanted), there].contains(&Some("array")) { "shape" } else { "type" };
            let there = there.map_or("is of several types".into(), |there| format!("is of type {there}"));
            Err(place.contradicts(keyword, wanted, there))
        }
    }
}

/// Narrows range and choices, of the elements where it is an array.
pub(super) fn limits(schema: &mut Value, stated: &StatedField, place: &Place) -> Result<(), Contradiction> {
    let keyword = match stated {
        StatedField { minimum: Some(_), .. } => "minimum",
        StatedField { maximum: Some(_), .. } => "maximum",
        StatedField { choices, .. } if !choices.is_empty() => "enum",
        _ => return Ok(()),
    };
    let element = innermost(schema);
    let kind = element.get("type").and_then(Value::as_str).unwrap_or("something else").to_owned();
    let has_range = ["number", "integer"].contains(&kind.as_str());
    match element {
        Value::Object(words) if has_range || keyword == "enum" => {
            range(words, stated, place)?;
            choose(words, stated, place)
        }
        _ => Err(place.contradicts(keyword, "a range", format_args!("is {kind} and not known to be a number"))),
    }
}

fn innermost(schema: &mut Value) -> &mut Value {
    if schema["type"] == "array" && schema["items"].is_object() {
        return innermost(&mut schema["items"]);
    }
    schema
}

fn range(words: &mut Map<String, Value>, stated: &StatedField, place: &Place) -> Result<(), Contradiction> {
    let found = |words: &Map<String, Value>, bound: &str| words.get(bound).and_then(Value::as_f64);
    if let Some(minimum) = stated.minimum {
        let before = found(words, "minimum");
        let minimum = fields::at_least(before, minimum, place)?;
        set(words, "minimum", "exclusiveMinimum", minimum, before);
    }
    if let Some(maximum) = stated.maximum {
        let before = found(words, "maximum");
        let maximum = fields::at_most(before, maximum, place)?;
        set(words, "maximum", "exclusiveMaximum", maximum, before);
    }
    fields::is_not_empty(found(words, "minimum"), found(words, "maximum"), stated, place)
}

/// Sets a bound. One that is narrower than the found one is itself a value.
fn set(words: &mut Map<String, Value>, bound: &str, exclusive: &str, stated: f64, before: Option<f64>) {
    if before != Some(stated) {
        words.remove(exclusive);
        words.insert(bound.into(), stated.into());
    }
}

fn choose(words: &mut Map<String, Value>, stated: &StatedField, place: &Place) -> Result<(), Contradiction> {
    if stated.choices.is_empty() {
        return Ok(());
    }
    let found = words.get("enum").and_then(Value::as_array).cloned().unwrap_or_default();
    fields::among(&found, &stated.choices, place)?;
    words.insert("enum".into(), stated.choices.clone().into());
    Ok(())
}
