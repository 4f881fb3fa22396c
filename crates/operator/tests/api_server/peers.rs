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
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, sync::Mutex};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

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
            "Labels": {"ml.kea-project.framework": "ONNX", "ml.kea-project.tls": "mutual"},
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
pub(crate) struct Replicas {
    ports: Mutex<HashMap<(String, String, bool), u16>>,
    /// The function that a version has in place of `predict`.
    functions: std::sync::Mutex<HashMap<&'static str, &'static str>>,
}

impl Replicas {
    /// From its first replica on, a version has that function in place of `predict`.
    pub(crate) fn have(&self, version: &'static str, function: &'static str) {
        self.functions.lock().expect("nobody panics with it").insert(version, function);
    }

    /// The port at which replicas of a version answer; by mutual TLS where the Secret for it is given.
    pub(crate) async fn port(&self, service: &str, version: &str, secret: Option<&Value>) -> u16 {
        let mut ports = self.ports.lock().await;
        let key = (service.to_owned(), version.to_owned(), secret.is_some());
        if let Some(port) = ports.get(&key) {
            return *port;
        }
        let listener = listen().await;
        let port = listener.local_addr().expect("it listens").port();
        let function = self.functions.lock().expect("nobody panics with it").get(version).copied();
        let report = report(service, version, function.unwrap_or("predict")).to_string();
        let answer = move |_| {
            let report = report.clone();
            async move { Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(report))) }
        };
        match secret {
            None => serve(listener, answer),
            Some(secret) => serve_tls(listener, mutual_tls(secret), answer),
        }
        ports.insert(key, port);
        port
    }
}

/// The same within TLS.
fn serve_tls<F>(
    listener: TcpListener,
    tls: TlsAcceptor,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = Result<Response<Full<Bytes>>, std::convert::Infallible>> + Send + 'static,
{
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = tls.accept(stream).await else { continue };
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer.clone()));
            tokio::spawn(connection);
        }
    });
}

/// TLS as a replica does it that has this Secret.
fn mutual_tls(secret: &Value) -> TlsAcceptor {
    let part = |name: &str| serde_json::from_value::<ByteString>(secret["data"][name].clone()).unwrap().0;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut clients = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&part("ca.crt")) {
        clients.add(authority.unwrap()).unwrap();
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(clients.into(), provider.clone()).build().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(&part("tls.crt")).unwrap()];
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(verifier);
    let key = PrivateKeyDer::from_pem_slice(&part("tls.key")).unwrap();
    TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()))
}

/// What a replica says of itself.
fn report(service: &str, version: &str, function: &str) -> Value {
    let predict = json!({"name": function, "layout": "tensors", "inputs": [], "outputs": []});
    json!({"service": service, "version": version, "engine": "onnx", "ready": true, "reason": null,
           "contract": {"functions": [predict]}})
}
