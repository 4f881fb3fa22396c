//! The paths of the Open Inference Protocol V2, which clients of other servers know.

use kea_core::{Datatype, Function, Layout, ValueType};
use serde_json::{Map, Value, json};

use super::{Document, V2_TAG, answers, example};

/// Name of the one tensor that a matrix of features is.
const MATRIX: &str = "input";

impl Document<'_> {
    /// The paths of the protocol; none where the function takes no tensors.
    pub(super) fn v2_paths(&mut self, function: &Function) -> Map<String, Value> {
        if !matches!(function.layout, Layout::Features | Layout::Tensors) {
            return Map::new();
        }
        self.schemas.extend(schemas());
        let model = format!("/v2/models/{}", self.info.service);
        let infer = json!({"post": self.infer(function)});
        Map::from_iter([(format!("{model}/infer"), infer), (model, json!({"get": metadata()}))])
    }

    fn infer(&self, function: &Function) -> Value {
        let mut request = json!({"schema": reference("V2Request")});
        if let Some(example) = self.v2_example(function) {
            request["example"] = example;
        }
        json!({
            "operationId": "v2-infer",
            "summary": "Run the model on tensors",
            "tags": [V2_TAG],
            "requestBody": {"required": true, "content": {"application/json": request}},
            "responses": responses("The output tensors.", "V2Response", |_| true),
        })
    }

    /// The example of one row as tensors, where the service's own validator takes it.
    fn v2_example(&self, function: &Function) -> Option<Value> {
        let one = example::of_inputs(function).into_iter().next()?.inputs;
        let inputs = match function.matrix_datatype() {
            Some(datatype) => {
                let row: Vec<Value> =
                    function.inputs.iter().map(|field| one.get(&field.name).cloned()).collect::<Option<_>>()?;
                vec![json!({"name": MATRIX, "shape": [1, row.len()], "datatype": datatype, "data": row})]
            }
            None => function.inputs.iter().filter_map(|field| tensor(field, one.get(&field.name)?)).collect(),
        };
        let request = json!({"inputs": inputs});
        let body = request.to_string();
        let taken = self.validator.as_ref()?.decode_v2(&function.name, body.as_bytes()).is_ok();
        taken.then_some(request)
    }
}

/// One row of a field as a tensor with its dimension of rows.
fn tensor(field: &kea_core::Field, row: &Value) -> Option<Value> {
    let (datatype, shape) = match &field.value {
        ValueType::Scalar { datatype } => (*datatype, vec![-1]),
        ValueType::Tensor { datatype, shape } => (*datatype, shape.clone()),
        ValueType::Json { .. } => return None,
    };
    let mut data = Vec::new();
    flatten(row, &mut data);
    let shape: Vec<i64> = shape.into_iter().map(|length| if length == -1 { 1 } else { length }).collect();
    Some(json!({"name": field.name, "shape": shape, "datatype": datatype, "data": data}))
}

fn flatten(value: &Value, into: &mut Vec<Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, into)),
        element => into.push(element.clone()),
    }
}

fn metadata() -> Value {
    json!({
        "operationId": "v2-metadata",
        "summary": "Name, versions and tensors of the model",
        "tags": [V2_TAG],
        "responses": responses("The model's metadata.", "V2Metadata", |status| METADATA_ERRORS.contains(&status)),
    })
}

/// Status and meaning of each error.
const ERRORS: [(u16, &str); 11] = [
    (400, "The request does not fit the model."),
    (401, "There is no valid token."),
    (403, "The token's user may not call the model."),
    (404, "There is no such model."),
    (413, "The body is larger than the service takes."),
    (415, "The body is no JSON."),
    (429, "The caller sends more than it may."),
    (500, "The model raised an error."),
    (502, "The replica could not be reached or broke off."),
    (503, "No replica can take the request now."),
    (504, "The replica did not answer in time."),
];

/// Those that there are where no model is called.
const METADATA_ERRORS: [u16; 4] = [401, 403, 404, 503];

/// The success and the errors that there can be. The protocol has one form of these, whatever their cause.
fn responses(words: &str, success: &str, can_be: impl Fn(u16) -> bool) -> Value {
    let errors = ERRORS.iter().filter(|(status, _)| can_be(*status));
    let error = |(status, words): &(u16, &str)| {
        let content = json!({"application/json": {"schema": reference("V2Error")}});
        (status.to_string(), json!({"description": words, "content": content}))
    };
    let answer = json!({
        "description": words,
        "headers": answers::header_references(),
        "content": {"application/json": {"schema": reference(success)}},
    });
    Value::Object([("200".to_owned(), answer)].into_iter().chain(errors.map(error)).collect())
}

fn schemas() -> Map<String, Value> {
    let text = json!({"type": "string"});
    let shape =
        json!({"type": "array", "items": {"type": "integer"}, "description": "-1 stands for a variable length."});
    let described = json!({
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {"name": text, "datatype": reference("V2Datatype"), "shape": shape},
    });
    let tensor = json!({
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": text,
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": reference("V2Datatype"),
            "parameters": {"type": "object"},
            "data": {"type": "array", "items": {}, "description": "The elements in row-major order, flat or nested."},
        },
    });
    let wanted = json!({
        "type": "object",
        "required": ["name"],
        "properties": {"name": text, "parameters": {"type": "object"}},
    });
    let schemas = [
        ("V2Datatype", json!({"type": "string", "enum": Datatype::ALL.map(Datatype::as_str)})),
        ("V2Tensor", tensor),
        ("V2TensorMetadata", described),
        (
            "V2Request",
            json!({
                "type": "object",
                "required": ["inputs"],
                "properties": {
                    "id": text,
                    "parameters": {"type": "object"},
                    "inputs": {"type": "array", "minItems": 1, "items": reference("V2Tensor")},
                    "outputs": {"type": "array", "items": wanted},
                },
            }),
        ),
        (
            "V2Response",
            json!({
                "type": "object",
                "required": ["model_name", "outputs"],
                "properties": {
                    "model_name": text,
                    "model_version": text,
                    "id": text,
                    "outputs": {"type": "array", "items": reference("V2Tensor")},
                },
            }),
        ),
        (
            "V2Metadata",
            json!({
                "type": "object",
                "required": ["name", "platform", "inputs", "outputs"],
                "properties": {
                    "name": text,
                    "versions": {"type": "array", "items": text},
                    "platform": text,
                    "inputs": {"type": "array", "items": reference("V2TensorMetadata")},
                    "outputs": {"type": "array", "items": reference("V2TensorMetadata")},
                },
            }),
        ),
        ("V2Error", json!({"type": "object", "required": ["error"], "properties": {"error": text}})),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
