//! Kubernetes' API over HTTP/1.1, as far as the operator speaks it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::{
    faults::{Asked, Fault, Faults, Refusal, Verb},
    objects::{Key, Objects, Part, Refused},
    watching::{self, Cut},
};
use crate::peers;

pub(super) type Body = BoxBody<Bytes, Broken>;

/// Why a connection ends without an answer, or in the midst of one.
#[derive(Debug, thiserror::Error)]
#[error("the connection breaks")]
pub(crate) struct Broken;

/// A mocked API server.
pub(crate) struct ApiServer {
    pub(crate) objects: Objects,
    pub(crate) faults: Faults,
    pub(super) cuts: broadcast::Sender<Cut>,
    asked: Mutex<Vec<Asked>>,
    is_away: AtomicBool,
    turned_away: AtomicUsize,
    refuses_old_watches: AtomicBool,
    started: Instant,
    port: u16,
}

impl ApiServer {
    /// A server at a free port of this machine, for as long as the runtime lives.
    pub(crate) async fn start() -> Arc<Self> {
        let listener = peers::listen().await;
        let server = Arc::new(Self {
            objects: Objects::new(),
            faults: Faults::default(),
            cuts: broadcast::channel(16).0,
            asked: Mutex::default(),
            is_away: AtomicBool::new(false),
            turned_away: AtomicUsize::new(0),
            refuses_old_watches: AtomicBool::new(false),
            started: Instant::now(),
            port: listener.local_addr().expect("it listens").port(),
        });
        let answering = server.clone();
        peers::serve(listener, move |request| {
            let server = answering.clone();
            async move { server.answer(request).await }
        });
        server
    }

    pub(crate) fn uri(&self) -> Uri {
        format!("http://127.0.0.1:{}", self.port).parse().expect("an address is a URI")
    }

    /// Whatever has been asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many requests of a kind there were.
    pub(crate) fn count(&self, of: impl Fn(&Asked) -> bool) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| of(asked)).count()
    }

    /// Ends the watches that there are now.
    pub(crate) fn cut_watches(&self, cut: Cut) {
        // Nobody may watch at the moment.
        let _ = self.cuts.send(cut);
    }

    /// From now on nobody is answered, or everybody is again.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
        if is_away {
            self.cut_watches(Cut::Break);
        }
    }

    /// How many requests came while nobody was answered.
    pub(crate) fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::SeqCst)
    }

    /// Whether a watch from a forgotten version is refused with 410; else it begins, and its first event says so.
    pub(crate) fn refuse_old_watches(&self, refuses: bool) {
        self.refuses_old_watches.store(refuses, Ordering::SeqCst);
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
        if self.is_away.load(Ordering::SeqCst) {
            self.turned_away.fetch_add(1, Ordering::SeqCst);
            return Err(Broken);
        }
        let Some(target) = Target::of(&request) else { return Ok(discovery(request.uri().path())) };
        let asked = target.asked(self.started.elapsed());
        self.asked.lock().unwrap().push(asked.clone());
        let fault = self.faults.strike(&asked);
        match fault {
            Some(Fault::Answer(refusal)) => return Ok(refuse(&refusal)),
            Some(Fault::Drop) => return Err(Broken),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::LoseAnswer) | None => {}
        };
        let body = request.into_body().collect().await.map_err(|_| Broken)?.to_bytes();
        let answer = self.done(target, &body);
        if matches!(fault, Some(Fault::LoseAnswer)) { Err(Broken) } else { Ok(answer) }
    }

    fn done(self: Arc<Self>, target: Target, body: &[u8]) -> Response<Body> {
        let Target { verb, key, part, query, content_type, .. } = target;
        let sent = || serde_json::from_slice::<Value>(body).expect("clients send JSON");
        let done = match verb {
            Verb::Get => self.objects.get(&key).ok_or(Refused::NotFound),
            Verb::List => Ok(self.list(&key, &query)),
            Verb::Watch => {
                let version = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
                match self.objects.since(version) {
                    Err(gone) if self.refuses_old_watches.load(Ordering::SeqCst) => Err(gone),
                    _ => return watching::answer(self, key, version, &query),
                }
            }
            Verb::Create => {
                let object = sent();
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                self.objects.create(&Key::new(&key.resource, &key.namespace, name), object.clone())
            }
            Verb::Replace => self.objects.replace(&key, part, sent()),
            Verb::Patch if content_type == "application/merge-patch+json" => self.objects.merge(&key, part, &sent()),
            Verb::Patch if content_type == "application/apply-patch+yaml" => {
                let manager = query.get("fieldManager").map(String::as_str).unwrap_or_default();
                self.objects.apply(&key, part, manager, &sent())
            }
            Verb::Patch => panic!("the mocked server has no patches of type {content_type}"),
            Verb::Delete => self.objects.delete(&key).map(|()| json!({"kind": "Status", "status": "Success"})),
        };
        match done {
            Ok(answer) if verb == Verb::Create => write(StatusCode::CREATED, &answer),
            Ok(answer) => write(StatusCode::OK, &answer),
            Err(refused) => refuse(&refusal(&refused, &key)),
        }
    }

    fn list(&self, key: &Key, query: &HashMap<String, String>) -> Value {
        let selector = query.get("labelSelector").map(String::as_str);
        let (found, version) = self.objects.list(&key.resource);
        let found = found.into_iter().filter(|(found, object)| is_of(found, &key.namespace, object, selector));
        let items: Vec<Value> = found.map(|(_, object)| object).collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version.to_string()}, "items": items})
    }
}

