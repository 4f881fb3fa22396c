//! Documents of contracts of every layout.

use kea_core::{Contract, Datatype, Field, Function, Layout, ServiceId, ValueType, VersionId};
use serde_json::{Value, json};

use super::{DocumentInfo, service_document};
use crate::source;

const SOURCE: &str = r#"
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal, Optional
from pydantic import BaseModel, Field

class Customer(BaseModel):
    name: str = Field(min_length=1, max_length=40)
    born: date
    spend: Annotated[list[float], Field(min_length=2)]
    plan: Literal["basic", "pro"] = "basic"
    rating: Optional[Annotated[int, Field(ge=1, le=5)]] = None

@dataclass
class Churn:
    probability: Annotated[float, Field(gt=0, lt=1)]
    reason: str | None

class Model:
    """Tells who leaves."""
    def predict(self, customer: Customer, threshold: float = 0.5) -> list[Churn]:
        """Says who leaves. In detail."""
    def anything(self, x) -> int: ...
    def open(self, x: int, y: Unknown = None): ...
"#;

fn scalar(name: &str, datatype: Datatype) -> Field {
    Field::new(name, ValueType::Scalar { datatype })
}

fn tensor(name: &str, datatype: Datatype, shape: &[i64]) -> Field {
    Field::new(name, ValueType::Tensor { datatype, shape: shape.to_vec() })
}

fn predict(layout: Layout, inputs: Vec<Field>, outputs: Vec<Field>) -> Contract {
    let function = Function {
        name: "predict".into(),
        description: String::new(),
        layout,
        inputs,
        outputs,
        idempotent: true,
        deterministic: true,
    };
    Contract { functions: vec![function], ..Contract::default() }
}

fn iris() -> Contract {
    let names = ["sepal_length", "sepal_width", "petal_length", "petal_width"];
    let feature = |name: &&str| Field { minimum: Some(0.0), example: Some(json!(1.4)), ..scalar(name, Datatype::Fp64) };
    let labels = ["setosa", "versicolor", "virginica"].map(String::from).to_vec();
    let probabilities = Field { labels, ..tensor("probabilities", Datatype::Fp64, &[-1, 3]) };
    let label = Field {
        choices: vec![json!("setosa"), json!("versicolor"), json!("virginica")],
        ..scalar("label", Datatype::Bytes)
    };
    let contract = predict(Layout::Features, names.iter().map(feature).collect(), vec![label, probabilities]);
    Contract {
        description: "Tells irises apart.".into(),
        platform: "scikit-learn LogisticRegression".into(),
        ..contract
    }
}

fn loan() -> Contract {
    let inputs = vec![
        Field { minimum: Some(18.5), maximum: Some(99.0), ..scalar("age", Datatype::Int64) },
        Field { choices: vec![json!("rent"), json!("own")], nullable: true, ..scalar("home", Datatype::Bytes) },
        Field { default: Some(json!(false)), required: false, ..scalar("married", Datatype::Bool) },
        Field {
            nullable: true,
            required: false,
            description: "Euro a year.".into(),
            ..scalar("income", Datatype::Fp32)
        },
        scalar("children", Datatype::Uint8),
    ];
    predict(Layout::Features, inputs, vec![scalar("value", Datatype::Fp32)])
}

fn digits() -> Contract {
    let inputs = vec![tensor("image", Datatype::Fp32, &[-1, 3]), tensor("scale", Datatype::Fp32, &[2, 1])];
    predict(
        Layout::Tensors,
        inputs,
        vec![tensor("scores", Datatype::Fp32, &[-1, 10]), tensor("class", Datatype::Int64, &[-1])],
    )
}

fn churn() -> Contract {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("model.py");
    std::fs::write(&file, SOURCE).unwrap();
    source::read(&file).unwrap().contract
}

fn referring() -> Contract {
    let schema = json!({
        "type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Row"},
        "$defs": {"Row": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Row"}, "x": {"type": "integer"}}}},
    });
    let reference = json!({"$ref": "#/$defs/x", "$defs": {"x": {"type": "integer", "minimum": 3}}});
    let described =
        Field { description: "A number.".into(), ..Field::new("number", ValueType::Json { schema: reference }) };
    predict(Layout::Arguments, vec![Field::new("rows", ValueType::Json { schema }), described], vec![])
}

fn document_of(contract: Option<&Contract>, public: bool) -> Value {
    let service: ServiceId = "my-model".parse().unwrap();
    let info = DocumentInfo {
        service: &service,
        model_name: "My model",
        version: &"2.1".parse::<VersionId>().unwrap(),
        base_path: "/api/v1/k8c",
        public,
        server: "https://kea.example",
        is_pinned: false,
    };
    service_document(&info, contract)
}

