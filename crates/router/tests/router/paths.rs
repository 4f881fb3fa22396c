//! Parts of a path, which callers may write in several ways.

use std::{net::SocketAddr, sync::Arc};

use axum::extract::Request;
use http::StatusCode;
use kea_core::{Contract, contract::WebProtocol, routing::ServiceRoute};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    harness::{BASE, Gateway, Replica, iris, new_contract, numbered},
    web::app,
};

/// The service `iris`, where `other` has a name of letters that URLs have no place for.
fn with_letters(replica: &Replica) -> ServiceRoute {
    let mut contract = Contract::clone(&new_contract());
    contract.functions[1].name = "größe".into();
    let mut route = iris("1", &[replica], json!({"access": {"functions": {"größe": {"public": true}}}}));
    route.versions[0].contract = Some(Arc::new(contract));
    route
}

/// A web service that answers with the path that it was asked for.
async fn repeating() -> SocketAddr {
    let repeat = async |request: Request| request.uri().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(repeat)).await });
    address
}

async fn status(gateway: &Gateway, token: &str, path: &str) -> u16 {
    gateway.send(token, &format!("{BASE}/{path}"), json!({"inputs": {"x": 1}}).to_string(), &[]).await.status.as_u16()
}

#[tokio::test]
async fn a_function_is_found_and_allowed_by_what_its_name_means() {
    let (gateway, replica) = (Gateway::new().await, Replica::answering(numbered).await);
    gateway.follow([with_letters(&replica)]);
    let table = [
        ("iris/gr%C3%B6%C3%9Fe", 200, 200),
        ("ir%69s/gr%c3%b6%c3%9fe", 200, 200),
        ("iris/%70redict", 200, 401),
        // Once, and within its part.
        ("iris/gr%25C3%25B6%25C3%259Fe", 404, 401),
        ("iris%2Fpredict", 404, 404),
        ("iris/predict%2F", 404, 401),
        ("iris/predict?version=%31", 200, 401),
        ("iris/predict?version=%zz", 400, 401),
        // What means nothing is told to who may call.
        ("iris/gr%C3", 400, 401),
        ("iris/%zz", 400, 401),
        ("ir%zz/predict", 400, 400),
    ];
    for (path, known, stranger) in table {
        assert_eq!(status(&gateway, &gateway.ada, path).await, known, "{path}");
        assert_eq!(status(&gateway, "", path).await, stranger, "{path}");
    }
}

#[tokio::test]
async fn a_web_service_gets_its_path_as_it_was_written() {
    let gateway = Gateway::new().await;
    gateway.follow([app(WebProtocol::Http1, &[repeating().await], json!({}))]);
    for path in ["items/a%2Fb", "gr%C3%B6%C3%9Fe?x=%20", "100%", "%2e%2e/x"] {
        let answer = gateway.send(&gateway.ada, &format!("{BASE}/app/{path}"), String::new(), &[]).await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, format!("/{path}")));
    }
}