/// Whether an object is in the namespace, where one is named, and has the labels `a=b,c=d`.
pub(super) fn is_of(key: &Key, namespace: &str, object: &Value, selector: Option<&str>) -> bool {
    let labels = &object["metadata"]["labels"];
    let mut pairs = selector.unwrap_or_default().split(',').filter_map(|pair| pair.split_once('='));
    (namespace.is_empty() || key.namespace == namespace) && pairs.all(|(label, value)| labels[label] == value)
}

pub(super) fn refusal(refused: &Refused, key: &Key) -> Refusal {
    let (code, reason, what) = match refused {
        Refused::NotFound => (StatusCode::NOT_FOUND, "NotFound", "not found"),
        Refused::AlreadyExists => (StatusCode::CONFLICT, "AlreadyExists", "already exists"),
        Refused::Conflict => (StatusCode::CONFLICT, "Conflict", "the object has been modified"),
        Refused::Gone => (StatusCode::GONE, "Expired", "too old resource version"),
    };
    let message = format!("{} \"{}\": {what}", key.resource, key.name);
    Refusal { code, reason, message, retry_after: None }
}

/// Kubernetes' own form of a refusal.
pub(super) fn status(refusal: &Refusal) -> Value {
    let Refusal { code, reason, message, .. } = refusal;
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
           "reason": reason, "code": code.as_u16()})
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    let mut answer = write(refusal.code, &status(refusal));
    if let Some(seconds) = refusal.retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

fn write(code: StatusCode, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never| match never {}).boxed();
    let answer = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json").body(body);
    answer.expect("its parts are valid")
}

/// What the server says that it has: the operator asks for groups alone.
fn discovery(path: &str) -> Response<Body> {
    let version = json!({"groupVersion": "policy/v1", "version": "v1"});
    match path {
        "/apis" => {
            let group = json!({"name": "policy", "versions": [version], "preferredVersion": version});
            write(StatusCode::OK, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}))
        }
        _ => write(StatusCode::NOT_FOUND, &json!({"kind": "Status", "status": "Failure", "code": 404})),
    }
}

/// What a request is about.
struct Target {
    client: String,
    verb: Verb,
    key: Key,
    part: Part,
    query: HashMap<String, String>,
    content_type: String,
}

impl Target {
    /// `None` for what is about no object.
    fn of<B>(request: &Request<B>) -> Option<Self> {
        let header = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let query = request.uri().query().unwrap_or_default();
        let query: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let (key, part) = object(request.uri().path())?;
        let verb = match *request.method() {
            Method::GET if !key.name.is_empty() => Verb::Get,
            Method::GET if query.get("watch").is_some_and(|watch| watch == "true") => Verb::Watch,
            Method::GET => Verb::List,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Replace,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ => return None,
        };
        Some(Self { client: header("x-client"), verb, key, part, query, content_type: header("content-type") })
    }

    fn asked(&self, at: std::time::Duration) -> Asked {
        let Self { client, verb, key, part, .. } = self;
        Asked { client: client.clone(), verb: *verb, key: key.clone(), is_status: *part == Part::Status, at }
    }
}

/// The object, or the objects, that a path names.
fn object(path: &str) -> Option<(Key, Part)> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match &parts[..] {
        ["api", _version, rest @ ..] => (None, rest),
        ["apis", group, _version, rest @ ..] => (Some(group), rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let (plural, name, part) = match rest {
        [plural] => (plural, "", Part::Whole),
        [plural, name] => (plural, *name, Part::Whole),
        [plural, name, "status"] => (plural, *name, Part::Status),
        _ => return None,
    };
    let resource = group.map_or_else(|| (*plural).to_string(), |group| format!("{group}/{plural}"));
    Some((Key::new(&resource, namespace, name), part))
}
