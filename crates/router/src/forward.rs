//! The third stage: sending a call to a replica and streaming its answer back.
//!
//! A call is sent a second time only when nothing of it reached a model, or the function is declared idempotent.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use kea_audit::{Recorder, Stage};
use kea_core::service::Engine;
use kea_http::{RequestId, TraceContext, drop_hop_by_hop};

use crate::{
    RouterError,
    endpoint::{Endpoint, InFlight, Link},
    validate::{CallBody, ValidCall},
};

/// The inner network's timeout where a service does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why one replica did not answer.
enum Failure {
    /// Nothing of the request reached it; what was to be sent is given back.
    NotSent(String),
    /// It broke off after it had at least a part of the request.
    Broken(String),
    /// It took too long.
    Timeout,
}

/// How long a replica has for its answer.
pub(crate) fn limit(call: &ValidCall) -> Duration {
    call.admitted.service.route.settings.timeout.map_or(DEFAULT_TIMEOUT, |span| span.0)
}

/// Sends the call to one replica after the other until one answers.
pub(crate) async fn send(call: &mut ValidCall) -> Result<Response, RouterError> {
    let route = call.admitted.service.route.clone();
    let settings = &route.settings;
    let limit = limit(call);
    let service = || route.id.to_string();
    let record = Recorder::of(&call.parts.extensions);
    let mut tried: Vec<Arc<str>> = Vec::new();
    let mut last = None;
    loop {
        let version = call.admitted.version();
        let algorithm = settings.algorithm();
        let picked = version.balancer.pick(algorithm, &version.endpoints, &tried, call.admitted.client).cloned();
        let Some(endpoint) = picked else {
            return Err(match last {
                Some(Last::Failed(reason)) => RouterError::Unreachable { service: service(), reason },
                Some(Last::Busy(response)) => return Ok(*response),
                None => RouterError::NoReplica(service()),
            });
        };
        if !tried.is_empty() {
            call.admitted.version().metrics.retried();
        }
        let once = matches!(call.body, CallBody::Stream(_));
        record.replica(&endpoint.name);
        record.ended(Stage::Balance);
        let answered = attempt(&endpoint, call, limit).await;
        record.ended(Stage::Upstream);
        last = match answered {
            // Its queue is full or it is on its way out: the model has not seen the request.
            Ok(busy) if busy.status() == StatusCode::SERVICE_UNAVAILABLE && !once => Some(Last::Busy(Box::new(busy))),
            Ok(response) => return Ok(response),
            Err(Failure::Timeout) => return Err(RouterError::Timeout { service: service(), after: limit }),
            Err(Failure::NotSent(reason)) if !once => Some(Last::Failed(reason)),
            Err(Failure::Broken(reason)) if !once && is_idempotent(call) => Some(Last::Failed(reason)),
            Err(Failure::NotSent(reason) | Failure::Broken(reason)) => {
                return Err(RouterError::Unreachable { service: service(), reason });
            }
        };
        tried.push(endpoint.name.clone());
    }
}

/// What the last replica that was tried did.
enum Last {
    Failed(String),
    Busy(Box<Response>),
}

fn is_idempotent(call: &ValidCall) -> bool {
    let validator = call.admitted.version().validator.as_ref();
    let function = validator.and_then(|validator| validator.contract().function(&call.admitted.function));
    function.is_some_and(|function| function.idempotent)
}

async fn attempt(endpoint: &Arc<Endpoint>, call: &mut ValidCall, limit: Duration) -> Result<Response, Failure> {
    let in_flight = endpoint.begin();
    let answered = tokio::time::timeout(limit, exchange(endpoint, call, limit)).await;
    let (response, link) = answered.map_err(|_elapsed| Failure::Timeout)??;
    let (mut parts, body) = response.into_parts();
    drop_hop_by_hop(&mut parts.headers);
    let body = Pooled { body, link: Some(link), in_flight: Some(in_flight) };
    Ok(Response::from_parts(parts, Body::new(body)))
}

