use std::fs;

use kea_core::contract::web::WebMethod;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

const SOURCE: &str = "from flask import Flask\n\napp = Flask(__name__)\n\n\n@app.get('/items/<int:id>')\ndef item(id):\n    \
                      \"\"\"One item.\"\"\"\n    return {}\n\n\n@app.post('/hidden')\ndef hidden():\n    return {}\n";

const DOCUMENT: &str =
    r#"{"openapi": "3.0.0", "info": {}, "paths": {"/items/{item}": {"get": {"summary": "Its own."}}}}"#;

/// A web service that answers every request with this.
async fn service(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

async fn contract(answer: String, source: Option<&str>) -> Arc<Contract> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.py"), source.unwrap_or_default()).unwrap();
    let address = service(answer).await;
    of(&address, WebProtocol::Http1, source.map(|_| (folder.path(), &[][..]))).await
}

fn operations(contract: &Contract) -> Vec<(WebMethod, &str, &str)> {
    contract.operations.iter().map(|one| (one.method, &*one.path, &*one.description)).collect()
}

#[tokio::test]
async fn without_a_document_the_source_tells() {
    let found = contract(answer("404 Not Found", "no"), Some(SOURCE)).await;
    assert_eq!(operations(&found), [(WebMethod::Get, "/items/{id}", "One item."), (WebMethod::Post, "/hidden", "")]);
    assert_eq!(found.platform, "flask");
}

#[tokio::test]
async fn the_running_services_document_counts_and_contradictions_are_told() {
    let found = contract(answer("200 OK", DOCUMENT), Some(SOURCE)).await;
    assert_eq!(operations(&found), [(WebMethod::Get, "/items/{item}", "Its own.")]);
    assert!(
        found.incomplete.iter().any(|note| note.ends_with("does not list: POST /hidden")),
        "{:?}",
        found.incomplete
    );
    let alone = contract(answer("200 OK", DOCUMENT), None).await;
    assert_eq!((operations(&alone).len(), alone.incomplete.len()), (1, 0));
}

#[tokio::test]
async fn what_is_no_document_says_nothing() {
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(LARGEST + 1));
    let longer = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}".to_owned();
    for answer in [answer("200 OK", "<html>"), answer("500 Oops", DOCUMENT), "SSH-2.0\r\n".into(), endless, longer] {
        let found = contract(answer, None).await;
        assert_eq!((found.operations.len(), &*found.incomplete[0]), (0, UNKNOWN));
    }
}
