//! The webhook as callers see it: over real TLS, with a client that trusts the authority alone.

use std::net::SocketAddr;

use jiff::Timestamp;
use kube::runtime::reflector::store;
use serde_json::{Value, json};

use super::*;
use crate::certificates::Identity;

const HOST: &str = "kea-webhook.kea.svc";

fn nothing_stored() -> Caches {
    Caches {
        models: store().0,
        deployments: store().0,
        versions: store().0,
        pods: store().0,
        services: store().0,
        made: None,
    }
}

/// A Kubernetes that cannot be reached.
fn no_cluster() -> Client {
    Client::try_from(kube::Config::new("http://127.0.0.1:9".parse().unwrap())).unwrap()
}

/// Serves the webhook with what is `served`, and returns where.
async fn serve(served: &Arc<Served>, caches: Option<Caches>, stop: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tls, stop) = (served.tls(), stop.clone());
    let handler = handler(move || caches.clone(), no_cluster());
    tokio::spawn(async move { kea_http::serve_tls(listener, || tls.clone(), handler, stop.cancelled(), DRAIN).await });
    address
}

/// An API server that reaches the webhook there, and trusts these authorities.
fn api_server(address: SocketAddr, authorities: &str) -> reqwest::Client {
    let authorities = reqwest::Certificate::from_pem_bundle(authorities.as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only(authorities).resolve(HOST, address);
    client.pool_max_idle_per_host(0).build().unwrap()
}

async fn post(client: &reqwest::Client, address: SocketAddr, body: String) -> reqwest::Result<(u16, Value)> {
    let url = format!("https://{HOST}:{}{PATH}", address.port());
    let answer = client.post(url).body(body).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

fn review(spec: &Value) -> String {
    let kind = json!({"group": "ml.kea-project.io", "version": "v1alpha1", "kind": "MLModel"});
    let resource = json!({"group": "ml.kea-project.io", "version": "v1alpha1", "resource": "mlmodels"});
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "4711", "kind": kind, "resource": resource, "operation": "CREATE", "userInfo": {},
            "object": {"metadata": {"name": "iris", "namespace": "team"}, "spec": spec},
        },
    })
    .to_string()
}

#[tokio::test]
async fn a_caller_that_trusts_the_authority_is_answered() {
    let (served, stop) = (Arc::<Served>::default(), CancellationToken::new());
    let identity = Identity::new(HOST, Timestamp::now());
    served.put(&identity).unwrap();
    let address = serve(&served, Some(nothing_stored()), &stop).await;
    let client = api_server(address, &identity.authority);

    let (status, answer) = post(&client, address, review(&json!({"image": "r/iris:1"}))).await.unwrap();
    assert_eq!((status, &answer["response"]["allowed"]), (200, &json!(true)), "{answer}");
    assert_eq!((&answer["apiVersion"], &answer["kind"]), (&json!("admission.k8s.io/v1"), &json!("AdmissionReview")));

    let (status, answer) = post(&client, address, review(&json!({}))).await.unwrap();
    assert_eq!(status, 200);
    let response = &answer["response"];
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("4711"), &json!(false)));
    assert_eq!((&response["status"]["code"], &response["status"]["reason"]), (&json!(403), &json!("BadRequest")));
    assert!(response["status"]["message"].as_str().unwrap().contains("neither `source`"), "{answer}");

    let (status, problem) = post(&client, address, "{".into()).await.unwrap();
    assert_eq!((status, &problem["type"]), (400, &json!("https://kea-project.io/problems/malformed-review")));
    assert!(problem["detail"].as_str().unwrap().contains("no AdmissionReview"), "{problem}");
    stop.cancel();
}

#[tokio::test]
async fn nobody_else_is_trusted() {
    let (served, stop) = (Arc::<Served>::default(), CancellationToken::new());
    let (identity, stranger) = (Identity::new(HOST, Timestamp::now()), Identity::new(HOST, Timestamp::now()));
    served.put(&stranger).unwrap();
    let address = serve(&served, Some(nothing_stored()), &stop).await;
    let text = review(&json!({"image": "r/iris:1"}));
    assert!(post(&api_server(address, &identity.authority), address, text.clone()).await.unwrap_err().is_connect());
    // The right authority, and a certificate of another name.
    let other_name = Identity::new("kea-webhook.other.svc", Timestamp::now());
    served.put(&other_name).unwrap();
    assert!(post(&api_server(address, &other_name.authority), address, text).await.unwrap_err().is_connect());
    stop.cancel();
}

#[tokio::test]
async fn a_certificate_is_replaced_without_a_gap() {
    let (served, stop) = (Arc::<Served>::default(), CancellationToken::new());
    let (old, new) = (Identity::new(HOST, Timestamp::now()), Identity::new(HOST, Timestamp::now()));
    served.put(&old).unwrap();
    let address = serve(&served, Some(nothing_stored()), &stop).await;
    let text = review(&json!({"image": "r/iris:1"}));
    let trusts_both = api_server(address, &format!("{}{}", old.authority, new.authority));
    assert_eq!(post(&trusts_both, address, text.clone()).await.unwrap().0, 200);
    served.put(&new).unwrap();
    assert_eq!(post(&trusts_both, address, text.clone()).await.unwrap().0, 200);
    // It is the new one that is shown now.
    assert_eq!(post(&api_server(address, &new.authority), address, text.clone()).await.unwrap().0, 200);
    assert!(post(&api_server(address, &old.authority), address, text).await.is_err());
    stop.cancel();
}

#[tokio::test]
async fn a_key_of_another_certificate_is_not_taken() {
    let (mut mixed, other) = (Identity::new(HOST, Timestamp::now()), Identity::new(HOST, Timestamp::now()));
    mixed.key = other.key;
    let served = Served::default();
    assert!(served.put(&mixed).is_err());
    assert!(!served.has_certificate(), "the operator is not ready");
}

#[tokio::test]
async fn what_is_no_question_is_answered_as_http_asks() {
    let (served, stop) = (Arc::<Served>::default(), CancellationToken::new());
    let identity = Identity::new(HOST, Timestamp::now());
    served.put(&identity).unwrap();
    let address = serve(&served, None, &stop).await;
    let client = api_server(address, &identity.authority);
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    let url = |path: &str| format!("https://{HOST}:{}{path}", address.port());
    assert_eq!(status(client.get(url(PATH))).await, 405);
    assert_eq!(status(client.post(url("/other"))).await, 404);
    // Before the cluster has been seen nothing can be said of an object.
    assert_eq!(status(client.post(url(PATH)).body(review(&json!({})))).await, 503);
    stop.cancel();
}
