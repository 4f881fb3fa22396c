//! The contract of the management API: each path, its status, its fields; and that the document says the same.

use serde_json::{Value, json};

use crate::support::{Answer, TestApi};

/// One row of the contract: what is sent, and what must come.
struct Row {
    method: &'static str,
    path: &'static str,
    /// The path in the document.
    template: &'static str,
    body: &'static str,
    status: u16,
    /// Fields of the answer, or of each element where the answer is an array.
    fields: &'static [&'static str],
}

const fn row(
    (method, path, template): (&'static str, &'static str, &'static str),
    body: &'static str,
    status: u16,
    fields: &'static [&'static str],
) -> Row {
    Row { method, path, template, body, status, fields }
}

const USER: &[&str] = &["username", "provider", "roles", "groups", "disabled", "createdAt"];
const NEW_KEY: &[&str] = &["key", "id", "name", "owner", "roles", "scopes", "createdAt", "expiresAt", "lastUsedAt"];
const INFO: &[&str] = &["serviceId", "modelName", "status"];
const DETAILS: &[&str] = &[
    "serviceId",
    "modelName",
    "status",
    "kubernetesService",
    "version",
    "framework",
    "engine",
    "replicas",
    "readyReplicas",
    "url",
    "reason",
    "breakingChanges",
    "incomplete",
];
const COMPARISON: &[&str] = &["serviceId", "from", "version", "breaking", "changes"];
const DOCUMENT: &[&str] = &["openapi", "info", "paths"];

