//! Schemas that others refer to: a contract keeps them in `$defs` beside the schema, a document in its components.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Document;

/// Where a contract's schema keeps what it refers to.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

impl Document<'_> {
    /// The schema with its definitions moved to the components, under names that begin with `prefix`.
    pub(super) fn hoisted(&mut self, schema: &Value, prefix: &str) -> Value {
        let Value::Object(schema) = schema else { return schema.clone() };
        let mut schema = schema.clone();
        let mut names = HashMap::new();
        let mut moved = Vec::new();
        for kept in DEFINITIONS {
            let Some(Value::Object(definitions)) = schema.remove(kept) else { continue };
            for (name, definition) in definitions {
                let key = self.free_key(&format!("{prefix}_{name}"));
                self.schemas.insert(key.clone(), Value::Null);
                names.insert(format!("#/{kept}/{}", pointer_part(&name)), format!("#/components/schemas/{key}"));
                moved.push((key, definition));
            }
        }
        for (key, definition) in moved {
            self.schemas.insert(key, redirected(definition, &names));
        }
        redirected(Value::Object(schema), &names)
    }

    /// A name that components may have and none has yet.
    fn free_key(&self, wanted: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let wanted: String = wanted.chars().map(plain).collect();
        let numbered = (2..).map(|number| format!("{wanted}_{number}"));
        let free = |key: &String| !self.schemas.contains_key(key);
        std::iter::once(wanted.clone()).chain(numbered).find(free).unwrap_or(wanted)
    }
}

fn pointer_part(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn redirected(value: Value, names: &HashMap<String, String>) -> Value {
    match value {
        Value::Object(object) => {
            object.into_iter().map(|(key, value)| redirect(key, value, names)).collect::<Map<_, _>>().into()
        }
        Value::Array(values) => values.into_iter().map(|value| redirected(value, names)).collect(),
        other => other,
    }
}

fn redirect(key: String, value: Value, names: &HashMap<String, String>) -> (String, Value) {
    let target = value.as_str().filter(|_| key == "$ref").and_then(|reference| names.get(reference));
    match target {
        Some(target) => (key, target.as_str().into()),
        None => (key, redirected(value, names)),
    }
}
