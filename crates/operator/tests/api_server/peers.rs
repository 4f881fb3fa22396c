//! Who else the operator speaks with: a registry of images, and replicas that tell what they offer.

use std::{collections::HashMap, future::Future, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, sync::Mutex};

/// Listens at a free port of this machine.
pub(crate) async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("this machine has a free port")
}

/// Answers whoever connects, for as long as the runtime lives. An error breaks the connection.
pub(crate) fn serve<F, B, E>(listener: TcpListener, answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static)
where
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer.clone()));
            tokio::spawn(connection);
        }
    });
}

/// A registry in which each repository has the tags 1 and 2.
pub(crate) struct Registry {
    host: String,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let listener = listen().await;
        let host = listener.local_addr().expect("it listens").to_string();
        let documents: Arc<HashMap<String, (&str, String)>> =
            Arc::new(["1", "2"].into_iter().flat_map(image).collect());
        serve(listener, move |request| {
            let last = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            let found = documents.get(&last).cloned();
            async move { Ok::<_, std::convert::Infallible>(document(found)) }
        });
        Self { host }
    }

    /// The name of an image.
    pub(crate) fn image(&self, name: &str, tag: &str) -> String {
        format!("{}/{name}:{tag}", self.host)
    }
}

fn document(found: Option<(&str, String)>) -> Response<Full<Bytes>> {
    let builder = Response::builder();
    let answer = match found {
        Some((kind, text)) => builder.header(header::CONTENT_TYPE, kind).body(Full::from(text)),
        None => builder.status(404).body(Full::from("{}")),
    };
    answer.expect("its parts are valid")
}

/// The documents of an image of a model, by the last parts of their paths.
fn image(tag: &'static str) -> Vec<(String, (&'static str, String))> {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/local/bin/kea", "model-server"],
            "Env": ["KEA_FRAMEWORK=ONNX", format!("TAG={tag}")],
            "Labels": {"ml.kea-project.framework": "ONNX"},
        },
        "rootfs": {"type": "layers", "diff_ids": []},
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest(&config),
            "size": config.len(),
        },
        "layers": [],
    })
    .to_string();
    vec![
        (tag.to_owned(), (MANIFEST, manifest.clone())),
        (digest(&manifest), (MANIFEST, manifest)),
        (digest(&config), ("application/octet-stream", config)),
    ]
}

fn digest(text: &str) -> String {
    let digits: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// Replicas of whatever services and versions are asked for.
#[derive(Default)]
pub(crate) struct Replicas(Mutex<HashMap<(String, String), u16>>);

impl Replicas {
    /// The port at which replicas of a version answer.
    pub(crate) async fn port(&self, service: &str, version: &str) -> u16 {
        let mut ports = self.0.lock().await;
        let key = (service.to_owned(), version.to_owned());
        if let Some(port) = ports.get(&key) {
            return *port;
        }
        let listener = listen().await;
        let port = listener.local_addr().expect("it listens").port();
        let report = report(service, version).to_string();
        serve(listener, move |_| {
            let report = report.clone();
            async move { Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(report))) }
        });
        ports.insert(key, port);
        port
    }
}

/// What a replica says of itself.
fn report(service: &str, version: &str) -> Value {
    let predict = json!({"name": "predict", "layout": "tensors", "inputs": [], "outputs": []});
    json!({"service": service, "version": version, "engine": "onnx", "ready": true, "reason": null,
           "contract": {"functions": [predict]}})
}