fn operation(document: &Value) -> &Value {
    &document["paths"]["/api/v1/k8c/services/my-model/predict"]["post"]
}

fn inputs(document: &Value) -> &Value {
    &operation(document)["requestBody"]["content"]["application/json"]["schema"]["properties"]["inputs"]
}

fn prediction(document: &Value) -> &Value {
    let success = &operation(document)["responses"]["200"]["content"]["application/json"];
    &success["schema"]["properties"]["predictions"]["items"]
}

/// OpenAPI's `nullable` as JSON Schema has it; all else of these documents is the same in draft 4.
fn json_schema(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let nullable = object.get("nullable") == Some(&json!(true));
            let rest = object.iter().filter(|(key, _)| *key != "nullable");
            let schema: Value =
                rest.map(|(key, value)| (key.clone(), json_schema(value))).collect::<serde_json::Map<_, _>>().into();
            if nullable { json!({"anyOf": [schema, {"enum": [null]}]}) } else { schema }
        }
        Value::Array(values) => values.iter().map(json_schema).collect(),
        other => other.clone(),
    }
}

/// How many examples fit the schema beside them; panics where one does not.
fn fitting_examples(document: &Value, media: &Value) -> usize {
    let schema = json!({"allOf": [json_schema(&media["schema"])], "components": json_schema(&document["components"])});
    let validator = jsonschema::draft4::new(&schema).unwrap();
    let named = media["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]);
    let examples: Vec<&Value> = named.chain(media.get("example")).collect();
    for example in &examples {
        let errors: Vec<_> = validator.iter_errors(example).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{example}: {errors:?}");
    }
    examples.len()
}

/// Examples of all requests and answers of a document.
fn all_examples(document: &Value) -> usize {
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|item| item.as_object().unwrap().values());
    let media = operations.flat_map(|operation| {
        [&operation["requestBody"]["content"], &operation["responses"]["200"]["content"]]
            .map(|content| &content["application/json"])
    });
    media.filter(|media| media.is_object()).map(|media| fitting_examples(document, media)).sum()
}

