//! A service's client as one module of Python, made from the service's document. It needs Python alone.

mod names;
mod types;

use serde_json::Value;

use self::{
    names::{Names, camel, identifier},
    types::Types,
};
use crate::literal::quoted;

/// What every module has, whatever the service: the error, and the call.
const ERROR: &str = include_str!("client/error.py");
const CALL: &str = include_str!("client/call.py");

/// Names that types have, and that would mean something else within the class.
const TYPES: [&str; 10] = ["ABSENT", "Absent", "Any", "Literal", "bool", "dict", "float", "int", "list", "str"];

/// Writes the module for the functions in a document of [`crate::document::service_document`].
///
/// `version` is asked for in each call; `None` calls the version that is live then.
pub fn python(document: &Value, service: &str, server: &str, version: Option<&str>) -> String {
    let functions: Vec<Function<'_>> = functions(document, service);
    let mut types = Types::new(document);
    let mut methods = Names::new(&[&TYPES[..], &["_call"]].concat());
    let methods: Vec<String> = functions.iter().map(|function| function.method(&mut types, &mut methods)).collect();
    let about = text(&document["info"]["description"]);
    let of_version = version.map(|version| format!(", version {version}")).unwrap_or_default();
    let head = docstring(
        &[
            &format!(
                "Client of the service {service}{of_version}, as `kea client` writes it. It needs Python 3.11 or newer."
            ),
            about,
        ],
        "",
    );
    let constants = [
        format!("SERVER = {}", quoted(server)),
        format!("SERVICE = {}", quoted(service)),
        format!("VERSION: str | None = {}", version.map_or("None".into(), quoted)),
    ];
    let declared = types.declarations();
    let used = used(&format!("{declared}{}", methods.concat()));
    [
        head,
        "from __future__ import annotations\n".into(),
        format!(
            "import json\nimport os\nimport ssl\nimport urllib.error\nimport urllib.parse\nimport \
             urllib.request\nfrom typing import {}\n",
            used.join(", ")
        ),
        format!("{}\n", constants.join("\n")),
        format!("\n{ERROR}"),
        declared,
        format!("{CALL}\n{}", methods.join("\n")),
    ]
    .join("\n")
}

/// The words of `typing` that a module uses. `Any` is always one.
fn used(code: &str) -> Vec<&'static str> {
    let words = ["Any", "Literal", "NotRequired", "TypedDict"];
    words.into_iter().filter(|word| *word == "Any" || code.contains(word)).collect()
}

/// One function of a service.
struct Function<'d> {
    name: &'d str,
    operation: &'d Value,
}

fn functions<'d>(document: &'d Value, service: &str) -> Vec<Function<'d>> {
    let own = format!("/services/{service}/");
    let of_path = |(path, methods): (&'d String, &'d Value)| {
        let (_, name) = path.split_once(&own)?;
        let operation = methods.get("post")?;
        body(operation).is_object().then_some(Function { name, operation })
    };
    document["paths"].as_object().into_iter().flatten().filter_map(of_path).collect()
}

/// The schema of what a function takes; web applications' own operations have none.
fn body(operation: &Value) -> &Value {
    &operation["requestBody"]["content"]["application/json"]["schema"]["properties"]["inputs"]
}

/// A parameter, and the input that it is.
struct Parameter<'d> {
    name: String,
    input: &'d str,
    kind: String,
    schema: &'d Value,
    is_required: bool,
}

impl<'d> Function<'d> {
    fn method(&self, types: &mut Types<'_>, methods: &mut Names) -> String {
        let parameters = self.parameters(types);
        let returned = self.prediction(types);
        let name = methods.of(&identifier(self.name));
        let star = if parameters.is_empty() { "" } else { ", *" };
        let declared: Vec<String> = parameters.iter().map(Parameter::declared).collect();
        let sent: Vec<String> =
            parameters.iter().map(|one| format!("            {}: {},\n", quoted(one.input), one.name)).collect();
        let mut words = vec![text(&self.operation["description"]).to_owned()];
        words.extend(parameters.iter().filter_map(Parameter::words));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let about = match words.iter().all(|text| text.is_empty()) {
            true => docstring(&[&format!("Calls {}.", self.name)], "        "),
            false => docstring(&words, "        "),
        };
        format!(
            "    def {name}(self{star}{}) -> list[{returned}]:\n{about}        predictions: list[{returned}] = self._call({}, \
             {{\n{}        }})\n        return predictions\n",
            declared.concat(),
            quoted(self.name),
            sent.concat(),
        )
    }

    fn parameters(&self, types: &mut Types<'_>) -> Vec<Parameter<'d>> {
        let inputs = body(self.operation);
        let required = |name: &str| inputs["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        let mut names = Names::new(&[&TYPES[..], &["self", "predictions"]].concat());
        let properties = inputs["properties"].as_object().into_iter().flatten();
        let parameter = |(input, schema): (&'d String, &'d Value)| Parameter {
            name: names.of(&identifier(input)),
            kind: types.of(schema, &format!("{}{}", camel(self.name), camel(input))),
            is_required: required(input),
            input,
            schema,
        };
        properties.map(parameter).collect()
    }

    fn prediction(&self, types: &mut Types<'_>) -> String {
        let answer = &self.operation["responses"]["200"]["content"]["application/json"]["schema"];
        types.of(&answer["properties"]["predictions"]["items"], &format!("{}Prediction", camel(self.name)))
    }
}

impl Parameter<'_> {
    fn declared(&self) -> String {
        let Self { name, kind, .. } = self;
        match self.is_required {
            true => format!(", {name}: {kind}"),
            false => format!(", {name}: {kind} | Absent = ABSENT"),
        }
    }

    /// What the document says of the input.
    fn words(&self) -> Option<String> {
        let said = ["minimum", "maximum", "default"].iter().filter_map(|word| Some((word, self.schema.get(word)?)));
        let said: Vec<String> = said.map(|(word, value)| format!("{word} {value}")).collect();
        let words = [text(&self.schema["description"]).to_owned(), said.join(", ")];
        let words: Vec<String> = words.into_iter().filter(|text| !text.is_empty()).collect();
        (!words.is_empty()).then(|| format!("{}: {}", self.name, words.join(" ")))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Paragraphs as a docstring that ends with a new line.
fn docstring(paragraphs: &[&str], indent: &str) -> String {
    let told: Vec<&str> = paragraphs.iter().copied().filter(|text| !text.is_empty()).collect();
    let escaped = told.join("\n\n").replace('\\', "\\\\").replace("\"\"\"", "\\\"\\\"\\\"");
    let lines: Vec<String> = escaped.lines().map(|line| format!("{indent}{line}").trim_end().to_owned()).collect();
    let whole = lines.join("\n").split_off(indent.len());
    // A text that ends with a quote would end the docstring one quote too early.
    match lines.len() == 1 && !whole.ends_with('"') {
        true => format!("{indent}\"\"\"{whole}\"\"\"\n"),
        false => format!("{indent}\"\"\"{whole}\n{indent}\"\"\"\n"),
    }
}

#[cfg(test)]
mod tests;
