//! The third stage: sending a call to a replica and streaming its answer back.
//!
//! A call is sent a second time only when nothing of it reached a model, or the function is declared idempotent; and
//! only while the service's budget of such calls lasts. All that is done for a call is done by its deadline.

mod answer;
mod aside;
mod attempt;
mod outgoing;
mod upload;

use std::{net::IpAddr, ops::ControlFlow, pin::Pin, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{StatusCode, request::Parts};
use kea_audit::{Recorder, Stage};
use kea_http::ApiError;
use tokio::time::{Instant, timeout_at};

pub(crate) use self::aside::Aside;
use self::{
    attempt::{Failure, Untouched, attempt},
    upload::{Progress, Upload},
};
use crate::{
    RouterError, clock,
    endpoint::Endpoint,
    grpc,
    limit::{Place, Shed},
    table::{ServiceEntry, VersionEntry},
    validate::{CallBody, ValidCall},
};

/// The inner network's timeout where a service does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a caller is told whose body was not whole when the time for the answer was over.
const SLOW: &str = "the body was still arriving when the time for the answer was over: send it faster";

/// What a caller of gRPC is told whose own deadline is over.
const OVER: &str = "the time that the caller gave the call is over";

/// How long replicas have for an answer.
pub(crate) fn limit(call: &ValidCall) -> Duration {
    grpc::limit(call.admitted.version(), &call.parts, limit_of(&call.admitted.service))
}

/// How long replicas of a service have, whatever a caller says.
fn limit_of(service: &ServiceEntry) -> Duration {
    service.route.settings.timeout.map_or(DEFAULT_TIMEOUT, |span| span.0)
}

/// Sends the call to one replica after the other until one answers.
pub(crate) async fn send(call: &mut ValidCall) -> Result<Response, RouterError> {
    let service = call.admitted.service.clone();
    let settings = &service.route.settings;
    let (limit, came) = (limit(call), Instant::now());
    let deadline = came + limit;
    service.budget.deposit(settings.limits.retry_percent);
    let record = Recorder::of(&call.parts.extensions);
    let place = service.gate.enter(&settings.limits, deadline).await.map_err(|shed| {
        record.ended(Stage::Balance);
        busy(&service, shed)
    })?;
    let copied = service.shadow.as_ref().and_then(|shadow| shadow.copy(call, deadline));
    let (body, upload) = match &mut call.body {
        CallBody::Whole(bytes) => (Payload::Whole(bytes.clone()), None),
        CallBody::Stream(body) => {
            let (body, progress) = Upload::new(std::mem::take(body));
            (Payload::Stream(Body::new(body)), Some(progress))
        }
    };
    let version = call.admitted.version();
    let (parts, function, client) = (&call.parts, &*call.admitted.function, call.admitted.client);
    let (is_idempotent, began) = (is_idempotent(version, function), Instant::now());
    let (service, is_hurried) = (&*service, limit < limit_of(&service));
    let relay = Relay {
        is_hurried,
        parts,
        function,
        is_idempotent,
        client,
        service,
        version,
        record,
        upload,
        came,
        began,
        deadline,
    };
    let answered = relay.send(body).await;
    relay.tell(&place, answered.as_ref().err());
    let answered = answered.map_err(|failed| failed.error(service.route.id.to_string(), limit));
    match copied {
        Some(theirs) => theirs.watch(answered),
        None => answered,
    }
}

/// Whether the contract says that calling it twice does no harm.
pub(crate) fn is_idempotent(version: &VersionEntry, function: &str) -> bool {
    let contract = version.validator.as_ref().map(|validator| validator.contract());
    contract.and_then(|contract| contract.function(function)).is_some_and(|function| function.idempotent)
}

fn busy(service: &ServiceEntry, Shed { retry_after }: Shed) -> RouterError {
    RouterError::Overloaded { service: service.route.id.to_string(), retry_after }
}

/// The body of a call, as often as it can be sent.
enum Payload {
    Whole(Bytes),
    /// Once, unless nothing of it was sent.
    Stream(Body),
}

/// Why a call has no answer.
enum Failed {
    NoReplica,
    Unreachable(String),
    Timeout,
    Caller(ApiError),
}

impl Failed {
    fn error(self, service: String, limit: Duration) -> RouterError {
        match self {
            Self::NoReplica => RouterError::NoReplica(service),
            Self::Unreachable(reason) => RouterError::Unreachable { service, reason },
            Self::Timeout => RouterError::Timeout { service, after: limit },
            Self::Caller(error) => RouterError::Body(error),
        }
    }
}

/// What the last replica that was tried did.
enum Last {
    Failed(String),
    Busy(Box<Response>),
}

/// One call on its way.
pub(super) struct Relay<'a> {
    parts: &'a Parts,
    function: &'a str,
    is_idempotent: bool,
    client: IpAddr,
    service: &'a ServiceEntry,
    version: &'a VersionEntry,
    record: Recorder,
    /// How far the body is, where it is streamed.
    upload: Option<Progress>,
    /// Before it waited for its place.
    came: Instant,
    began: Instant,
    deadline: Instant,
    /// Whether the deadline is the caller's own, and before the service's.
    is_hurried: bool,
}