#[test]
fn every_example_fits_its_own_schema() {
    // Of each function one or two requests with their answers, and a request of the protocol.
    for (contract, expected) in [(iris(), 5), (loan(), 5), (digits(), 5), (churn(), 3), (referring(), 1)] {
        let document = document_of(Some(&contract), false);
        assert_eq!(all_examples(&document), expected, "{document:#}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for contract in [iris(), loan(), digits(), churn(), referring()] {
        let document = document_of(Some(&contract), false);
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        assert!(!text.contains("$defs"));
    }
}

#[test]
fn a_feature_takes_one_value_or_many() {
    let document = document_of(Some(&iris()), false);
    let element = json!({"type": "number", "format": "double", "minimum": 0});
    assert_eq!(
        inputs(&document)["properties"]["petal_width"],
        json!({"anyOf": [element, {"type": "array", "items": element, "minItems": 1}], "example": 1.4})
    );
    assert_eq!(inputs(&document)["required"].as_array().unwrap().len(), 4);
    assert_eq!(inputs(&document)["additionalProperties"], json!(false));
}

#[test]
fn a_feature_has_the_bounds_of_its_type_and_of_its_author() {
    let document = document_of(Some(&loan()), false);
    let element = |name: &str| inputs(&document)["properties"][name]["anyOf"][0].clone();
    assert_eq!(element("age"), json!({"type": "integer", "format": "int64", "minimum": 19, "maximum": 99}));
    assert_eq!(element("home"), json!({"type": "string", "enum": ["rent", "own"]}));
    assert_eq!(element("married"), json!({"type": "boolean"}));
    assert_eq!(element("income"), json!({"type": "number", "format": "float", "nullable": true}));
    assert_eq!(element("children"), json!({"type": "integer", "minimum": 0, "maximum": 255}));
    assert_eq!(inputs(&document)["properties"]["income"]["description"], "Euro a year.");
    assert_eq!(inputs(&document)["properties"]["married"]["default"], json!(false));
    assert_eq!(inputs(&document)["required"], json!(["age", "home", "children"]));
}

/// As the validator has it, of which `null_is_nan_where_a_float_is_nullable` tells.
#[test]
fn null_is_documented_only_where_a_value_stands_for_none() {
    let nullable = |name, datatype| Field { nullable: true, required: false, ..scalar(name, datatype) };
    let fields = [("whole", Datatype::Int64), ("flag", Datatype::Bool), ("number", Datatype::Fp64)];
    let fields = fields.map(|(name, datatype)| nullable(name, datatype)).to_vec();
    let document = document_of(Some(&predict(Layout::Features, fields.clone(), fields)), false);
    let asked = inputs(&document);
    let is_nullable = |name: &str| asked["properties"][name]["anyOf"][0]["nullable"] == true;
    assert_eq!(["whole", "flag", "number"].map(is_nullable), [false, false, true]);
    assert_eq!(asked["required"], json!(["whole", "flag"]));
    // An answer may hold null of any type, and what lists its values lists null.
    assert_eq!(prediction(&document)["properties"]["flag"], json!({"type": "boolean", "nullable": true}));
    let chosen = json!({"type": "string", "enum": ["a"]});
    let chosen = Field { nullable: true, ..Field::new("x", ValueType::Json { schema: chosen }) };
    let document = document_of(Some(&predict(Layout::Arguments, vec![chosen], Vec::new())), false);
    let expected = json!({"type": "string", "nullable": true, "enum": ["a", null]});
    assert_eq!(inputs(&document)["properties"]["x"], expected);
}

#[test]
fn classes_are_an_object_of_probabilities() {
    let document = document_of(Some(&iris()), false);
    let number = json!({"type": "number", "nullable": true});
    assert_eq!(
        prediction(&document)["properties"]["probabilities"],
        json!({
            "type": "object", "properties": {"setosa": number, "versicolor": number, "virginica": number},
            "required": ["setosa", "versicolor", "virginica"], "additionalProperties": false,
        })
    );
    assert_eq!(prediction(&document)["required"], json!(["label", "probabilities"]));
}

#[test]
fn a_tensor_takes_a_row_or_rows() {
    let document = document_of(Some(&digits()), false);
    let number = json!({"type": "number", "format": "float"});
    let row = json!({"type": "array", "items": number, "minItems": 3, "maxItems": 3});
    assert_eq!(
        inputs(&document)["properties"]["image"],
        json!({"anyOf": [row, {"type": "array", "items": row, "minItems": 1}]})
    );
    assert_eq!(inputs(&document)["properties"]["scale"]["minItems"], json!(2));
    assert_eq!(
        prediction(&document)["properties"]["scores"],
        json!({
            "type": "array", "minItems": 10, "maxItems": 10,
            "items": {"type": "number", "format": "float", "nullable": true},
        })
    );
    assert_eq!(prediction(&document)["properties"]["class"]["type"], "integer");
}

#[test]
fn an_argument_keeps_its_own_schema() {
    let document = document_of(Some(&churn()), false);
    assert_eq!(inputs(&document)["properties"]["threshold"], json!({"type": "number", "default": 0.5}));
    assert_eq!(inputs(&document)["required"], json!(["customer"]));
    assert_eq!(operation(&document)["summary"], "Says who leaves");
    assert_eq!(document["info"]["description"], "Tells who leaves.");
    assert_eq!(document["tags"].as_array().unwrap().len(), 1);
}

#[test]
fn definitions_move_to_the_components() {
    let document = document_of(Some(&referring()), false);
    let row = &document["components"]["schemas"]["predict_rows_Row"];
    assert_eq!(row["properties"]["next"], json!({"$ref": "#/components/schemas/predict_rows_Row"}));
    assert_eq!(
        inputs(&document)["properties"]["number"],
        json!({"allOf": [{"$ref": "#/components/schemas/predict_number_x"}], "description": "A number."})
    );
}

#[test]
fn what_is_not_known_is_said_on_the_document_and_on_the_operation() {
    let document = document_of(Some(&churn()), false);
    let all = document["info"]["x-kea-incomplete"].as_array().unwrap();
    assert!(all.len() > 1, "{all:?}");
    let open = &document["paths"]["/api/v1/k8c/services/my-model/open"]["post"];
    let here = open["x-kea-incomplete"].as_array().unwrap();
    assert!(here.iter().all(|note| note.as_str().unwrap().starts_with("`open`")), "{here:?}");
    assert_eq!(operation(&document).get("x-kea-incomplete"), None);
}

#[test]
fn without_a_contract_there_is_a_document_that_says_so() {
    let document = document_of(None, false);
    assert_eq!(inputs(&document), &json!({"type": "object"}));
    assert_eq!(document["info"]["x-kea-incomplete"].as_array().unwrap().len(), 1);
    assert_eq!(operation(&document)["x-kea-incomplete"], document["info"]["x-kea-incomplete"]);
}

#[test]
fn a_web_service_has_no_paths_and_says_what_becomes_of_requests() {
    let document = document_of(Some(&predict(Layout::Opaque, vec![], vec![])), false);
    assert_eq!(document["paths"], json!({}));
    let words = document["info"]["description"].as_str().unwrap();
    assert!(words.contains("below `/api/v1/k8c/services/my-model/` are passed on"), "{words}");
    assert_eq!(document["info"]["x-kea-incomplete"].as_array().unwrap().len(), 1);
}

#[test]
fn a_token_is_asked_for_unless_the_service_is_public() {
    assert_eq!(document_of(Some(&iris()), false)["security"], json!([{"bearer": []}]));
    let public = document_of(Some(&iris()), true);
    assert_eq!((public.get("security"), public["components"].get("securitySchemes")), (None, None));
}

#[test]
fn every_problem_is_told_in_one_form() {
    let document = document_of(Some(&iris()), false);
    let responses = operation(&document)["responses"].as_object().unwrap();
    let statuses: Vec<&str> = responses.keys().map(String::as_str).collect();
    assert_eq!(statuses, ["200", "400", "401", "403", "404", "413", "429", "500", "502", "503", "504"]);
    for response in document["components"]["responses"].as_object().unwrap().values() {
        let schema = &response["content"]["application/problem+json"]["schema"];
        assert_eq!(schema, &json!({"$ref": "#/components/schemas/Problem"}));
    }
    let headers: Vec<&String> = responses["200"]["headers"].as_object().unwrap().keys().collect();
    assert_eq!(headers, ["kea-cache", "kea-service", "kea-version"]);
}

#[test]
fn a_problem_has_the_fields_that_the_api_answers() {
    let problem = kea_core::management::Problem {
        kind: "about:blank".into(),
        title: "Bad Request".into(),
        status: 400,
        detail: "wrong".into(),
        instance: "1".into(),
        errors: vec![kea_core::management::Violation {
            pointer: "/inputs/x".into(),
            expected: "a number".into(),
            received: "text".into(),
            detail: "give a number".into(),
        }],
        missing: Some(kea_core::management::MissingPermission {
            verb: kea_core::policy::Verb::Predict,
            service: Some("iris".into()),
            function: None,
        }),
        changes: Vec::new(),
    };
    let document = document_of(None, false);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let told = serde_json::to_value(&problem).unwrap();
    let schemas = &document["components"]["schemas"];
    assert_eq!(keys(&schemas["Problem"]["properties"]), keys(&told));
    assert_eq!(keys(&schemas["Violation"]["properties"]), keys(&told["errors"][0]));
    assert_eq!(keys(&schemas["Problem"]["properties"]["missing"]["properties"]), keys(&told["missing"]));
}

#[test]
fn models_of_tensors_have_the_paths_of_the_open_inference_protocol() {
    let document = document_of(Some(&iris()), false);
    let example = &document["paths"]["/v2/models/my-model/infer"]["post"]["requestBody"]["content"]["application/json"]
        ["example"];
    assert_eq!(
        example["inputs"],
        json!([{"name": "input", "shape": [1, 4], "datatype": "FP64", "data": [1.4, 1.4, 1.4, 1.4]}])
    );
    assert!(document["paths"]["/v2/models/my-model"]["get"].is_object());
    assert!(document_of(Some(&churn()), false)["paths"].get("/v2/models/my-model").is_none());
}

#[test]
fn programs_call_the_function_with_an_example_that_the_validator_takes() {
    let document = document_of(Some(&iris()), false);
    let samples = operation(&document)["x-codeSamples"].as_array().unwrap();
    let langs: Vec<&str> = samples.iter().map(|sample| sample["lang"].as_str().unwrap()).collect();
    assert_eq!(langs, ["Shell", "Python", "JavaScript", "Rust", "Go"]);
    let body = r#"{"inputs": {"petal_length": 1.4, "petal_width": 1.4, "sepal_length": 1.4, "sepal_width": 1.4}}"#;
    for sample in samples {
        let source = sample["source"].as_str().unwrap();
        assert!(source.contains("https://kea.example/api/v1/k8c/services/my-model/predict"), "{source}");
        assert!(source.contains(&body[1..70]), "{source}");
    }
    // A document that does not know what is taken has no programs.
    assert_eq!(operation(&document_of(None, false)).get("x-codeSamples"), None);
}

#[test]
fn a_document_of_a_version_that_was_asked_for_calls_that_version() {
    let service: ServiceId = "my-model".parse().unwrap();
    let info = DocumentInfo {
        service: &service,
        model_name: "My model",
        version: &"2.1".parse::<VersionId>().unwrap(),
        base_path: "/api/v1/k8c",
        public: true,
        server: "https://kea.example",
        is_pinned: true,
    };
    let document = service_document(&info, Some(&iris()));
    let curl = operation(&document)["x-codeSamples"][0]["source"].as_str().unwrap();
    assert!(curl.contains("/services/my-model/predict?version=2.1'"), "{curl}");
    assert_eq!(operation(&document)["parameters"][0]["example"], "2.1");
}
