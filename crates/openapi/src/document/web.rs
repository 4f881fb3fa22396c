//! Operations of an existing web service in the document of the service that they stand behind.

use std::sync::Arc;

use kea_core::{
    Contract, Field, Function, Layout, ValueType,
    contract::web::{WebAnswer, WebBody, WebOperation, WebParameter},
};
use serde_json::{Map, Value, json};

use super::{
    Document, answers, example,
    operation::{short, unknown},
};
use crate::validate::Validator;

/// Tag of what a web service answers by itself.
pub(super) const TAG: &str = "Web service";

impl Document<'_> {
    /// The operations by path and method.
    pub(super) fn web_paths(&mut self, operations: &[WebOperation], incomplete: &[String]) -> Map<String, Value> {
        let mut paths = Map::new();
        for operation in operations {
            let path = self.path_of(operation.path.trim_start_matches('/'));
            let described = self.web_operation(operation, incomplete);
            let methods = paths.entry(path).or_insert_with(|| json!({}));
            methods[operation.method.as_str()] = described;
        }
        paths
    }

    fn web_operation(&mut self, operation: &WebOperation, incomplete: &[String]) -> Value {
        let WebOperation { name, method: _, path: _, description, deprecated, parameters, body, answers } = operation;
        let mut described = json!({"operationId": name, "summary": short(description, name), "tags": [TAG]});
        if !description.is_empty() {
            described["description"] = description.as_str().into();
        }
        if *deprecated {
            described["deprecated"] = true.into();
        }
        if !parameters.is_empty() {
            described["parameters"] = parameters.iter().map(|parameter| self.web_parameter(name, parameter)).collect();
        }
        if let Some(body) = body {
            described["requestBody"] = self.web_body(name, body);
        }
        described["responses"] = self.web_answers(name, answers);
        let notes: Vec<&String> = incomplete.iter().filter(|note| note.starts_with(&format!("`{name}`"))).collect();
        if !notes.is_empty() {
            described["x-kea-incomplete"] = json!(notes);
        }
        described
    }

    fn web_parameter(&mut self, operation: &str, parameter: &WebParameter) -> Value {
        let WebParameter { place, field } = parameter;
        let mut schema = match &field.value {
            ValueType::Json { schema } => self.hoisted(schema, &format!("{operation}_{}", field.name)),
            ValueType::Scalar { datatype } | ValueType::Tensor { datatype, .. } => {
                super::schema::element(field, *datatype)
            }
        };
        if let (Some(default), Some(object)) = (&field.default, schema.as_object_mut()) {
            object.insert("default".into(), default.clone());
        }
        let mut described = json!({
            "name": field.name, "in": place.as_str(), "required": field.required, "schema": schema,
        });
        if !field.description.is_empty() {
            described["description"] = field.description.as_str().into();
        }
        if let Some(example) = &field.example {
            described["example"] = example.clone();
        }
        described
    }

    fn web_body(&mut self, operation: &str, body: &WebBody) -> Value {
        let mut media = json!({"schema": self.hoisted(&body.schema, &format!("{operation}_body"))});
        if let Some(example) = example::of_schema(&body.schema).filter(|example| fits(&body.schema, example)) {
            media["example"] = example;
        }
        json!({"required": body.required, "content": {&body.media_type: media}})
    }

    /// Its own answers, and those of KEA for statuses that it does not have itself.
    fn web_answers(&mut self, operation: &str, own: &[WebAnswer]) -> Value {
        let mut answers = answers::passed_on();
        for answer in own {
            answers.insert(answer.status.to_string(), self.web_answer(operation, answer));
        }
        if !own.iter().any(|answer| answer.status < 400) {
            answers.insert("default".into(), json!({"description": "What the web service answers."}));
        }
        answers.into()
    }

    fn web_answer(&mut self, operation: &str, answer: &WebAnswer) -> Value {
        let mut described = json!({"description": answer.description});
        let Some(media_type) = &answer.media_type else { return described };
        let schema =
            answer.schema.as_ref().map(|schema| self.hoisted(schema, &format!("{operation}_{}", answer.status)));
        let media = schema.map_or_else(|| json!({}), |schema| json!({"schema": schema}));
        described["content"] = json!({media_type: media});
        described
    }
}

/// Whether a value fits a schema, by the validator that functions have.
fn fits(schema: &Value, value: &Value) -> bool {
    let field = Field::new("body", ValueType::Json { schema: schema.clone() });
    let function = Function { layout: Layout::Arguments, inputs: vec![field], ..unknown("any") };
    let contract = Contract { functions: vec![function], ..Contract::default() };
    let body = json!({"inputs": {"body": value}}).to_string();
    Validator::compile(Arc::new(contract)).is_ok_and(|validator| validator.check("any", body.as_bytes()).is_ok())
}
