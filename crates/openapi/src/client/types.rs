//! Schemas of OpenAPI as types of Python. What a type cannot say, as a range, is left to the service.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    docstring,
    names::{Names, camel, is_identifier, of_class},
    text,
};
use crate::literal::quoted;

/// Words that a module uses for itself.
const TAKEN: [&str; 8] = ["Absent", "Any", "Client", "KeaError", "Literal", "NotRequired", "TypedDict", "ABSENT"];

/// Nesting that is followed; beyond it, anything goes.
const DEPTH: usize = 24;

/// Types of one module, and what they refer to.
pub(super) struct Types<'d> {
    document: &'d Value,
    names: Names,
    /// Classes by the reference that means them.
    known: BTreeMap<String, String>,
    declared: Vec<String>,
    depth: usize,
}

impl<'d> Types<'d> {
    pub(super) fn new(document: &'d Value) -> Self {
        Self { document, names: Names::new(&TAKEN), known: BTreeMap::new(), declared: Vec::new(), depth: 0 }
    }

    /// The classes, in the order in which they were met.
    pub(super) fn declarations(&self) -> String {
        self.declared.iter().map(|class| format!("\n{class}\n")).collect()
    }

    /// The type of a schema; `hint` is what a class for it is called.
    pub(super) fn of(&mut self, schema: &Value, hint: &str) -> String {
        if self.depth == DEPTH {
            return "Any".into();
        }
        self.depth += 1;
        let kind = self.without_null(schema, hint);
        self.depth -= 1;
        let is_null = schema["nullable"] == true && kind != "Any" && !kind.ends_with(" | None");
        if is_null { format!("{kind} | None") } else { kind }
    }

    fn without_null(&mut self, schema: &Value, hint: &str) -> String {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.referred(reference);
        }
        if let Some(choices) = schema["enum"].as_array() {
            return literal(choices);
        }
        for several in ["anyOf", "oneOf"] {
            if let Some(members) = schema[several].as_array() {
                return self.one_of(members, hint);
            }
        }
        if let Some([only]) = schema["allOf"].as_array().map(Vec::as_slice) {
            return self.of(only, hint);
        }
        match text(&schema["type"]) {
            "boolean" => "bool".into(),
            "integer" => "int".into(),
            "number" => "float".into(),
            "string" => "str".into(),
            "array" => format!("list[{}]", self.of(&schema["items"], hint)),
            "object" => self.object(schema, hint),
            _ => "Any".into(),
        }
    }

    fn one_of(&mut self, members: &[Value], hint: &str) -> String {
        let mut kinds: Vec<String> = Vec::new();
        for member in members {
            let kind = self.of(member, hint);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        if kinds.iter().any(|kind| kind == "Any") { "Any".into() } else { kinds.join(" | ") }
    }

    fn referred(&mut self, reference: &str) -> String {
        if let Some(known) = self.known.get(reference) {
            return known.clone();
        }
        let found = reference.strip_prefix('#').and_then(|pointer| self.document.pointer(pointer));
        let Some(schema) = found.cloned() else { return "Any".into() };
        let hint = camel(reference.rsplit('/').next().unwrap_or_default());
        if schema["properties"].is_object() {
            // It is known before its members are, as they may refer to it.
            let name = self.names.of(&of_class(&hint));
            self.known.insert(reference.to_owned(), name.clone());
            self.class(&name, &schema);
            return name;
        }
        self.of(&schema, &hint)
    }

    fn object(&mut self, schema: &Value, hint: &str) -> String {
        match (&schema["properties"], &schema["additionalProperties"]) {
            (Value::Object(properties), _) if !properties.is_empty() => {
                let name = self.names.of(&of_class(hint));
                self.class(&name, schema);
                name
            }
            (_, Value::Object(_)) => format!("dict[str, {}]", self.of(&schema["additionalProperties"], hint)),
            _ => "dict[str, Any]".into(),
        }
    }

    fn class(&mut self, name: &str, schema: &Value) {
        let place = self.declared.len();
        self.declared.push(String::new());
        let none = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        let required =
            |member: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == member));
        let members: Vec<(&str, String)> = properties
            .iter()
            .map(|(member, schema)| {
                let kind = self.of(schema, &format!("{name}{}", camel(member)));
                (member.as_str(), if required(member) { kind } else { format!("NotRequired[{kind}]") })
            })
            .collect();
        self.declared[place] = match members.iter().all(|(member, _)| is_identifier(member)) {
            true => {
                let lines: String = members.iter().map(|(member, kind)| format!("    {member}: {kind}\n")).collect();
                let about = text(&schema["description"]);
                let about = if about.is_empty() { String::new() } else { docstring(&[about], "    ") + "\n" };
                format!("class {name}(TypedDict):\n{about}{lines}")
            }
            // Types are texts, as they may be declared further below.
            false => {
                let entry = |(member, kind): &(&str, String)| format!("    {}: {},\n", quoted(member), quoted(kind));
                let entries: String = members.iter().map(entry).collect();
                format!("{name} = TypedDict({}, {{\n{entries}}})\n", quoted(name))
            }
        };
    }
}

/// The only values that there are. Numbers with a fraction cannot be told so.
fn literal(choices: &[Value]) -> String {
    let word = |choice: &Value| match choice {
        Value::String(text) => Some(quoted(text)),
        Value::Bool(flag) => Some(if *flag { "True" } else { "False" }.to_owned()),
        Value::Null => Some("None".to_owned()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    };
    let words: Option<Vec<String>> = choices.iter().map(word).collect();
    match words {
        Some(words) if !words.is_empty() => format!("Literal[{}]", words.join(", ")),
        _ if choices.iter().all(Value::is_number) => "float".into(),
        _ => "Any".into(),
    }
}
