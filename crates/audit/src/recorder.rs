//! A record while its request is under way: filled by the stages, finished by the end of the answer's body.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use kea_core::{Settings, service::AuditRules};
use pin_project_lite::pin_project;

use crate::{
    queue::Queue,
    record::{End, Outcome, Payload, Record, Span, Stage, User},
};

/// Bytes of a name that a caller chose: a path can be long.
const LONGEST_NAME: usize = 128;

/// The language of calls of gRPC.
pub const GRPC: &str = "grpc";

/// A record that is not finished.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) record: Record,
    started: Instant,
    /// When the last stage ended.
    last: Instant,
}

/// The handle by which the stages of a request fill its record. A clone is cheap; without a record it does nothing.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Option<Arc<Mutex<Draft>>>);

impl Recorder {
    /// The one of a request, from its extensions.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Held by one task at a time, for a few assignments.
    fn with(&self, change: impl FnOnce(&mut Record)) {
        if let Some(draft) = &self.0 {
            change(&mut lock(draft).record);
        }
    }

    /// What is done: the API's operationId, and whether it changes something.
    pub fn action(&self, action: &'static str, changes: bool) {
        self.with(|record| {
            record.action = action;
            record.changes = changes;
        });
    }

    /// Who calls.
    pub fn user(&self, user: User) {
        self.with(|record| record.user = Some(user));
    }

    /// Who wants to be let in: a name that nothing has proved yet.
    pub fn claimed_user(&self, name: &str) {
        let user = User { name: shortened(name).into(), roles: Arc::default(), key: None };
        self.user(user);
    }

    /// The service that is meant, whether there is one or not.
    pub fn service(&self, name: &str) {
        self.with(|record| record.service = Some(shortened(name).into()));
    }

    /// The function that is called, in the language of the body.
    pub fn function(&self, name: &str, protocol: &'static str) {
        self.with(|record| {
            record.function = Some(shortened(name).into());
            record.protocol = protocol;
        });
    }

    /// The version that answers, and whether its contract has the function.
    pub fn version(&self, version: Arc<str>, function_known: bool) {
        self.with(|record| {
            record.version = Some(version);
            record.function_known = function_known;
        });
    }

    /// Which calls of its service are written, and for how long.
    pub fn rules(&self, AuditRules { calls, keep, .. }: &AuditRules) {
        self.with(|record| (record.calls, record.keep) = (*calls, *keep));
    }

    /// The replica that it is sent to.
    pub fn replica(&self, name: &Arc<str>) {
        self.with(|record| record.replica = Some(name.clone()));
    }

    /// What the cache did: `hit`, `miss`, `bypass`.
    pub fn cache(&self, state: &'static str) {
        self.with(|record| record.cache = Some(state));
    }

    /// The model's answer does not fit its contract, first at that JSON pointer.
    pub fn misfit(&self, pointer: &str) {
        self.with(|record| record.misfit = Some(shortened(pointer).into()));
    }

    /// Keeps the bodies of this call where the service's rules say so, for a share of the calls.
    pub fn payload(&self, settings: &Arc<Settings>, request: &Bytes) {
        let sample = settings.audit.payload.sample;
        if sample > 0.0 && rand::random::<f64>() < sample {
            let payload = Payload { settings: settings.clone(), request: request.clone(), response: Vec::new() };
            self.with(|record| record.payload = Some(payload));
        }
    }

    /// The time since the last stage ended was this one's.
    pub fn ended(&self, stage: Stage) {
        let Some(draft) = &self.0 else { return };
        let mut draft = lock(draft);
        let now = Instant::now();
        let spent = u32::try_from(now.duration_since(draft.last).as_micros()).unwrap_or(u32::MAX);
        let sum = &mut draft.record.stages[stage as usize];
        *sum = sum.saturating_add(spent);
        draft.last = now;
    }

    /// More of the request's body has come.
    pub(crate) fn received(&self, bytes: u64) {
        self.with(|record| record.request_bytes += bytes);
    }
}

fn lock(draft: &Mutex<Draft>) -> MutexGuard<'_, Draft> {
    draft.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a record begins with.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Id of the request.
    pub request_id: Arc<str>,
    /// W3C trace id.
    pub trace_id: Arc<str>,
    /// Its part of that trace, where that is recorded.
    pub span: Option<Span>,
    /// Where it comes from.
    pub client: IpAddr,
    /// Its method.
    pub method: Method,
    /// What it asks for.
    pub uri: http::Uri,
    /// Bytes of its body, where it says so.
    pub length: Option<u64>,
}

/// A record's owner. It is written when this goes, however that comes: after the end of the answer, with a task that is
/// dropped because its caller left, or in a panic.
#[derive(Debug)]
pub struct Entry {
    recorder: Recorder,
    queue: Arc<Queue>,
    end: End,
    sent: u64,
    /// Bytes of the answer that are kept; 0 for nearly all.
    keep: usize,
}