/// Every method and path, in the order of the specification's table, then those added to it.
const ROWS: &[Row] = &[
    row(
        ("POST", "/router/loadbalancer", "/router/loadbalancer"),
        r#"{"serviceId": "iris", "algorithm": "ip_hash", "replicas": ["iris-1-0"]}"#,
        201,
        &["serviceId", "status", "message"],
    ),
    row(("GET", "/router/loadbalancer", "/router/loadbalancer"), "", 200, &["serviceId", "algorithm", "replicas"]),
    row(
        ("GET", "/router/loadbalancer/iris", "/router/loadbalancer/{serviceId}"),
        "",
        200,
        &["serviceId", "algorithm", "replicas", "activeReplicaCount"],
    ),
    row(("GET", "/router/loadbalancer/nope", "/router/loadbalancer/{serviceId}"), "", 404, &[]),
    row(("DELETE", "/router/loadbalancer/iris", "/router/loadbalancer/{serviceId}"), "", 204, &[]),
    row(("DELETE", "/router/loadbalancer/nope", "/router/loadbalancer/{serviceId}"), "", 404, &[]),
    row(
        ("POST", "/router/validate", "/router/validate"),
        r#"{"serviceId": "iris", "requestPayload": {"inputs": {}}, "schemaVersion": "1"}"#,
        200,
        &["valid", "schemaVersion"],
    ),
    row(("POST", "/router/validate", "/router/validate"), r#"{"serviceId": "iris", "requestPayload": {}}"#, 400, &[]),
    row(("GET", "/router/cache?cacheKey=known", "/router/cache"), "", 200, &["predictions"]),
    row(("GET", "/router/cache?cacheKey=other", "/router/cache"), "", 404, &[]),
    row(("DELETE", "/router/cache?serviceId=iris", "/router/cache"), "", 204, &[]),
    row(("DELETE", "/router/cache?serviceId=iris&function=other", "/router/cache"), "", 404, &[]),
    row(("DELETE", "/router/cache?cacheKey=known", "/router/cache"), "", 204, &[]),
    row(("DELETE", "/router/cache?serviceId=iris&cacheKey=known", "/router/cache"), "", 400, &[]),
    row(("DELETE", "/router/cache", "/router/cache"), "", 400, &[]),
    row(
        ("POST", "/services", "/services"),
        r#"{"modelName": "New Model", "framework": "PyTorch", "replicas": 1, "sourceCode": "./m.pt"}"#,
        201,
        &["serviceId", "kubernetesService"],
    ),
    row(("POST", "/services", "/services"), r#"{"modelName": "x", "containerImage": "a/b:1"}"#, 400, &[]),
    row(("GET", "/services", "/services"), "", 200, INFO),
    row(("GET", "/services/iris", "/services/{serviceId}"), "", 200, DETAILS),
    row(("GET", "/services/fresh", "/services/{serviceId}"), "", 200, DETAILS),
    row(("GET", "/services/nope", "/services/{serviceId}"), "", 404, &[]),
    row(("PUT", "/services/iris", "/services/{serviceId}"), r#"{"replicas": 4}"#, 200, &["serviceId", "status"]),
    row(("PUT", "/services/nope", "/services/{serviceId}"), r#"{"replicas": 4}"#, 404, &[]),
    row(("DELETE", "/services/shop", "/services/{serviceId}"), "", 204, &[]),
    row(("DELETE", "/services/nope", "/services/{serviceId}"), "", 404, &[]),
    row(
        ("POST", "/services/iris/predict", "/services/{serviceId}/predict"),
        r#"{"inputs": {}}"#,
        200,
        &["predictions"],
    ),
    row(
        ("POST", "/services/iris/explain", "/services/{serviceId}/{function}"),
        r#"{"inputs": {}}"#,
        200,
        &["predictions"],
    ),
    row(
        ("POST", "/auth/login", "/auth/login"),
        r#"{"username": "admin", "password": "correct horse battery"}"#,
        200,
        &["token", "expiresAt", "refreshToken", "sessionExpiresAt", "username", "roles"],
    ),
    row(("POST", "/auth/login", "/auth/login"), r#"{"username": "admin", "password": "wrong"}"#, 401, &[]),
    row(("POST", "/auth/refresh", "/auth/refresh"), r#"{"refreshToken": "a.b"}"#, 401, &[]),
    row(("GET", "/auth/me", "/auth/me"), "", 200, &["username", "roles", "groups", "sessionId", "keyId", "scopes"]),
    row(
        ("GET", "/auth/sessions", "/auth/sessions"),
        "",
        200,
        &["id", "username", "createdAt", "usedAt", "expiresAt", "address", "userAgent", "isCurrent"],
    ),
    row(("DELETE", "/auth/sessions?username=nobody", "/auth/sessions"), "", 404, &[]),
    row(("DELETE", "/auth/sessions/nope", "/auth/sessions/{sessionId}"), "", 404, &[]),
    row(
        ("POST", "/auth/password", "/auth/password"),
        r#"{"oldPassword": "wrong", "newPassword": "another password"}"#,
        400,
        &[],
    ),
    row(("GET", "/users", "/users"), "", 200, USER),
    row(("POST", "/users", "/users"), r#"{"username": "ada", "password": "a password"}"#, 201, USER),
    row(("POST", "/users", "/users"), r#"{"username": "admin", "password": "a password"}"#, 409, &[]),
    row(("GET", "/users/admin", "/users/{username}"), "", 200, USER),
    row(("PUT", "/users/admin", "/users/{username}"), r#"{"roles": ["admin", "security"]}"#, 200, USER),
    row(("PUT", "/users/admin", "/users/{username}"), r#"{"roles": []}"#, 409, &[]),
    row(("DELETE", "/users/admin", "/users/{username}"), "", 409, &[]),
    row(("POST", "/auth/keys", "/auth/keys"), r#"{"name": "ci"}"#, 201, NEW_KEY),
    row(("GET", "/auth/keys", "/auth/keys"), "", 200, &[]),
    row(("DELETE", "/auth/keys/nope", "/auth/keys/{keyId}"), "", 404, &[]),
    row(("POST", "/auth/signing-keys/rotate", "/auth/signing-keys/rotate"), "", 200, &["id"]),
    row(("GET", "/openapi/iris", "/openapi/{serviceId}"), "", 200, DOCUMENT),
    row(("GET", "/openapi/iris?version=1", "/openapi/{serviceId}"), "", 200, DOCUMENT),
    row(("GET", "/openapi/iris?version=9", "/openapi/{serviceId}"), "", 404, &[]),
    row(("GET", "/openapi/fresh", "/openapi/{serviceId}"), "", 200, DOCUMENT),
    row(("GET", "/openapi/nope", "/openapi/{serviceId}"), "", 404, &[]),
    row(("GET", "/openapi/iris/changes", "/openapi/{serviceId}/changes"), "", 200, COMPARISON),
    row(("GET", "/openapi/iris/changes?from=1&version=1", "/openapi/{serviceId}/changes"), "", 200, COMPARISON),
    row(("GET", "/openapi/iris/changes?from=9", "/openapi/{serviceId}/changes"), "", 404, &[]),
    row(("GET", "/openapi/fresh/changes", "/openapi/{serviceId}/changes"), "", 409, &[]),
    row(("POST", "/openapi/iris/changes", "/openapi/{serviceId}/changes"), r#"{"functions": []}"#, 200, COMPARISON),
    row(("POST", "/openapi/iris/changes", "/openapi/{serviceId}/changes"), r#"{"function": []}"#, 400, &[]),
    row(("POST", "/openapi/nope/changes", "/openapi/{serviceId}/changes"), r#"{"functions": []}"#, 404, &[]),
    row(("GET", "/logs/iris", "/logs/{serviceId}"), "", 200, &["logEntries"]),
    row(("GET", "/logs/nope", "/logs/{serviceId}"), "", 404, &[]),
    row(("GET", "/logs/audit", "/logs/audit"), "", 200, &["records"]),
    row(("GET", "/logs/audit?outcome=fine", "/logs/audit"), "", 400, &[]),
    row(("GET", "/logs/rules/iris", "/logs/rules/{serviceId}"), "", 200, &["payload"]),
    row(("GET", "/logs/rules/nope", "/logs/rules/{serviceId}"), "", 404, &[]),
    row(
        ("PUT", "/logs/rules/iris", "/logs/rules/{serviceId}"),
        r#"{"payload": {"sample": 0.1, "maxBytes": "4Ki", "mask": ["/inputs/name"]}}"#,
        200,
        &["payload"],
    ),
    row(("PUT", "/logs/rules/iris", "/logs/rules/{serviceId}"), r#"{"payload": {"sample": 2}}"#, 400, &[]),
    row(
        ("GET", "/services/iris/methods", "/services/{serviceId}/methods"),
        "",
        200,
        &["name", "description", "path", "inputs", "outputs"],
    ),
    row(("GET", "/services/fresh/methods", "/services/{serviceId}/methods"), "", 409, &[]),
    row(
        ("GET", "/services/iris/versions", "/services/{serviceId}/versions"),
        "",
        200,
        &["version", "live", "framework", "source", "createdAt"],
    ),
    row(
        ("POST", "/services/iris/rollback", "/services/{serviceId}/rollback"),
        "",
        200,
        &["serviceId", "status", "version"],
    ),
    row(("POST", "/services/fresh/rollback", "/services/{serviceId}/rollback"), "", 409, &[]),
    row(
        ("PUT", "/auth/roles/teacher", "/auth/roles/{name}"),
        r#"{"rules": [{"verbs": ["predict"], "services": ["iris"]}]}"#,
        200,
        ROLE,
    ),
    row(("PUT", "/auth/roles/teacher", "/auth/roles/{name}"), r#"{"rules": [{"verbs": ["predict"]}]}"#, 400, &[]),
    row(("PUT", "/auth/roles/admin", "/auth/roles/{name}"), r#"{"rules": []}"#, 409, &[]),
    row(("GET", "/auth/roles", "/auth/roles"), "", 200, ROLE),
    row(("GET", "/auth/roles/teacher", "/auth/roles/{name}"), "", 200, ROLE),
    row(("GET", "/auth/roles/no%20name", "/auth/roles/{name}"), "", 404, &[]),
    row(
        ("PUT", "/auth/bindings/b", "/auth/bindings/{name}"),
        r#"{"role": "teacher", "subjects": [{"kind": "User", "name": "ada"}]}"#,
        200,
        BINDING,
    ),
    row(("PUT", "/auth/bindings/b", "/auth/bindings/{name}"), r#"{"role": "teacher", "subjects": []}"#, 400, &[]),
    row(("GET", "/auth/bindings", "/auth/bindings"), "", 200, BINDING),
    row(("GET", "/auth/bindings/b", "/auth/bindings/{name}"), "", 200, BINDING),
    row(
        ("POST", "/auth/can-i", "/auth/can-i"),
        r#"{"username": "ada", "verb": "predict", "service": "iris"}"#,
        200,
        &["allowed", "reason", "by"],
    ),
    row(("POST", "/auth/can-i", "/auth/can-i"), r#"{"verb": "predict"}"#, 400, &[]),
    row(("DELETE", "/auth/bindings/b", "/auth/bindings/{name}"), "", 204, &[]),
    row(("DELETE", "/auth/bindings/b", "/auth/bindings/{name}"), "", 404, &[]),
    row(("DELETE", "/auth/roles/teacher", "/auth/roles/{name}"), "", 204, &[]),
    row(("DELETE", "/auth/roles/consumer", "/auth/roles/{name}"), "", 409, &[]),
    // The last one: its token is no more.
    row(("POST", "/auth/logout", "/auth/logout"), "", 204, &[]),
];

const ROLE: &[&str] = &["name", "builtIn", "description", "rules"];

const BINDING: &[&str] = &["name", "role", "subjects"];

const PROBLEM: &[&str] = &["type", "title", "status", "detail", "instance"];

fn base(path: &str) -> String {
    format!("/api/v1/k8c{path}")
}

#[tokio::test]
async fn every_path_answers_as_the_contract_says() {
    let api = TestApi::start().await;
    let document = kea_api::openapi_document();
    for row in ROWS {
        let answer = api.call(row.method, &base(row.path), row.body).await;
        let context = format!("{} {}: {} {}", row.method, row.path, answer.status, answer.text);
        assert_eq!(answer.status, row.status, "{context}");
        let fields = if row.status >= 400 { PROBLEM } else { row.fields };
        has_fields(&answer.json, fields, &context);
        is_as_documented(&document, row, &answer, &context);
    }
}

fn has_fields(json: &Value, fields: &[&str], context: &str) {
    let objects: Vec<&Value> = json.as_array().map_or_else(|| vec![json], |elements| elements.iter().collect());
    assert!(!objects.is_empty(), "{context}");
    for object in objects {
        for field in fields {
            assert!(object.get(field).is_some(), "`{field}` is missing: {context}");
        }
    }
}

/// The status is in the document, and the body fits the schema that it has there.
fn is_as_documented(document: &Value, row: &Row, answer: &Answer, context: &str) {
    let operation = &document["paths"][base(row.template)][row.method.to_lowercase()];
    let mut documented = &operation["responses"][answer.status.as_str()];
    if let Some(reference) = documented["$ref"].as_str() {
        documented = document.pointer(reference.trim_start_matches('#')).unwrap();
    }
    assert!(documented.is_object(), "not documented: {context}");
    let content_type = answer.header("content-type").split(';').next().unwrap();
    if content_type.is_empty() {
        assert!(documented["content"].is_null(), "{context}");
        return;
    }
    let schema = &documented["content"][content_type]["schema"];
    assert!(schema.is_object(), "`{content_type}` is not documented: {context}");
    let mut whole = json!({"components": document["components"], "allOf": [schema]});
    null_is_a_type(&mut whole);
    let validator = jsonschema::validator_for(&whole).unwrap();
    let errors: Vec<String> = validator.iter_errors(&answer.json).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}: {context}");
}

/// Writes OpenAPI's `nullable` as JSON Schema does.
fn null_is_a_type(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(null_is_a_type);
            // A field may have this name too.
            if members.get("nullable") == Some(&true.into()) {
                members.remove("nullable");
                let inner = Value::Object(std::mem::take(members));
                members.insert("anyOf".into(), json!([inner, {"type": "null"}]));
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(null_is_a_type),
        _ => {}
    }
}

#[test]
fn every_operation_of_the_document_is_in_the_contract_table() {
    let document = kea_api::openapi_document();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(relative) = path.strip_prefix("/api/v1/k8c") else { continue };
        for method in operations.as_object().unwrap().keys() {
            let found = ROWS.iter().any(|row| row.template == relative && row.method.to_lowercase() == *method);
            assert!(found, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_token_is_needed_for_everything_but_login_and_calls_that_the_gateway_checks() {
    let api = TestApi::start().await;
    let open = |row: &Row| {
        ["/auth/login", "/auth/refresh"].contains(&row.path)
            || ["/predict", "/explain"].iter().any(|f| row.path.ends_with(f))
    };
    for row in ROWS.iter().filter(|row| !open(row)) {
        let answer = api.send(row.method, &base(row.path), &[("content-type", "application/json")], row.body).await;
        assert_eq!(answer.status, 401, "{} {}", row.method, row.path);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    assert_eq!(api.send("GET", "/metrics", &[], "").await.status, 401);
}

#[tokio::test]
async fn a_deployed_service_is_found_where_the_answer_says() {
    let api = TestApi::start().await;
    let body = r#"{"modelName": "New Model", "sourceCode": "./m.pt"}"#;
    let deployed = api.call("POST", "/api/v1/k8c/services", body).await;
    let details = api.get(deployed.header("location")).await;
    assert_eq!(details.json["serviceId"], "new-model");
}

#[tokio::test]
async fn a_call_reaches_the_gateway_with_service_and_function() {
    let api = TestApi::start().await;
    let called = |path: &'static str| async {
        let path = base(path);
        let answer = api.call("POST", &path, r#"{"inputs": {}}"#).await;
        answer.json["predictions"][0].clone()
    };
    assert_eq!(called("/services/iris/predict").await, json!({"service": "iris", "function": "predict"}));
    assert_eq!(called("/services/iris/explain").await, json!({"service": "iris", "function": "explain"}));
}

#[tokio::test]
async fn health_needs_no_token() {
    let api = TestApi::start().await;
    assert_eq!(api.send("GET", "/healthz", &[], "").await.json, json!({"status": "ok"}));
    assert_eq!(api.send("GET", "/readyz", &[], "").await.status, 200);
    api.not_ready();
    assert_eq!(api.send("GET", "/readyz", &[], "").await.status, 503);
    assert_eq!(api.get("/metrics").await.text, "kea_up 1\n");
}
