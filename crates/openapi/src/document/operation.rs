//! The operation of one function.

use kea_core::{Function, Layout};
use serde_json::{Map, Value, json};

use super::{
    Document, FUNCTIONS_TAG, answers,
    example::{self, ExampleInputs},
    samples::Call,
};

/// Longest summary, in characters: pages show it on one line.
const SUMMARY: usize = 120;

/// A function of which nothing is known but its name.
pub(super) fn unknown(name: &str) -> Function {
    Function {
        name: name.to_owned(),
        description: String::new(),
        layout: Layout::Opaque,
        inputs: Vec::new(),
        outputs: Vec::new(),
        idempotent: false,
        deterministic: true,
    }
}

impl Document<'_> {
    /// The operation that calls a function.
    pub(super) fn operation(&mut self, function: &Function, notes: &[String]) -> Value {
        let examples = self.examples(function);
        let mut operation = json!({
            "operationId": function.name,
            "summary": short(&function.description, &function.name),
            "tags": [FUNCTIONS_TAG],
            "parameters": [self.version()],
            "requestBody": {"required": true, "content": {"application/json": self.body(function, &examples)}},
            "responses": answers::responses(self.success(function, &examples)),
        });
        if !function.description.is_empty() {
            operation["description"] = function.description.clone().into();
        }
        if !notes.is_empty() {
            operation["x-kea-incomplete"] = notes.into();
        }
        if let Some(samples) = examples.first().map(|example| self.samples(function, example)) {
            operation["x-codeSamples"] = samples;
        }
        operation
    }

    fn samples(&self, function: &Function, example: &ExampleInputs) -> Value {
        let (url, body) = (self.url_of(&function.name), json!({"inputs": example.inputs}));
        Call { url: &url, body: &body, with_token: !self.info.public }.samples()
    }

    fn version(&self) -> Value {
        let mut version = json!({
            "name": "version",
            "in": "query",
            "description": "The version that is to answer; the live one where it is not given.",
            "schema": {"type": "string"},
        });
        if self.info.is_pinned {
            version["example"] = self.info.version.as_str().into();
        }
        version
    }

    /// Examples that the service's own validator takes.
    fn examples(&self, function: &Function) -> Vec<ExampleInputs> {
        let Some(validator) = &self.validator else { return Vec::new() };
        let is_taken = |example: &ExampleInputs| {
            let body = json!({"inputs": example.inputs}).to_string();
            validator.check(&function.name, body.as_bytes()).is_ok()
        };
        example::of_inputs(function).into_iter().filter(is_taken).collect()
    }

    fn body(&mut self, function: &Function, examples: &[ExampleInputs]) -> Value {
        let shown = |example: &ExampleInputs| Some(json!({"inputs": example.inputs}));
        with_examples(&self.request(function), examples, &shown)
    }

    fn success(&mut self, function: &Function, examples: &[ExampleInputs]) -> Value {
        let shown = |example: &ExampleInputs| example::of_predictions(function, example.rows);
        json!({
            "description": "The predictions.",
            "headers": answers::header_references(),
            "content": {"application/json": with_examples(&self.response(function), examples, &shown)},
        })
    }
}

fn with_examples(schema: &Value, examples: &[ExampleInputs], shown: &dyn Fn(&ExampleInputs) -> Option<Value>) -> Value {
    let named = |example: &ExampleInputs| {
        let value = shown(example)?;
        Some((example.name.to_owned(), json!({"summary": example.summary, "value": value})))
    };
    let examples: Map<String, Value> = examples.iter().filter_map(named).collect();
    let mut media = json!({"schema": schema});
    if !examples.is_empty() {
        media["examples"] = examples.into();
    }
    media
}

/// The first sentence of the description.
pub(super) fn short(description: &str, name: &str) -> String {
    let paragraph = description.split("\n\n").next().unwrap_or_default();
    let sentence = paragraph.split_inclusive(". ").next().unwrap_or_default().trim().trim_end_matches('.');
    match sentence.char_indices().nth(SUMMARY) {
        _ if sentence.is_empty() => format!("Call {name}"),
        Some((end, _)) => format!("{}…", &sentence[..end]),
        None => sentence.to_owned(),
    }
}
