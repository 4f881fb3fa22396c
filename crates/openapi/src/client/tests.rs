//! Modules of documents that the generator has to know its way in. That they do what they say is tried with real services.

use serde_json::json;

use super::*;

fn document(inputs: &Value, prediction: &Value) -> Value {
    let answer = json!({"properties": {"predictions": {"type": "array", "items": prediction}}});
    json!({
        "info": {"title": "Iris", "description": "Tells irises apart.\nEnds with a \"quote\""},
        "paths": {
            "/api/v1/k8c/services/iris/predict": {"post": {
                "description": "Says which.",
                "requestBody": {"content": {"application/json": {"schema": {"properties": {"inputs": inputs}}}}},
                "responses": {"200": {"content": {"application/json": {"schema": answer}}}},
            }},
            "/v2/models/iris/infer": {"post": {}},
        },
        "components": {"schemas": {"Node": {
            "type": "object", "required": ["value"],
            "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/components/schemas/Node"}},
        }}},
    })
}

fn module(inputs: &Value, prediction: &Value) -> String {
    python(&document(inputs, prediction), "iris", "http://127.0.0.1:8080", Some("2"))
}

#[test]
fn a_method_takes_what_the_document_says() {
    let inputs = json!({"type": "object", "required": ["petal width", "kind"], "properties": {
        "petal width": {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}], "minimum": 0},
        "kind": {"enum": ["a", "b", null], "description": "Which one."},
        "class": {"type": "integer", "default": 3},
    }});
    let module = module(
        &inputs,
        &json!({"type": "object", "required": ["value"], "properties": {
            "value": {"type": "number", "nullable": true}, "why": {"type": "string"},
        }}),
    );
    for expected in [
        "    def predict(self, *, class_: int | Absent = ABSENT, kind: Literal[\"a\", \"b\", None], petal_width: float | \
         list[float]) -> list[PredictPrediction]:\n",
        "        predictions: list[PredictPrediction] = self._call(\"predict\", {\n            \"class\": class_,\n            \"kind\": kind,\n            \
         \"petal width\": petal_width,\n        })\n        return predictions\n",
        "class PredictPrediction(TypedDict):\n    value: float | None\n    why: NotRequired[str]\n",
        "        class_: default 3\n\n        kind: Which one.\n\n        petal_width: minimum 0\n",
        "SERVER = \"http://127.0.0.1:8080\"\nSERVICE = \"iris\"\nVERSION: str | None = \"2\"\n",
        "from typing import Any, Literal, NotRequired, TypedDict\n",
        "Ends with a \"quote\"\n\"\"\"\n",
    ] {
        assert!(module.contains(expected), "{expected}\n---\n{module}");
    }
}

#[test]
fn types_that_refer_to_themselves_and_members_that_are_no_names_are_told() {
    let prediction = json!({"type": "object", "required": ["0", "class"], "properties": {
        "0": {"type": "number"}, "class": {"$ref": "#/components/schemas/Node"},
    }});
    let module = module(&json!({"type": "object", "properties": {}}), &prediction);
    for expected in [
        "    def predict(self) -> list[PredictPrediction]:\n",
        "PredictPrediction = TypedDict(\"PredictPrediction\", {\n    \"0\": \"float\",\n    \"class\": \"Node\",\n})\n",
        "class Node(TypedDict):\n    next: NotRequired[Node]\n    value: int\n",
    ] {
        assert!(module.contains(expected), "{expected}\n---\n{module}");
    }
}

#[test]
fn names_that_the_module_needs_itself_stay_its_own() {
    let inputs = json!({"type": "object", "required": ["predictions", "list", "self", "__a"], "properties": {
        "predictions": {"type": "number"}, "list": {"type": "number"}, "self": {"type": "number"},
        "__a": {"type": "object", "properties": {"値": {"type": "number"}}},
    }});
    let module = module(&inputs, &json!({"type": "object"}));
    let expected =
        "(self, *, _a: PredictA, list_2: float, predictions_2: float, self_2: float) -> list[dict[str, Any]]:";
    assert!(module.contains(expected), "{module}");
    let mut types = Types::new(&Value::Null);
    assert_eq!(types.of(&json!({"type": "object", "properties": {"値": {"type": "number"}}}), ""), "Type");
    assert_eq!(types.declarations(), "\nType = TypedDict(\"Type\", {\n    \"値\": \"NotRequired[float]\",\n})\n\n");
}

#[test]
fn a_docstring_ends_where_its_text_does() {
    assert_eq!(docstring(&["One line."], ""), "\"\"\"One line.\"\"\"\n");
    assert_eq!(docstring(&["Quoted \"so\""], "  "), "  \"\"\"Quoted \"so\"\n  \"\"\"\n");
    assert_eq!(docstring(&["a\\n\"\"\"b", "c"], ""), "\"\"\"a\\\\n\\\"\\\"\\\"b\n\nc\n\"\"\"\n");
}
