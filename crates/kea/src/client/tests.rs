use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Redirect},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

/// A client of a server that has the paths of `router` below the API's base path.
async fn client_of(router: Router, token: Option<&str>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string().parse().unwrap();
    let router = Router::new().nest(BASE_PATH, router);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client::new(server, token.map_or(Tokens::None, |token| Tokens::Given(token.into()))).unwrap()
}

fn problem(status: u16) -> impl IntoResponse {
    let body = json!({"type": "about:blank", "title": "No", "status": status, "detail": "why", "instance": "id"});
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "application/problem+json")], body.to_string())
}

#[tokio::test]
async fn the_token_and_the_query_are_sent() {
    let echo = get(async |headers: HeaderMap, uri: Uri| {
        let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_string());
        Json(json!({"authorization": authorization, "uri": uri.to_string()}))
    });
    let router = Router::new().route("/logs/iris", echo);
    let answer = client_of(router.clone(), Some("t")).await.get(&["logs", "iris"], &[("tail", "5")]).await.unwrap();
    let seen: Value = answer.read().unwrap();
    // The path below the base path: axum takes the rest away from nested routes.
    assert_eq!(seen, json!({"authorization": "Bearer t", "uri": "/logs/iris?tail=5"}));

    let seen: Value = client_of(router, None).await.get(&["logs", "iris"], &[]).await.unwrap().read().unwrap();
    assert_eq!(seen["authorization"], Value::Null);
}

#[tokio::test]
async fn a_body_goes_through_as_it_is_written() {
    let echo = post(async |headers: HeaderMap, body: String| {
        assert_eq!(headers[header::CONTENT_TYPE], "application/json");
        body
    });
    let client = client_of(Router::new().route("/services/iris/predict", echo), None).await;
    let json = r#"{"inputs": {"x": 1.50}}"#;
    let answer = client.call(&["services", "iris", "predict"], &[], json.into()).await.unwrap();
    assert_eq!(answer.text(), json);
}

#[tokio::test]
async fn each_refusal_is_told_apart() {
    let router = Router::new()
        .route("/400", get(async || problem(400)))
        .route("/401", get(async || problem(401)))
        .route("/404", get(async || problem(404)))
        .route("/302", get(async || Redirect::to("https://kea.example/")))
        .route("/html", get(async || (StatusCode::BAD_GATEWAY, "<html>")));
    let client = client_of(router, Some("t")).await;
    let get = async |path| client.get(&[path], &[]).await.unwrap_err();

    assert!(matches!(get("400").await, Failure::Refused(problem) if problem.detail == "why"));
    assert!(matches!(get("401").await, Failure::LoginNeeded { server, .. } if server == client.server));
    assert!(get("404").await.is_not_found() && !get("400").await.is_not_found());
    assert!(matches!(get("302").await, Failure::Redirected { location, .. } if location == "https://kea.example/"));
    assert!(matches!(get("html").await, Failure::NotKea { status: 502, excerpt, .. } if excerpt == "<html>"));
}

#[tokio::test]
async fn nobody_listening_is_told_apart_from_a_broken_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server: ServerUrl = listener.local_addr().unwrap().to_string().parse().unwrap();
    let hang_up = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    let client = Client::new(server, Tokens::None).unwrap();
    assert!(matches!(client.get(&["services"], &[]).await, Err(Failure::Transport { .. })));

    // The listener went away with its task.
    hang_up.await.unwrap();
    let failure = client.get(&["services"], &[]).await.unwrap_err();
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure}");
    assert!(failure.to_string().contains("start one with `kea serve`"));
}

#[tokio::test]
async fn events_come_one_by_one_until_the_server_ends_them() {
    let stream = get(async |headers: HeaderMap| {
        assert_eq!(headers[header::ACCEPT], "text/event-stream");
        ([(header::CONTENT_TYPE, "text/event-stream")], ": hello\n\ndata: one\n\ndata: two\n\n")
    });
    let client = client_of(Router::new().route("/logs/iris", stream), None).await;
    let mut events = client.events(&["logs", "iris"], &[("follow", "true")]).await.unwrap();
    assert_eq!(events.next().await.unwrap().as_deref(), Some("one"));
    assert_eq!(events.next().await.unwrap().as_deref(), Some("two"));
    assert_eq!(events.next().await.unwrap(), None);
}
