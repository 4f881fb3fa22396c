//! One attempt: a call at one replica, until the head of its answer is there.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use http::StatusCode;
use hyper::body::Incoming;
use kea_audit::Stage;
use kea_core::service::Engine;
use kea_http::drop_hop_by_hop;
use tokio::time::{timeout, timeout_at};

use super::{Relay, answer::Pooled, outgoing::outgoing};
use crate::{
    clock,
    endpoint::{Endpoint, Link},
};

/// Longest silence within an answer of a web service, which may be a stream of events.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// Why one replica did not answer.
pub(super) enum Failure {
    /// Nothing of the request reached it; what was to be sent is in `body` still.
    NotSent(String),
    /// It broke off after it had at least a part of the request.
    Broken(String),
    /// It took too long.
    Timeout,
}

/// Sends the call with `body` to one replica, and keeps in mind how that went.
pub(super) async fn attempt(relay: &Relay<'_>, endpoint: &Arc<Endpoint>, body: &mut Body) -> Result<Response, Failure> {
    relay.record.replica(&endpoint.name);
    relay.record.ended(Stage::Balance);
    let mut in_flight = endpoint.begin();
    let answered = match timeout_at(relay.deadline, exchange(relay, endpoint, body)).await {
        Ok(answered) => answered,
        Err(_elapsed) => Err(Failure::Timeout),
    };
    relay.record.ended(Stage::Upstream);
    let status = answered.as_ref().ok().map(|(response, _)| response.status());
    in_flight.answered(status.is_some_and(|status| !status.is_server_error()));
    if status.is_some_and(|status| !is_fault(relay, endpoint, status)) {
        endpoint.condition.succeeded(clock::now());
    } else {
        relay.failed(endpoint);
    }
    let (response, link) = answered?;
    let (mut parts, body) = response.into_parts();
    drop_hop_by_hop(&mut parts.headers);
    let patience = if relay.version.engine == Engine::External { SILENCE_MAX } else { relay.left() };
    let body = Pooled::new(body, link, in_flight, patience);
    Ok(Response::from_parts(parts, Body::new(body)))
}

/// Whether the status says that the replica is out of order, or what stands behind it. A model that fails says 500, which
/// shows that it is there: its fault, or that of the inputs, goes with the call. A model server of our own that has enough
/// to do, or is on its way out, says 503.
fn is_fault(relay: &Relay<'_>, endpoint: &Endpoint, status: StatusCode) -> bool {
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => true,
        StatusCode::SERVICE_UNAVAILABLE => relay.version.engine == Engine::External || endpoint.target.is_external(),
        _ => false,
    }
}

/// One request and the head of its answer, on a connection that was used before where there is one.
async fn exchange(
    relay: &Relay<'_>,
    endpoint: &Endpoint,
    body: &mut Body,
) -> Result<(hyper::Response<Incoming>, Link), Failure> {
    loop {
        let (mut link, reused) = match endpoint.reuse() {
            Some(link) => (link, true),
            None => (connect(relay, endpoint).await?, false),
        };
        match link.send(outgoing(relay, endpoint, std::mem::take(body))).await {
            Ok(response) => return Ok((response, link)),
            Err(mut error) => {
                let unsent = error.take_message();
                let reason = format!("replica {} broke off: {}", endpoint.name, error.error());
                let Some(request) = unsent else { return Err(Failure::Broken(reason)) };
                *body = request.into_body();
                // The replica closed a connection while it was idle: another one is at hand.
                if !reused {
                    return Err(Failure::NotSent(reason));
                }
            }
        }
    }
}

async fn connect(relay: &Relay<'_>, endpoint: &Endpoint) -> Result<Link, Failure> {
    let within = relay.connect_within();
    let refused = |error| Failure::NotSent(format!("replica {} cannot be reached: {error}", endpoint.name));
    match timeout(within, endpoint.connect()).await {
        Ok(connected) => connected.map_err(refused),
        Err(_elapsed) => Err(refused(format!("no connection within {} ms", within.as_millis()))),
    }
}