impl Entry {
    pub(crate) fn begin(queue: Arc<Queue>, begin: Begin) -> Self {
        let Begin { request_id, trace_id, span, client, method, uri, length } = begin;
        let record = Record {
            client,
            span,
            request_bytes: length.unwrap_or_default(),
            ..Record::begun(request_id, trace_id, method, uri)
        };
        let now = Instant::now();
        let draft = Draft { record, started: now, last: now };
        Self { recorder: Recorder(Some(Arc::new(Mutex::new(draft)))), queue, end: End::Left, sent: 0, keep: 0 }
    }

    /// The handle for the stages.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Goes with the answer, to whose end the record waits. A problem is told with its status, which the answer may have in
    /// another protocol's way.
    pub fn answer<B: Body<Data = Bytes>>(
        mut self,
        response: Response<B>,
        problem: Option<(&'static str, StatusCode)>,
    ) -> Response<Recorded<B>> {
        let status = response.status();
        self.recorder.with(|record| {
            record.status = problem.map_or(status, |(_, status)| status).as_u16();
            record.problem = problem.map(|(kind, _)| kind);
            record.grpc_status = grpc_status(response.headers()).filter(|_| record.protocol == GRPC);
            // One more than the limit tells a body that is cut from one that is not.
            self.keep = record.payload.as_ref().map_or(0, |payload| payload.settings.audit.payload.limit() + 1);
        });
        if self.has_no_body(status) || response.body().is_end_stream() {
            self.end = End::Whole;
        }
        let expected = response.body().size_hint().exact();
        response.map(|body| Recorded { body, expected, entry: self })
    }

    /// Whether the answer ends with its head, whatever its body would be.
    fn has_no_body(&self, status: StatusCode) -> bool {
        let mut head = false;
        self.recorder.with(|record| head = record.method == Method::HEAD);
        head || status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(draft) = self.recorder.0.take() else { return };
        self.finish(&draft);
        self.queue.push(draft);
    }
}

impl Entry {
    fn hand_over(&mut self, data: Option<&Bytes>) {
        let Some(data) = data else { return };
        self.sent += data.len() as u64;
        if self.keep > 0 {
            let part = data.slice(..data.len().min(self.keep));
            self.keep -= part.len();
            self.recorder.with(|record| record.payload.iter_mut().for_each(|p| p.response.push(part.clone())));
        }
    }

    /// How a call of gRPC ended is said after its answer.
    fn trailers(&self, trailers: &HeaderMap) {
        self.recorder.with(|record| {
            if record.protocol == GRPC {
                record.grpc_status = grpc_status(trailers).or(record.grpc_status);
            }
        });
    }

    fn finish(&self, draft: &Mutex<Draft>) {
        let mut draft = lock(draft);
        let now = Instant::now();
        let rest = u32::try_from(now.duration_since(draft.last).as_micros()).unwrap_or(u32::MAX);
        let total = u64::try_from(now.duration_since(draft.started).as_micros()).unwrap_or(u64::MAX);
        let record = &mut draft.record;
        record.stages[Stage::Respond as usize] = rest;
        record.total = total;
        record.response_bytes = self.sent;
        record.judge(if std::thread::panicking() { End::Broken } else { self.end });
    }
}

/// Takes what is needed of a draft that is finished.
pub(crate) fn finished(draft: Arc<Mutex<Draft>>) -> Record {
    match Arc::try_unwrap(draft) {
        Ok(draft) => draft.into_inner().unwrap_or_else(PoisonError::into_inner).record,
        // A stage still has its handle, as one that streams a request's body.
        Err(shared) => lock(&shared).record.clone(),
    }
}

pin_project! {
    /// An answer's body that tells its record how it ended.
    pub struct Recorded<B> {
        #[pin]
        body: B,
        expected: Option<u64>,
        entry: Entry,
    }
}

impl<B: Body<Data = Bytes>> Body for Recorded<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let polled = this.body.as_mut().poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.entry.hand_over(frame.data_ref());
                if let Some(trailers) = frame.trailers_ref() {
                    this.entry.trailers(trailers);
                }
                // A server that knows the length does not ask for what comes after it.
                if this.body.is_end_stream() || *this.expected == Some(this.entry.sent) {
                    this.entry.end = End::Whole;
                }
            }
            Poll::Ready(Some(Err(_))) => this.entry.end = End::Broken,
            Poll::Ready(None) => this.entry.end = End::Whole,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pin_project! {
    /// A request's body of unknown length that tells its record how long it is.
    pub struct Counted<B> {
        #[pin]
        body: B,
        recorder: Recorder,
    }
}

impl<B> Counted<B> {
    /// Counts what comes of `body`.
    pub fn new(body: B, recorder: Recorder) -> Self {
        Self { body, recorder }
    }
}

impl<B: Body<Data = Bytes>> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            this.recorder.received(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn grpc_status(fields: &HeaderMap) -> Option<u32> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// A name that a caller chose, at most [`LONGEST_NAME`] bytes of it.
fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(LONGEST_NAME)]
}

/// The word of an outcome that a query asks for.
pub fn outcome(word: &str) -> Option<&'static str> {
    Outcome::WORDS.into_iter().find(|known| *known == word)
}
