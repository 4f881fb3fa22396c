//! What a record costs the request that it is of, in nanoseconds: `cargo run -p kea-audit --example record_cost`.

use std::{
    hint::black_box,
    io::Write,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::Instant,
};

use bytes::Bytes;
use http::{Method, Response, Uri};
use http_body::Body;
use http_body_util::Full;
use kea_audit::{Begin, Limits, Options, SinkOptions, Stage, Trail, User};

/// Fewer than the queue holds, so that the writer's own work is not measured.
const RECORDS: u32 = 50_000;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let limits = Limits::default();
    let options =
        Options { folder: Some(folder.path().into()), limits, host: "here".into(), sinks: SinkOptions::default() };
    let trail = Trail::start(options).expect("a trail");
    let facts = Facts::new();
    for _ in 0..3 {
        let started = Instant::now();
        (0..RECORDS).for_each(|_| facts.request(&trail));
        let each = started.elapsed() / RECORDS;
        trail.flush().await;
        // Nobody may read it.
        let _ = writeln!(std::io::stdout(), "{} ns a record", each.as_nanos());
    }
    trail.stop().await;
}

/// What a request has at hand.
struct Facts {
    id: Arc<str>,
    user: User,
    uri: Uri,
    replica: Arc<str>,
    answer: Bytes,
}

impl Facts {
    fn new() -> Self {
        let user = User { name: "ada".into(), roles: ["engineer".to_owned()].into(), key: None };
        let uri = Uri::from_static("/api/v1/k8c/services/iris/predict");
        let answer = Bytes::from_static(b"{}");
        Self { id: "4bf92f3577b34da6a3ce929d0e0e4736".into(), user, uri, replica: "iris-1-0".into(), answer }
    }

    /// All that the stages of a call tell, and its answer to the end.
    fn request(&self, trail: &Trail) {
        let begin = Begin {
            request_id: self.id.clone(),
            trace_id: self.id.clone(),
            span: None,
            client: [127, 0, 0, 1].into(),
            method: Method::POST,
            uri: self.uri.clone(),
            length: Some(80),
        };
        let entry = trail.begin(begin);
        let record = entry.recorder();
        record.action("call", false);
        record.service("iris");
        record.function("predict", "kea");
        record.user(self.user.clone());
        record.version("1".into(), true);
        record.ended(Stage::Authenticate);
        record.ended(Stage::Validate);
        record.cache("bypass");
        record.replica(&self.replica);
        record.ended(Stage::Balance);
        record.ended(Stage::Upstream);
        let mut body = entry.answer(Response::new(Full::new(self.answer.clone())), None).into_body();
        let frame = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        black_box(frame.is_ready());
    }
}
