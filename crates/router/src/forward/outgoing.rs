//! The request as a replica gets it.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use kea_core::{management::BASE_PATH, service::Engine};
use kea_http::{RequestId, TraceContext, drop_hop_by_hop, trailers};

use super::Relay;
use crate::{endpoint::Endpoint, grpc, own_routes::Prefix};

pub(super) fn outgoing(relay: &Relay<'_>, endpoint: &Endpoint, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.version_mut() = Version::HTTP_11;
    if relay.version.engine == Engine::External {
        to_web_service(endpoint, relay, &mut request);
    } else {
        to_model_server(endpoint, relay, &mut request);
    }
    if let Some(id) = relay.parts.extensions.get::<RequestId>() {
        request.headers_mut().insert(kea_http::REQUEST_ID, id.header_value());
    }
    if let Some(trace) = relay.parts.extensions.get::<TraceContext>() {
        request.headers_mut().insert(kea_http::TRACEPARENT, trace.header_value());
    }
    request
}

/// A model server needs the path, the body, and what is left of the time; who calls is none of its business.
fn to_model_server(endpoint: &Endpoint, relay: &Relay<'_>, request: &mut Request<Body>) {
    *request.method_mut() = Method::POST;
    // The path alone: an address, as requests in HTTP/2 have it, would stand for the host.
    let path = relay.parts.uri.path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    let headers = request.headers_mut();
    headers.insert(header::HOST, endpoint.host.clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(kea_http::timeout::TIMEOUT, kea_http::timeout::value(relay.left()));
}

/// An existing web service gets the request as it came, with its path re-rooted. Tokens and keys of KEA stay with KEA.
fn to_web_service(endpoint: &Endpoint, relay: &Relay<'_>, request: &mut Request<Body>) {
    *request.method_mut() = relay.parts.method.clone();
    let query = relay.parts.uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let path = format!("/{}{query}", relay.function);
    *request.uri_mut() = path.parse::<Uri>().unwrap_or_else(|_| Uri::from_static("/"));
    let headers = request.headers_mut();
    headers.clone_from(&relay.parts.headers);
    let protocol = kea_http::upgrade::asked(headers);
    let takes_trailers = trailers::asked(headers);
    drop_hop_by_hop(headers);
    join_cookies(headers);
    kea_auth::drop_credentials(headers);
    headers.remove(header::CONTENT_LENGTH);
    match relay.parts.extensions.get::<Prefix>() {
        Some(Prefix(own)) => kea_http::forwarded(headers, &relay.parts.extensions, own),
        None => {
            let standard = format!("{BASE_PATH}/services/{}", relay.service.route.id);
            kea_http::forwarded(headers, &relay.parts.extensions, &standard);
        }
    }
    headers.insert(header::HOST, endpoint.host.clone());
    if grpc::is_call(relay.parts) {
        grpc::prepare(headers, relay.came);
    }
    match protocol {
        Some(protocol) => kea_http::upgrade::ask(headers, protocol),
        None if takes_trailers => trailers::ask(headers),
        None => {}
    }
}

/// Callers in HTTP/2 may send a cookie in a header of its own each; in HTTP/1.1 there is one header (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        let all: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            headers.insert(header::COOKIE, joined);
        }
    }
}
