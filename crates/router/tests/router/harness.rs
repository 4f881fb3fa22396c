//! A router, the users that it knows, and replicas that do as a test says.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use kea_auth::{AuthSettings, Authenticator, Origin, policy::Policies};
use kea_core::{
    Contract, Datatype, Engine, Field, Function, Layout, Settings, ValueType,
    port::{RouteFollower, User, UserStore},
    routing::{RoutingSnapshot, ServiceRoute, VersionRoute},
    service::ReplicaAddress,
};
use kea_router::{
    Router,
    cache::{MemoryCache, ResponseCache},
};
use kea_store::SqlStore;
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore};

pub(crate) const BASE: &str = "/api/v1/k8c/services";

/// A model server: it counts its calls and answers what its test says.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

struct Seen {
    calls: AtomicUsize,
    /// One permit a call that may be answered.
    gate: Semaphore,
    answer: Box<dyn Fn(usize) -> Response + Send + Sync>,
}

impl Replica {
    /// One that answers its calls, counted from 1, in this way.
    pub(crate) async fn answering(answer: impl Fn(usize) -> Response + Send + Sync + 'static) -> Self {
        Self::start(Semaphore::MAX_PERMITS, answer).await
    }

    /// One that answers no call until it is let.
    pub(crate) async fn waiting(answer: impl Fn(usize) -> Response + Send + Sync + 'static) -> Self {
        Self::start(0, answer).await
    }

    async fn start(permits: usize, answer: impl Fn(usize) -> Response + Send + Sync + 'static) -> Self {
        let (calls, gate) = (AtomicUsize::new(0), Semaphore::new(permits));
        let seen = Arc::new(Seen { calls, gate, answer: Box::new(answer) });
        let state = seen.clone();
        let app = axum::Router::new().fallback(move |request: Request| {
            let seen = state.clone();
            async move {
                request.into_body().collect().await.unwrap();
                let call = seen.calls.fetch_add(1, Ordering::SeqCst) + 1;
                seen.gate.acquire().await.unwrap().forget();
                (seen.answer)(call)
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, seen }
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn let_answer(&self, calls: usize) {
        self.seen.gate.add_permits(calls);
    }
}

/// An answer that tells the number of the call.
pub(crate) fn numbered(call: usize) -> Response {
    axum::response::IntoResponse::into_response(axum::Json(json!({"predictions": [{"call": call}]})))
}

/// A router, and the tokens of two users of it.
pub(crate) struct Gateway {
    pub(crate) router: Arc<Router>,
    pub(crate) ada: String,
    pub(crate) bob: String,
}

impl Gateway {
    pub(crate) async fn new() -> Self {
        Self::with(Arc::new(MemoryCache::new(16 << 20))).await
    }

    pub(crate) async fn with(cache: Arc<dyn ResponseCache>) -> Self {
        let store = Arc::new(SqlStore::open_in_memory().await.unwrap());
        let auth = Arc::new(Authenticator::new(store.clone(), AuthSettings::default()).await.unwrap());
        let policies = Arc::new(Policies::open(store.clone(), store.clone()).await.unwrap());
        auth.ensure_admin(Some("a secret")).await.unwrap();
        let admin = store.user("admin").await.unwrap().unwrap();
        for name in ["ada", "bob"] {
            store.put_user(&User { username: name.into(), ..admin.clone() }).await.unwrap();
        }
        let origin = Origin { address: [127, 0, 0, 1].into(), user_agent: None };
        let ada = auth.login("ada", "a secret", &origin).await.unwrap();
        let bob = auth.login("bob", "a secret", &origin).await.unwrap();
        Self { router: Arc::new(Router::new(auth, policies, cache, 1 << 20)), ada: ada.token, bob: bob.token }
    }

    pub(crate) fn follow(&self, services: impl IntoIterator<Item = ServiceRoute>) {
        let services = services.into_iter().map(|route| (route.id.clone(), Arc::new(route))).collect();
        self.router.follow(&RoutingSnapshot { services });
    }

    /// Calls a function of `iris` as ada.
    pub(crate) async fn call(&self, function: &str, x: f64, headers: &[(&str, &str)]) -> Answer {
        self.call_as(&self.ada, function, x, headers).await
    }

    pub(crate) async fn call_as(&self, token: &str, function: &str, x: f64, headers: &[(&str, &str)]) -> Answer {
        let body = json!({"inputs": {"x": x}}).to_string();
        self.send(token, &format!("{BASE}/iris/{function}"), body, headers).await
    }

    pub(crate) async fn send(&self, token: &str, path: &str, body: String, headers: &[(&str, &str)]) -> Answer {
        let mut request = http::Request::post(path).header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.handle(request.body(Body::from(body)).unwrap()).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// How the cache took part, and the number of the model's call.
    pub(crate) fn told(&self) -> (&str, usize) {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let tensor = |body: &serde_json::Value| body["outputs"][0]["data"][0].as_u64();
        let call = body["predictions"][0]["call"].as_u64().or_else(|| tensor(&body)).unwrap();
        (self.header("kea-cache"), usize::try_from(call).unwrap())
    }
}

/// One contract for all services, as routes that do not change keep theirs.
fn contract() -> Arc<Contract> {
    static CONTRACT: OnceLock<Arc<Contract>> = OnceLock::new();
    CONTRACT.get_or_init(new_contract).clone()
}

/// Functions `predict` and `other`, and `draw`, which answers differently each time.
pub(crate) fn new_contract() -> Arc<Contract> {
    let function = |name: &str| Function {
        name: name.into(),
        description: String::new(),
        layout: Layout::Features,
        inputs: vec![Field::new("x", ValueType::Scalar { datatype: Datatype::Fp64 })],
        outputs: vec![],
        idempotent: true,
        deterministic: name != "draw",
    };
    let functions = ["predict", "other", "draw"].map(function).into();
    Arc::new(Contract { functions, ..Contract::default() })
}

/// The service `iris` with one version and its replicas.
pub(crate) fn iris(version: &str, replicas: &[&Replica], settings: serde_json::Value) -> ServiceRoute {
    service("iris", version, replicas, settings)
}

pub(crate) fn service(id: &str, version: &str, replicas: &[&Replica], settings: serde_json::Value) -> ServiceRoute {
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let address = |(at, replica): (usize, &&Replica)| ReplicaAddress {
        name: format!("{id}-{version}-{at}").into(),
        address: replica.address,
        tls_name: None,
    };
    ServiceRoute {
        id: id.parse().unwrap(),
        live: Some(version.parse().unwrap()),
        versions: vec![VersionRoute {
            version: version.parse().unwrap(),
            made_at: 7,
            engine: Engine::Onnx,
            contract: Some(contract()),
            replicas: replicas.iter().enumerate().map(address).collect(),
        }],
        canary: None,
        shadow: None,
        reason: None,
        settings: Arc::new(settings),
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("it comes true");
}