/// One request and the head of its answer, on a connection that was used before where there is one.
async fn exchange(
    endpoint: &Endpoint,
    call: &mut ValidCall,
    limit: Duration,
) -> Result<(Response<Incoming>, Link), Failure> {
    loop {
        let (mut link, reused) = match endpoint.reuse() {
            Some(link) => (link, true),
            None => {
                let refused = |error| Failure::NotSent(format!("replica {} cannot be reached: {error}", endpoint.name));
                (endpoint.connect().await.map_err(refused)?, false)
            }
        };
        let request = outgoing(endpoint, call, limit);
        match link.send(request).await {
            Ok(response) => return Ok((response, link)),
            Err(mut error) => {
                let unsent = error.take_message();
                let reason = format!("replica {} broke off: {}", endpoint.name, error.error());
                match unsent {
                    // The replica closed the connection while it was idle: another one is at hand.
                    Some(request) if reused => restore(call, request),
                    Some(request) => {
                        restore(call, request);
                        return Err(Failure::NotSent(reason));
                    }
                    None => return Err(Failure::Broken(reason)),
                }
            }
        }
    }
}

fn outgoing(endpoint: &Endpoint, call: &mut ValidCall, limit: Duration) -> Request<Body> {
    let external = call.admitted.version().engine == Engine::External;
    let body = match &mut call.body {
        CallBody::Whole(bytes) => Body::from(bytes.clone()),
        CallBody::Stream(body) => std::mem::take(body),
    };
    let mut request = Request::new(body);
    *request.version_mut() = Version::HTTP_11;
    if external {
        to_web_service(endpoint, call, &mut request);
    } else {
        to_model_server(endpoint, call, limit, &mut request);
    }
    if let Some(id) = call.parts.extensions.get::<RequestId>() {
        request.headers_mut().insert(kea_http::REQUEST_ID, id.header_value());
    }
    if let Some(trace) = call.parts.extensions.get::<TraceContext>() {
        request.headers_mut().insert(kea_http::TRACEPARENT, trace.header_value());
    }
    request
}

/// A model server needs the path and the body; who calls is none of its business.
fn to_model_server(endpoint: &Endpoint, call: &ValidCall, limit: Duration, request: &mut Request<Body>) {
    *request.method_mut() = Method::POST;
    *request.uri_mut() = call.parts.uri.clone();
    let headers = request.headers_mut();
    headers.insert(header::HOST, endpoint.host.clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(kea_http::timeout::TIMEOUT, kea_http::timeout::value(limit));
}

/// An existing web service gets the request as it came, with its path re-rooted. Tokens and keys of KEA stay with KEA.
fn to_web_service(endpoint: &Endpoint, call: &ValidCall, request: &mut Request<Body>) {
    *request.method_mut() = call.parts.method.clone();
    let query = call.parts.uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let path = format!("/{}{query}", call.admitted.function);
    *request.uri_mut() = path.parse::<Uri>().unwrap_or_else(|_| Uri::from_static("/"));
    let headers = request.headers_mut();
    headers.clone_from(&call.parts.headers);
    drop_hop_by_hop(headers);
    kea_auth::drop_credentials(headers);
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::HOST, endpoint.host.clone());
}

/// Puts back a stream of which nothing was sent.
fn restore(call: &mut ValidCall, request: Request<Body>) {
    if let CallBody::Stream(body) = &mut call.body {
        *body = request.into_body();
    }
}

/// A replica's body that gives its connection back once it has been read to the end.
struct Pooled {
    body: Incoming,
    link: Option<Link>,
    in_flight: Option<InFlight>,
}

impl Pooled {
    fn give_back(&mut self) {
        if let (Some(in_flight), Some(link)) = (self.in_flight.take(), self.link.take()) {
            in_flight.keep(link);
        }
    }
}

impl HttpBody for Pooled {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(link) = &mut self.link {
            link.drive(context);
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let whole = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if whole {
            self.give_back();
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
