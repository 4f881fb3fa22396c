//! Reads `schema.json` of a skops file, which describes the model's objects one within the other.

use serde_json::Value;

use crate::pickle::{Mentions, version};

/// What the objects are, in the words of a pickle.
pub(crate) fn mentions(schema: &Value) -> Mentions {
    let mut found = Mentions::default();
    if let (Some(module), Some(class)) = (text(schema, "__module__"), text(schema, "__class__")) {
        found.root = Some((module.to_owned(), class.to_owned()));
    }
    visit(schema, &mut found);
    found
}

fn visit(value: &Value, found: &mut Mentions) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| visit(item, found)),
        Value::Object(fields) => {
            object(value, found);
            if let Some(recorded) = fields.get("_sklearn_version") {
                found.sklearn = text(recorded, "content").and_then(|content| version(content.trim_matches('"')));
            }
            found.frames |= fields.contains_key("feature_names_in_");
            fields.values().for_each(|field| visit(field, found));
        }
        _ => {}
    }
}

fn object(value: &Value, found: &mut Mentions) {
    let Some(module) = text(value, "__module__") else { return };
    let package = module.split('.').next().unwrap_or(module);
    let class = text(value, "__class__").unwrap_or_default();
    if package == "__main__" {
        found.own = Some(class.to_owned());
    }
    found.frames |= class == "ColumnTransformer";
    found.imitates_sklearn |= matches!(module, "xgboost.sklearn" | "lightgbm.sklearn");
    found.packages.insert(package.to_owned());
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}
