//! One attempt: a call at one replica, until the head of its answer is there.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode};
use hyper::{body::Incoming, client::conn::http1::SendRequest, upgrade::OnUpgrade};
use kea_audit::Stage;
use kea_core::service::Engine;
use kea_http::{ApiError, drop_hop_by_hop, trailers};
use tokio::time::{timeout, timeout_at};

use super::{Relay, answer::Pooled, outgoing::outgoing};
use crate::{
    clock,
    endpoint::{Endpoint, InFlight, Link, NoLink, SendFailure, Transport},
    grpc::{self, Ended},
    tunnel,
};

/// Longest silence within an answer of a web service, which may be a stream of events.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// Most requests that a replica may have under way when one more connection is to be another protocol's: those last.
const TUNNELS_MAX: usize = 4096;

/// Why one replica did not answer.
pub(super) enum Failure {
    /// Nothing of the request reached it; what was to be sent is in `body` still.
    NotSent(String),
    /// KEA has as many connections with it as it may; what was to be sent is in `body` still.
    Full(String),
    /// It broke off after it had at least a part of the request.
    Broken(String),
    /// It took too long.
    Timeout,
    /// The caller did not send what it had begun to.
    Caller(ApiError),
}

/// A model server of our own that says that it is busy, or on its way out: its model has not seen the request.
#[derive(Clone, Copy)]
pub(super) struct Untouched;

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
    let answered = answered.map_err(|failure| relay.whose(failure));
    let is_grpc = grpc::is_passed_on(relay.version, relay.parts);
    let status = answered.as_ref().ok().map(|(response, _)| match is_grpc {
        true => grpc::status(response),
        false => response.status(),
    });
    in_flight.answered(status.is_some_and(|status| !status.is_server_error()));
    match (&answered, status) {
        (_, Some(status)) if !is_fault(relay, endpoint, status) => endpoint.condition.succeeded(clock::now()),
        // Neither says anything of the replica.
        (Err(Failure::Caller(_) | Failure::Full(_)), _) => {}
        _ => relay.failed(endpoint),
    }
    let (mut response, link) = answered?;
    let protocol = kea_http::upgrade::asked(response.headers());
    drop_hop_by_hop(response.headers_mut());
    trailers::announced(response.headers_mut(), relay.parts.version, &relay.parts.headers);
    kea_auth::drop_own_cookies(response.headers_mut());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let (Some(protocol), None) = (protocol, &link) else {
            let why = "changed to a protocol that was not asked for";
            return Err(Failure::Broken(format!("replica {} {why}", endpoint.name)));
        };
        return Ok(switched(relay, response, protocol, in_flight));
    }
    if response.status() == StatusCode::SERVICE_UNAVAILABLE && !endpoint.target.is_external() {
        response.extensions_mut().insert(Untouched);
    }
    let (parts, body) = response.into_parts();
    let patience = if relay.version.engine == Engine::External { SILENCE_MAX } else { relay.left() };
    let body = Pooled::new(body, link, in_flight, patience);
    let body = match is_grpc {
        true => Body::new(Ended::new(body, &relay.parts.headers, relay.came)),
        false => Body::new(body),
    };
    Ok(Response::from_parts(parts, body))
}

/// The answer by which a connection changes its protocol. What goes over it then is passed on beside the request, which
/// has ended; the replica has it under way until it is closed.
fn switched(
    relay: &Relay<'_>,
    mut response: hyper::Response<Incoming>,
    protocol: HeaderValue,
    in_flight: InFlight,
) -> Response {
    let behind = hyper::upgrade::on(&mut response);
    if let Some(caller) = relay.parts.extensions.get::<OnUpgrade>().cloned() {
        let guard = tunnel::guard_of(&relay.parts.extensions);
        tokio::spawn(async move {
            tunnel::run(guard, caller, behind, SILENCE_MAX).await;
            drop(in_flight);
        });
    }
    let mut response = response.map(|_none| Body::empty());
    kea_http::upgrade::ask(response.headers_mut(), protocol);
    response
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
) -> Result<(hyper::Response<Incoming>, Option<Link>), Failure> {
    if is_upgrade(relay, endpoint) {
        if endpoint.in_flight() > TUNNELS_MAX {
            return Err(Failure::Full(format!("replica {} has {TUNNELS_MAX} requests under way", endpoint.name)));
        }
        let connected = within(relay, endpoint, endpoint.connect_for_good()).await?;
        return alone(relay, endpoint, body, connected).await;
    }
    loop {
        let (mut link, reused) = match endpoint.reuse() {
            Some(link) => (link, true),
            None => (within(relay, endpoint, endpoint.connect()).await?, false),
        };
        match link.send(outgoing(relay, endpoint, std::mem::take(body))).await {
            Ok(response) => return Ok((response, Some(link))),
            Err(SendFailure { unsent, here, error }) => {
                let reason = format!("replica {} broke off: {}", endpoint.name, endpoint.told(&error));
                let Some(unsent) = unsent else { return Err(Failure::Broken(reason)) };
                *body = unsent;
                // The replica closed a connection while it was idle: another one is at hand.
                if !(reused && here) {
                    return Err(Failure::NotSent(reason));
                }
            }
        }
    }
}

/// Whether a connection may be for another protocol. In HTTP/2 it cannot.
fn is_upgrade(relay: &Relay<'_>, endpoint: &Endpoint) -> bool {
    relay.version.engine == Engine::External
        && !matches!(endpoint.transport(), Transport::Http2)
        && kea_http::upgrade::asked(&relay.parts.headers).is_some()
}

/// One request on a connection of its own, which it may have for another protocol.
async fn alone(
    relay: &Relay<'_>,
    endpoint: &Endpoint,
    body: &mut Body,
    mut sender: SendRequest<Body>,
) -> Result<(hyper::Response<Incoming>, Option<Link>), Failure> {
    let request = outgoing(relay, endpoint, std::mem::take(body));
    let answered = sender.send_request(request).await;
    let broken = |error: hyper::Error| {
        Failure::Broken(format!("replica {} broke off: {}", endpoint.name, endpoint.told(&error)))
    };
    answered.map(|response| (response, None)).map_err(broken)
}

/// A connection, within the time that there is for one.
async fn within<T>(
    relay: &Relay<'_>,
    endpoint: &Endpoint,
    connected: impl Future<Output = Result<T, impl Into<NoLink>>>,
) -> Result<T, Failure> {
    let within = relay.connect_within();
    let refused = |error| Failure::NotSent(format!("replica {} cannot be reached: {error}", endpoint.name));
    match timeout(within, connected).await {
        Ok(connected) => connected.map_err(|why| match why.into() {
            NoLink::Full => Failure::Full(format!("all connections with replica {} are full", endpoint.name)),
            NoLink::Failed(error) => refused(error),
        }),
        Err(_elapsed) => Err(refused(format!("no connection within {} ms", within.as_millis()))),
    }
}
