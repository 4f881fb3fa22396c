//! Requests that are refused, and what is said of them.

use crate::support::TestApi;

const SERVICES: &str = "/api/v1/k8c/services";

#[tokio::test]
async fn wrong_fields_are_named_by_their_pointers() {
    let api = TestApi::start().await;
    let answer =
        api.call("POST", SERVICES, r#"{"modelName": "x", "sourceCode": "y", "replica": 2, "timeout": []}"#).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json["instance"], answer.header("x-request-id"));
    let mut pointers = answer.pointers();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/replica", "/timeout"]);
    for error in answer.json["errors"].as_array().unwrap() {
        for field in ["expected", "received", "detail"] {
            assert!(!error[field].as_str().unwrap().is_empty(), "{error}");
        }
    }
}

#[tokio::test]
async fn a_model_without_anything_to_run_is_refused() {
    let api = TestApi::start().await;
    for body in [r#"{"modelName": "x"}"#, r#"{"modelName": "x", "command": []}"#] {
        let answer = api.call("POST", SERVICES, body).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (400, vec!["/sourceCode"]), "{body}");
    }
}

#[tokio::test]
async fn what_the_deployer_refuses_is_told_with_its_pointer() {
    let api = TestApi::start().await;
    let answer = api.call("POST", SERVICES, r#"{"modelName": "x", "containerImage": "a/b:1"}"#).await;
    assert_eq!(answer.pointers(), ["/containerImage"]);
    assert_eq!(answer.json["detail"], "an image needs Kubernetes: send `sourceCode`");
}

#[tokio::test]
async fn a_version_that_would_break_callers_is_a_conflict_that_lists_what() {
    let api = TestApi::start().await;
    let answer = api.call("PUT", &format!("{SERVICES}/iris"), r#"{"version": "breaking"}"#).await;
    assert_eq!((answer.status.as_u16(), &answer.json["errors"]), (409, &serde_json::Value::Null));
    assert!(answer.json["type"].as_str().unwrap().ends_with("/breaking-change"), "{}", answer.text);
    let change = &answer.json["changes"][0];
    let told = ["function", "side", "pointer", "effect"].map(|field| change[field].as_str().unwrap());
    assert_eq!(told, ["predict", "input", "/inputs/sepal_length", "breaking"]);
    let allowed = r#"{"version": "breaking", "allowBreaking": true}"#;
    assert_eq!(api.call("PUT", &format!("{SERVICES}/iris"), allowed).await.status, 200);
}

#[tokio::test]
async fn a_contract_is_compared_with_the_live_version() {
    let api = TestApi::start().await;
    let field = r#"{"name": "sepal_length", "type": {"scalar": {"datatype": "INT64"}}}"#;
    let function = format!(r#"{{"name": "predict", "layout": "features", "inputs": [{field}], "outputs": []}}"#);
    let path = "/api/v1/k8c/openapi/iris/changes";
    let answer = api.call("POST", path, &format!(r#"{{"functions": [{function}]}}"#)).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json["breaking"], &answer.json["from"]),
        (200, &true.into(), &"1".into())
    );
    let changes = answer.json["changes"].as_array().unwrap().iter();
    let told: Vec<_> =
        changes.map(|change| (change["pointer"].as_str().unwrap(), change["effect"].as_str().unwrap())).collect();
    let expected =
        [("", "documentation"), ("/inputs/sepal_length", "breaking"), ("/inputs/sepal_length", "documentation")];
    assert_eq!(told, [&expected[..], &[("/predictions/*", "unknown")]].concat());
}

#[tokio::test]
async fn a_body_of_another_type_is_415() {
    let api = TestApi::start().await;
    let bearer = format!("Bearer {}", api.token);
    let headers = [("authorization", bearer.as_str()), ("content-type", "text/plain")];
    assert_eq!(api.send("POST", SERVICES, &headers, r#"{"modelName": "x"}"#).await.status, 415);
}

#[tokio::test]
async fn a_body_above_a_mebibyte_is_413() {
    let api = TestApi::start().await;
    let body = format!(r#"{{"modelName": "{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(api.call("POST", SERVICES, &body).await.status, 413);
}

#[tokio::test]
async fn malformed_json_is_400_with_line_and_column() {
    let api = TestApi::start().await;
    let answer = api.call("POST", SERVICES, "{\"modelName\":\n x}").await;
    assert_eq!(answer.status, 400);
    assert!(answer.json["detail"].as_str().unwrap().contains("line 2 column 2"), "{}", answer.text);
}

#[tokio::test]
async fn a_query_parameter_that_would_be_ignored_is_refused() {
    let api = TestApi::start().await;
    let answer = api.get("/api/v1/k8c/logs/iris?tial=5").await;
    assert_eq!(answer.status, 400);
    assert!(answer.json["detail"].as_str().unwrap().contains("`tail`"), "{}", answer.text);
    assert_eq!(api.get("/api/v1/k8c/services?page=2").await.status, 400);
    assert_eq!(api.get("/api/v1/k8c/logs/iris?tail=many").await.status, 400);
    assert_eq!(api.get("/api/v1/k8c/router/cache").await.status, 400);
    assert_eq!(api.get("/api/v1/k8c/openapi/iris?version=../1").await.status, 400);
}

#[tokio::test]
async fn another_method_is_405_with_those_that_there_are() {
    let api = TestApi::start().await;
    let answer = api.call("PATCH", "/api/v1/k8c/services/iris", "{}").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let allow = answer.header("allow");
    for method in ["GET", "PUT", "DELETE"] {
        assert!(allow.contains(method), "{allow}");
    }
}

#[tokio::test]
async fn a_path_that_there_is_not_is_404() {
    let api = TestApi::start().await;
    for path in ["/api/v1/k8c", "/api/v1/k8c/", "/api/v1/k8c/service", "/nothing", "/api/v1/k8c/services/iris/a/b"] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
    }
}

#[tokio::test]
async fn a_name_that_no_service_can_have_is_404() {
    let api = TestApi::start().await;
    for name in ["Iris", "a_b", "audit", "-x", "%FF", "..%2Fx"] {
        let path = format!("{SERVICES}/{name}");
        assert_eq!(api.get(&path).await.status, 404, "{name}");
    }
}

#[tokio::test]
async fn a_query_of_the_audit_trail_that_means_nothing_is_refused() {
    let api = TestApi::start().await;
    assert_eq!(api.get("/api/v1/k8c/logs/audit").await.status, 200);
    for query in ["outcome=fine", "limit=0", "limit=10001", "since=yesterday", "who=me"] {
        assert_eq!(api.get(&format!("/api/v1/k8c/logs/audit?{query}")).await.status, 400, "{query}");
    }
    assert_eq!(api.send("GET", "/api/v1/k8c/logs/audit", &[], "").await.status, 401);
}

#[tokio::test]
async fn each_way_of_having_no_valid_token_is_told_apart() {
    let api = TestApi::start().await;
    let detail = |value: &'static str| async {
        let headers: Vec<(&str, &str)> = if value.is_empty() { vec![] } else { vec![("authorization", value)] };
        let answer = api.send("GET", SERVICES, &headers, "").await;
        assert_eq!(answer.status, 401);
        answer.json["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    };
    assert_eq!(detail("").await, "no-token");
    assert_eq!(detail("Basic abc").await, "malformed-token");
    assert_eq!(detail("Bearer abc").await, "invalid-token");
}
