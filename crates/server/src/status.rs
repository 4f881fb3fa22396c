//! How the replica is: one state, which its starter hears over the control channel, and everyone else reads over HTTP.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};
use kea_core::{
    Contract, Engine, ServiceId, VersionId,
    replica::{REPORT_PATH, ReplicaReport},
};
use kea_http::ApiError;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use crate::{
    answer::RETRY_AFTER,
    control::{Control, Event},
};

/// What is known of the replica.
pub(crate) struct Status {
    service: ServiceId,
    version: VersionId,
    engine: Engine,
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct State {
    condition: Condition,
    contract: Option<Arc<Contract>>,
    /// Whether it was told to stop.
    stopping: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Loading,
    Ready,
    Unready(String),
    Failed(String),
}

impl Status {
    /// Of a replica that has just been started.
    pub(crate) fn new(service: ServiceId, version: VersionId, engine: Engine) -> Self {
        let state = State { condition: Condition::Loading, contract: None, stopping: false };
        Self { service, version, engine, state: watch::Sender::new(state) }
    }

    pub(crate) fn note(&self, event: &Event) {
        self.state.send_modify(|state| match event {
            Event::Listening { .. } => {}
            Event::Ready { contract } => {
                state.condition = Condition::Ready;
                state.contract = Some(contract.clone());
            }
            Event::Unready { reason } => state.condition = Condition::Unready(reason.clone()),
            Event::Failed { reason } => state.condition = Condition::Failed(reason.clone()),
        });
    }

    /// It was told to stop: what still comes is answered, but nobody is to send more.
    pub(crate) fn stop(&self) {
        self.state.send_modify(|state| state.stopping = true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.state.borrow().stopping
    }

    /// The answer at a path where a replica of any engine tells how it is.
    pub(crate) fn answer(&self, path: &str) -> Option<Result<Response, ApiError>> {
        match path {
            REPORT_PATH => Some(Ok(json_answer(&self.report()))),
            "/healthz" => Some(self.live().map(|()| json_answer(&json!({"status": "ok"})))),
            "/readyz" => Some(self.ready().map(|()| json_answer(&json!({"status": "ready"})))),
            _ => None,
        }
    }

    fn report(&self) -> ReplicaReport {
        let reason = self.reason();
        ReplicaReport {
            service: self.service.clone(),
            version: self.version.clone(),
            engine: self.engine,
            ready: reason.is_none(),
            reason,
            contract: self.state.borrow().contract.clone(),
        }
    }

    fn subject(&self) -> &'static str {
        match self.engine {
            Engine::Python | Engine::Onnx => "the model",
            Engine::External => "the web service",
        }
    }

    fn loading(&self) -> &'static str {
        match self.engine {
            Engine::Python | Engine::Onnx => "the model is loading",
            Engine::External => "the web service has not answered yet",
        }
    }

    /// Why the replica is not to be sent requests.
    fn reason(&self) -> Option<String> {
        let state = self.state.borrow();
        match &state.condition {
            Condition::Unready(reason) | Condition::Failed(reason) => Some(reason.clone()),
            _ if state.stopping => Some("the replica is about to end".into()),
            Condition::Loading => Some(self.loading().into()),
            Condition::Ready => None,
        }
    }

    /// Whether it is worth to let it go on: a model that loads takes its time, and one that is away for the moment comes
    /// back by itself, so only one that can never answer is not.
    ///
    /// # Errors
    /// 503 with the reason.
    pub(crate) fn live(&self) -> Result<(), ApiError> {
        let failed = matches!(self.state.borrow().condition, Condition::Failed(_));
        if failed { Err(self.not_ready()) } else { Ok(()) }
    }

    /// Whether it is to be sent requests.
    ///
    /// # Errors
    /// 503 with the reason.
    pub(crate) fn ready(&self) -> Result<(), ApiError> {
        if self.reason().is_none() { Ok(()) } else { Err(self.not_ready()) }
    }

    /// Whether what has come is to be answered: also on the way out.
    ///
    /// # Errors
    /// 503 with the reason.
    pub(crate) fn serving(&self) -> Result<(), ApiError> {
        let ready = self.state.borrow().condition == Condition::Ready;
        if ready { Ok(()) } else { Err(self.not_ready()) }
    }

    /// What a request is answered with that comes at the wrong time.
    pub(crate) fn not_ready(&self) -> ApiError {
        let state = self.state.borrow();
        let detail = match &state.condition {
            Condition::Ready if state.stopping => "the replica is about to end: ask another".into(),
            Condition::Loading => format!("{}: try again in a moment", self.loading()),
            Condition::Ready => "it has only just become ready: try again".into(),
            Condition::Unready(reason) => format!("{} is not ready: {reason}", self.subject()),
            Condition::Failed(reason) => format!("{} cannot be served: {reason}", self.subject()),
        };
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail).with_retry_after(RETRY_AFTER)
    }
}

/// Where a replica's life tells how it is.
pub(crate) struct Reporter {
    control: Control,
    status: Arc<Status>,
}

impl Reporter {
    pub(crate) fn new(control: Control, status: Arc<Status>) -> Self {
        Self { control, status }
    }

    pub(crate) fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Tells all who want to know: whoever reads the status after the starter has heard it finds it there.
    pub(crate) async fn tell(&mut self, event: &Event) {
        self.status.note(event);
        self.control.tell(event).await;
    }
}

/// An answer of 200 in JSON.
pub(crate) fn json_answer(value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("what KEA says of itself is JSON");
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status::new("iris".parse().unwrap(), "1".parse().unwrap(), Engine::Python)
    }

    /// Status of `/healthz` and of `/readyz`, and the reason, after `events`.
    fn after(events: &[Event]) -> (u16, u16, Option<String>) {
        let status = status();
        events.iter().for_each(|event| status.note(event));
        let code = |path| match status.answer(path).unwrap() {
            Ok(response) => response.status().as_u16(),
            Err(error) => error.status.as_u16(),
        };
        assert_eq!(code(REPORT_PATH), 200);
        (code("/healthz"), code("/readyz"), status.report().reason)
    }

    fn ready() -> Event {
        Event::Ready { contract: Arc::default() }
    }

    fn unready() -> Event {
        Event::Unready { reason: "it crashed".into() }
    }

    fn failed() -> Event {
        Event::Failed { reason: "it is no model".into() }
    }

    #[test]
    fn a_replica_is_ready_once_its_model_is_and_alive_until_it_can_never_be() {
        assert_eq!(after(&[]), (200, 503, Some("the model is loading".into())));
        assert_eq!(after(&[ready()]), (200, 200, None));
        assert_eq!(after(&[ready(), unready()]), (200, 503, Some("it crashed".into())));
        assert_eq!(after(&[ready(), unready(), ready()]), (200, 200, None));
        assert_eq!(after(&[failed()]), (503, 503, Some("it is no model".into())));
    }

    #[test]
    fn a_replica_that_is_to_end_is_alive_and_not_ready() {
        let status = status();
        status.note(&ready());
        status.stop();
        assert_eq!(status.ready().unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(status.live().is_ok());
        assert_eq!(status.report().reason.as_deref(), Some("the replica is about to end"));
    }

    #[test]
    fn what_a_model_offers_is_known_while_it_is_away() {
        let status = status();
        assert_eq!(status.report().contract, None);
        status.note(&ready());
        status.note(&unready());
        assert_eq!(status.report().contract, Some(Arc::default()));
    }

    #[test]
    fn other_paths_are_not_the_replicas_own() {
        assert!(status().answer("/kea").is_none());
        assert!(status().answer("/").is_none());
    }
}
