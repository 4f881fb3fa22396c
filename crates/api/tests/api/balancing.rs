//! Load balancing of a service.

use serde_json::json;

use crate::support::{Answer, TestApi};

const PATH: &str = "/api/v1/k8c/router/loadbalancer";

async fn configure(api: &TestApi, replicas: &[&str]) -> Answer {
    let body = json!({"serviceId": "iris", "algorithm": "least_connections", "replicas": replicas});
    api.call("POST", PATH, &body.to_string()).await
}

#[tokio::test]
async fn the_first_configuration_is_created_and_the_next_one_an_update() {
    let api = TestApi::start().await;
    assert_eq!(configure(&api, &[]).await.json["status"], "created");
    assert_eq!(configure(&api, &[]).await.json["status"], "updated");
    let the_default = json!({"serviceId": "iris", "algorithm": "round_robin", "replicas": []}).to_string();
    assert_eq!(api.call("POST", PATH, &the_default).await.json["status"], "updated");
    assert_eq!(api.call("POST", PATH, &the_default).await.json["status"], "updated", "a default is a rule as well");
    assert_eq!(api.call("DELETE", &format!("{PATH}/iris"), "").await.status, 204);
    assert_eq!(configure(&api, &[]).await.json["status"], "created");
}

#[tokio::test]
async fn replicas_are_kept_by_name_whether_named_or_addressed() {
    let api = TestApi::start().await;
    assert_eq!(configure(&api, &["127.0.0.1:4001", "iris-1-1", "iris-1-0"]).await.status, 201);
    let details = api.get(&format!("{PATH}/iris")).await.json;
    assert_eq!(details["replicas"], json!(["iris-1-1", "iris-1-0"]));
    assert_eq!(details["algorithm"], "least_connections");
}

#[tokio::test]
async fn only_replicas_in_use_that_take_requests_are_active() {
    let api = TestApi::start().await;
    assert_eq!(api.get(&format!("{PATH}/iris")).await.json["activeReplicaCount"], 1);
    configure(&api, &["iris-1-1"]).await;
    assert_eq!(api.get(&format!("{PATH}/iris")).await.json["activeReplicaCount"], 0);
}

#[tokio::test]
async fn each_unknown_replica_is_named() {
    let api = TestApi::start().await;
    let refused = configure(&api, &["iris-1-0", "ghost", "http://models.example:0"]).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.pointers(), ["/replicas/1", "/replicas/2"]);
    let expected = "one of `iris-1-0`, `iris-1-1`, or the address of another, as `host:port`";
    assert_eq!(refused.json["errors"][0]["expected"], expected);
}

#[tokio::test]
async fn replicas_elsewhere_are_taken_in_either_way_of_writing_them() {
    let api = TestApi::start().await;
    assert_eq!(configure(&api, &["iris-1-0", "http://models.example:80/", "models.example:80"]).await.status, 201);
    let details = api.get(&format!("{PATH}/iris")).await.json;
    assert_eq!(details["replicas"], json!(["iris-1-0", "models.example:80"]));
}

async fn weigh(api: &TestApi, weights: serde_json::Value) -> Answer {
    let replicas = ["iris-1-0", "10.0.0.7:80"];
    let body = json!({"serviceId": "iris", "algorithm": "round_robin", "replicas": replicas, "weights": weights});
    api.call("POST", PATH, &body.to_string()).await
}

#[tokio::test]
async fn weights_are_of_replicas_or_of_versions_and_one_whole() {
    let api = TestApi::start().await;
    assert_eq!(weigh(&api, json!({"iris-1-0": 70, "http://10.0.0.7:80": 30})).await.status, 201);
    let settings = api.get("/api/v1/k8c/services/iris").await.json["settings"]["loadBalancer"].clone();
    assert_eq!(settings["weights"], json!({"iris-1-0": 70, "10.0.0.7:80": 30}));
    assert_eq!(weigh(&api, json!({"1": 100})).await.status, 201);
    assert_eq!(weigh(&api, json!({"1": 60})).await.pointers(), ["/weights"]);
    assert_eq!(weigh(&api, json!({"ghost": 50, "iris-1-0": 50})).await.pointers(), ["/weights/ghost"]);
    assert_eq!(weigh(&api, json!({"1": 50, "iris-1-0": 50})).await.pointers(), ["/weights/1"]);
    assert_eq!(weigh(&api, json!({"10.9.9.9:80": 100})).await.pointers(), ["/weights/10.9.9.9:80"]);
}

#[tokio::test]
async fn a_service_that_there_is_not_cannot_be_configured() {
    let api = TestApi::start().await;
    let body = r#"{"serviceId": "nope", "algorithm": "round_robin", "replicas": []}"#;
    assert_eq!(api.call("POST", PATH, body).await.status, 404);
}