impl Relay<'_> {
    async fn send(&self, payload: Payload) -> Result<Response, Failed> {
        match payload {
            Payload::Whole(bytes) if self.is_idempotent => self.hedged(&bytes).await,
            Payload::Whole(bytes) => self.in_turn(Vec::new(), None, &mut Body::from(bytes.clone()), Some(&bytes)).await,
            Payload::Stream(mut body) => self.in_turn(Vec::new(), None, &mut body, None).await,
        }
    }

    /// One replica after the other. A body that can be sent once alone goes on only where nothing of it was sent.
    async fn in_turn(
        &self,
        mut tried: Vec<Arc<Endpoint>>,
        mut last: Option<Last>,
        body: &mut Body,
        whole: Option<&Bytes>,
    ) -> Result<Response, Failed> {
        loop {
            let Some(endpoint) = self.next(&tried, last.is_some()) else { return gave_up(last) };
            match self.judged(attempt(self, &endpoint, body).await, whole.is_some()) {
                ControlFlow::Break(outcome) => return outcome,
                ControlFlow::Continue(why) => last = Some(why),
            }
            if let Some(bytes) = whole {
                *body = Body::from(bytes.clone());
            }
            tried.push(endpoint);
        }
    }

    /// Whether an attempt decides the call, or why another replica is to be asked.
    fn judged(
        &self,
        answered: Result<Response, Failure>,
        is_whole: bool,
    ) -> ControlFlow<Result<Response, Failed>, Last> {
        match answered {
            Ok(busy) if is_whole && self.may_ask_again(&busy) => ControlFlow::Continue(Last::Busy(Box::new(busy))),
            Ok(response) => ControlFlow::Break(Ok(response)),
            Err(Failure::NotSent(reason) | Failure::Full(reason)) => ControlFlow::Continue(Last::Failed(reason)),
            Err(Failure::Broken(reason)) if is_whole && self.is_idempotent => {
                ControlFlow::Continue(Last::Failed(reason))
            }
            Err(Failure::Broken(reason)) => ControlFlow::Break(Err(Failed::Unreachable(reason))),
            Err(Failure::Timeout) => ControlFlow::Break(Err(Failed::Timeout)),
            Err(Failure::Caller(error)) => ControlFlow::Break(Err(Failed::Caller(error))),
        }
    }

    /// Where an idempotent call has used half of its time, another replica gets it as well, and the first good answer
    /// counts: one replica that hangs costs no call.
    async fn hedged(&self, bytes: &Bytes) -> Result<Response, Failed> {
        let Some(first) = self.next(&[], false) else { return Err(Failed::NoReplica) };
        let mut body = Body::from(bytes.clone());
        let mut slow = std::pin::pin!(attempt(self, &first, &mut body));
        let answered = match timeout_at(Instant::now() + self.left() / 2, &mut slow).await {
            Ok(answered) => answered,
            Err(_half_is_over) => match self.next(std::slice::from_ref(&first), true) {
                // On the heap, as what follows is needed seldom.
                Some(second) => return Box::pin(self.race(slow, [first.clone(), second], bytes)).await,
                None => slow.await,
            },
        };
        match self.judged(answered, true) {
            ControlFlow::Break(outcome) => outcome,
            ControlFlow::Continue(last) => Box::pin(self.others(vec![first.clone()], last, bytes)).await,
        }
    }

    /// A second attempt beside the first one, which is `slow`. Where neither is good, the others are asked.
    async fn race(
        &self,
        mut slow: Pin<&mut impl Future<Output = Result<Response, Failure>>>,
        both: [Arc<Endpoint>; 2],
        bytes: &Bytes,
    ) -> Result<Response, Failed> {
        self.record.ended(Stage::Upstream);
        let [first, second] = &both;
        let mut body = Body::from(bytes.clone());
        let mut quick = std::pin::pin!(attempt(self, second, &mut body));
        let (answered, overtaken) = tokio::select! {
            answered = &mut slow => (answered, false),
            answered = &mut quick => (answered, true),
        };
        if let ControlFlow::Break(outcome) = self.judged(answered, true) {
            if overtaken && outcome.is_ok() {
                // It has not answered in a longer time than the other one took.
                self.failed(first);
            }
            self.record.replica(if overtaken { &second.name } else { &first.name });
            return outcome;
        }
        let (answered, name) = if overtaken { (slow.await, &first.name) } else { (quick.await, &second.name) };
        self.record.replica(name);
        match self.judged(answered, true) {
            ControlFlow::Break(outcome) => outcome,
            ControlFlow::Continue(last) => self.others(both.to_vec(), last, bytes).await,
        }
    }

    /// What replicas say that were not `tried` yet.
    async fn others(&self, tried: Vec<Arc<Endpoint>>, last: Last, bytes: &Bytes) -> Result<Response, Failed> {
        self.in_turn(tried, Some(last), &mut Body::from(bytes.clone()), Some(bytes)).await
    }

    /// The replica that is next, where there is one and, for one that is not the first, the budget allows it.
    fn next(&self, tried: &[Arc<Endpoint>], again: bool) -> Option<Arc<Endpoint>> {
        let found = self.version.pool.pick(tried, self.client, self.is_idempotent)?.clone();
        if again && !self.service.budget.withdraw(clock::now()) {
            self.version.metrics.retry_refused();
            return None;
        }
        if again {
            self.version.metrics.retried();
        }
        Some(found)
    }

    /// Whether another replica may be asked where one says that it is busy. Behind an address elsewhere a proxy may say so
    /// after a model has seen the request.
    fn may_ask_again(&self, busy: &Response) -> bool {
        let is_busy = busy.status() == StatusCode::SERVICE_UNAVAILABLE;
        is_busy && (busy.extensions().get::<Untouched>().is_some() || self.is_idempotent)
    }

    /// Whose failure it is: a caller who breaks off its body, is slow with it, or gives less time than the service has, says
    /// nothing of the replica.
    fn whose(&self, failure: Failure) -> Failure {
        if self.is_hurried && matches!(failure, Failure::Timeout) {
            return Failure::Caller(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", OVER));
        }
        let Some(upload) = &self.upload else { return failure };
        match failure {
            Failure::Broken(_) if upload.is_broken() => Failure::Caller(kea_http::body::not_whole()),
            Failure::Timeout if upload.is_under_way() => Failure::Caller(kea_http::body::too_slow(SLOW)),
            other => other,
        }
    }

    fn connect_within(&self) -> Duration {
        let limits = &self.service.route.settings.limits;
        limits.connect_timeout.map_or(Duration::from_secs(1), |span| span.0)
    }

    /// What is left of the call's time.
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn failed(&self, endpoint: &Endpoint) {
        if endpoint.condition.failed(clock::now(), self.version.pool.health()) {
            self.version.metrics.ejected();
            tracing::warn!(service = %self.service.route.id, replica = &*endpoint.name, "a replica is left alone for a while");
        }
    }

    /// What the call shows of how many at once are well. What never reached a replica shows nothing.
    fn tell(&self, place: &Place<'_>, failed: Option<&Failed>) {
        let late = match failed {
            None => false,
            Some(Failed::Timeout) => true,
            Some(Failed::NoReplica | Failed::Unreachable(_) | Failed::Caller(_)) => return,
        };
        place.answered(clock::nanos(self.began.elapsed()), late, &self.service.route.settings.limits);
    }
}

fn gave_up(last: Option<Last>) -> Result<Response, Failed> {
    match last {
        Some(Last::Failed(reason)) => Err(Failed::Unreachable(reason)),
        Some(Last::Busy(response)) => Ok(*response),
        None => Err(Failed::NoReplica),
    }
}

#[cfg(test)]
mod tests;
