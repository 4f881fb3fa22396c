//! The OpenAPI documents: of the API itself, and of services.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::TestApi;

/// The committed document is what the code says. `UPDATE=1` writes it anew.
#[test]
fn the_committed_document_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let fresh = serde_json::to_string_pretty(&kea_api::openapi_document()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &fresh).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == fresh,
        "docs/openapi.json is not what the code says: run UPDATE=1 cargo nextest run -p kea-api"
    );
}

#[test]
fn the_document_is_well_formed() {
    let document = kea_api::openapi_document();
    let mut ids: Vec<&str> = Vec::new();
    for operations in document["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            ids.push(operation["operationId"].as_str().unwrap());
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{operation}");
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are unique");
    each_reference(&document, &mut |reference| {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} points to nothing");
    });
}

fn each_reference(value: &Value, check: &mut impl FnMut(&str)) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| match member {
            Value::String(reference) if name == "$ref" => check(reference),
            _ => each_reference(member, check),
        }),
        Value::Array(elements) => elements.iter().for_each(|element| each_reference(element, check)),
        _ => {}
    }
}

#[test]
fn a_field_that_may_be_left_out_of_a_request_is_always_in_an_answer() {
    let document = kea_api::openapi_document();
    let schemas = &document["components"]["schemas"];
    let required = |name: &str| schemas[name]["required"].as_array().map_or(0, Vec::len);
    assert_eq!(required("UpdateRequest"), 0);
    let details = schemas["ServiceDetails"]["properties"].as_object().unwrap();
    assert_eq!(required("ServiceDetails"), details.len());
}

#[tokio::test]
async fn the_document_is_served_without_a_token() {
    let api = TestApi::start().await;
    let answer = api.send("GET", "/openapi.json", &[], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json, kea_api::openapi_document());
}

#[tokio::test]
async fn the_document_of_a_public_service_needs_no_token() {
    let api = TestApi::start().await;
    let status = |path: &'static str| async { api.send("GET", path, &[], "").await.status.as_u16() };
    assert_eq!(status("/api/v1/k8c/openapi/shop").await, 200);
    assert_eq!(status("/api/v1/k8c/openapi/iris").await, 401);
    assert_eq!(status("/api/v1/k8c/openapi/nope").await, 401, "whether it exists is not told");
}

#[tokio::test]
async fn a_known_document_is_not_sent_again() {
    let api = TestApi::start().await;
    let first = api.get("/api/v1/k8c/openapi/iris").await;
    let bearer = format!("Bearer {}", api.token);
    let headers = [("authorization", bearer.as_str()), ("if-none-match", first.header("etag"))];
    let second = api.send("GET", "/api/v1/k8c/openapi/iris", &headers, "").await;
    assert_eq!((second.status.as_u16(), second.text.as_str()), (304, ""));
    assert_eq!(second.header("etag"), first.header("etag"));
}
