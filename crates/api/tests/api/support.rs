//! The API under test, and what it answers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use kea_api::ApiState;
use kea_auth::{AuthSettings, Authenticator, Origin, Sso, oidc::Provider, policy::Policies};
use kea_logs::LogBook;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::fakes::{FakeDeployer, FakeGateway, FakePolicies};

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct TestApi {
    router: Router,
    pub(crate) token: String,
    pub(crate) logs: Arc<LogBook>,
    pub(crate) stopping: CancellationToken,
    ready: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// `null` where the body is no JSON.
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn pointers(&self) -> Vec<&str> {
        self.json["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect()
    }
}

impl TestApi {
    pub(crate) async fn start() -> Self {
        Self::with_providers(Vec::new()).await
    }

    /// One at which people may log in by these providers, too.
    pub(crate) async fn with_providers(providers: Vec<Arc<Provider>>) -> Self {
        let store = Arc::new(kea_store::SqlStore::open_in_memory().await.unwrap());
        let policies = Arc::new(Policies::open(Arc::new(FakePolicies::default()), store.clone()).await.unwrap());
        let auth = Authenticator::new(store, AuthSettings::default()).await.unwrap();
        auth.ensure_admin(Some(PASSWORD)).await.unwrap();
        let origin = Origin { address: [127, 0, 0, 1].into(), user_agent: None };
        let token = auth.login("admin", PASSWORD, &origin).await.unwrap().token;
        let folder = tempfile::tempdir().unwrap();
        let logs = Arc::new(LogBook::open(folder.path().to_owned(), kea_logs::Limits::default()).unwrap());
        let ready = Arc::new(AtomicBool::new(true));
        let stopping = CancellationToken::new();
        let options = kea_audit::Options {
            folder: Some(folder.path().join("audit")),
            limits: kea_audit::Limits::default(),
            host: "here".into(),
            sinks: kea_audit::SinkOptions::default(),
        };
        let audit = kea_audit::Trail::start(options).unwrap();
        let auth = Arc::new(auth);
        let sso = Arc::new(Sso::new(auth.clone(), providers, "https://kea.example".into()).await.unwrap());
        let state = ApiState {
            sso,
            deployer: Arc::new(FakeDeployer::new()),
            auth,
            policies,
            logs: logs.clone(),
            gateway: Arc::new(FakeGateway),
            ready: ready.clone(),
            stopping: stopping.clone(),
            metrics: Arc::new(|| "kea_up 1\n".into()),
            audit,
        };
        Self { router: kea_api::router(state), token, ready, logs, stopping, _folder: folder }
    }

    pub(crate) fn not_ready(&self) {
        self.ready.store(false, Ordering::Release);
    }

    /// A request with the token.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let content_type = if body.is_empty() { vec![] } else { vec![("content-type", "application/json")] };
        self.send(method, path, &[&[("authorization", bearer.as_str())], content_type.as_slice()].concat(), body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }

    /// A request with those headers and no other.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let response = self.open(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { status: parts.status, headers: parts.headers, text, json }
    }

    /// The same, with the body still to be read.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> http::Response<Body> {
        let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_LENGTH, body.len());
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let router = self.router.clone();
        kea_http::rim(request, |request| async { router.oneshot(request).await.unwrap() }).await
    }
}
