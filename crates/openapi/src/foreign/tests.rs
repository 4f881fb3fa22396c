use std::sync::Arc;

use kea_core::{Contract, ServiceId, VersionId};
use serde_json::json;

use super::*;
use crate::document::{DocumentInfo, service_document};

/// As FastAPI writes it, in OpenAPI 3.1.
fn fastapi() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Scores", "description": "Scores texts.", "version": "1"},
        "paths": {"/score/{kind}": {"post": {
            "summary": "Score", "description": "Scores one text.", "operationId": "score_score__kind__post",
            "parameters": [
                {"name": "kind", "in": "path", "required": true, "schema": {"type": "string", "enum": ["a", "b"]}},
                {"name": "top", "in": "query", "required": false,
                 "schema": {"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}], "title": "Top"}},
            ],
            "requestBody": {"required": true, "content": {"application/json": {
                "schema": {"$ref": "#/components/schemas/Text"},
            }}},
            "responses": {
                "200": {"description": "Good", "content": {"application/json": {"schema": {"const": 1}}}},
                "default": {"description": "Other"},
            },
        }}},
        "components": {"schemas": {"Text": {
            "type": "object", "required": ["text"], "x-unknown": 1,
            "properties": {
                "text": {"type": "string", "examples": ["a"]},
                "parent": {"anyOf": [{"$ref": "#/components/schemas/Text"}, {"type": "null"}]},
            },
        }}},
    })
}

fn of(document: &Value) -> Foreign {
    read(document.to_string().as_bytes()).unwrap()
}

#[test]
fn a_document_of_fastapi_is_put_into_the_words_of_openapi_3_0() {
    let Foreign { description, operations, notes } = of(&fastapi());
    assert_eq!((description.as_str(), notes.len(), operations.len()), ("Scores texts.", 0, 1));
    let score = &operations[0];
    assert_eq!((&*score.path, &*score.name), ("/score/{kind}", "score_score__kind__post"));
    assert_eq!(score.description, "Score\n\nScores one text.");
    let ValueType::Json { schema } = &score.parameters[1].field.value else { panic!("a schema") };
    let top = json!({"type": "integer", "minimum": 0, "exclusiveMinimum": true, "nullable": true, "title": "Top"});
    assert_eq!((schema, score.parameters[1].field.required), (&top, false));
    let body = score.body.as_ref().unwrap();
    let nothing = json!({"type": "string", "nullable": true, "enum": [null]});
    assert_eq!(
        body.schema,
        json!({"$ref": "#/$defs/Text", "$defs": {"Text": {
            "type": "object", "required": ["text"],
            "properties": {
                "text": {"type": "string"},
                "parent": {"anyOf": [{"$ref": "#/$defs/Text"}, nothing]},
            },
        }}})
    );
    assert_eq!(score.answers.len(), 1, "a default says nothing of a status");
    assert_eq!(score.answers[0].schema, Some(json!({"enum": [1]})));
}

#[test]
fn its_paths_lie_below_the_service() {
    let contract = Contract { operations: of(&fastapi()).operations, ..Contract::default() };
    let service: ServiceId = "scores".parse().unwrap();
    let version: VersionId = "1".parse().unwrap();
    let info = DocumentInfo {
        service: &service,
        model_name: "scores",
        version: &version,
        base_path: "/api/v1/k8c",
        public: false,
        server: "http://127.0.0.1:8080",
        is_pinned: false,
    };
    let document = service_document(&info, Some(Arc::new(contract)).as_deref());
    let operation = &document["paths"]["/api/v1/k8c/services/scores/score/{kind}"]["post"];
    assert_eq!(operation["operationId"], "score_score__kind__post");
    let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    let name = body.as_str().unwrap().strip_prefix("#/components/schemas/").unwrap();
    assert!(document["components"]["schemas"][name]["properties"]["text"].is_object(), "{document}");
}

#[test]
fn names_of_a_path_and_of_operations_are_whole() {
    let document = json!({"openapi": "3.0.1", "paths": {
        "/a/{id}": {"get": {"operationId": "x"}, "delete": {"operationId": "x"}, "trace": 1},
        "/b": {"get": {"parameters": [{"name": "id", "in": "path"}, {"name": "q", "in": "body"}]}},
        "/{c": {"get": {}}, "d": {"get": {}}, "/e}": {"get": {}}, "/{}": {"get": {}},
    }});
    let told: Vec<_> = of(&document)
        .operations
        .iter()
        .map(|operation| (operation.name.clone(), operation.path.clone(), operation.parameters.len()))
        .collect();
    let expected = [("x", "/a/{id}", 1), ("x_2", "/a/{id}", 1), ("get__b", "/b", 0)];
    assert_eq!(told, expected.map(|(name, path, count)| (name.into(), path.into(), count)));
}

#[test]
fn what_is_no_document_is_refused() {
    for text in ["<html>", "[]", "{}", r#"{"swagger":"2.0","paths":{}}"#, r#"{"openapi":"3.0.0"}"#] {
        assert!(read(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn hostile_documents_cost_little_and_are_cut() {
    let mut deep = json!({"type": "string"});
    for _ in 0..40 {
        deep = json!({"type": "object", "properties": {"a": deep, "b": {"$ref": "#/components/schemas/S1"}}});
    }
    // Each refers to the next one twice.
    let doubling = (0..60).map(|n| {
        let next = json!({"$ref": format!("#/components/schemas/S{}", n + 1)});
        (format!("S{n}"), json!({"allOf": [next, next], "type": ["string", "object", "null"]}))
    });
    let body = |schema: &Value| json!({"content": {"application/json": {"schema": schema}}});
    let many = (0..5_000).map(|n| (format!("/{n}"), json!({"get": {"description": "x".repeat(500)}})));
    let mut paths: Map<String, Value> = many.collect();
    paths.insert("/deep".into(), json!({"post": {"requestBody": body(&deep)}}));
    paths.insert(
        "/doubling".into(),
        json!({"post": {"requestBody": body(&json!({"$ref": "#/components/schemas/S0"}))}}),
    );
    let document = json!({
        "openapi": "3.1.0", "paths": paths, "components": {"schemas": doubling.collect::<Map<_, _>>()},
    });
    let read = of(&document);
    assert!(serde_json::to_vec(&read.operations).unwrap().len() < SIZE + 10_000);
    assert!(read.operations.len() <= OPERATIONS && read.notes[0].contains("are left out"), "{:?}", read.notes);
}
