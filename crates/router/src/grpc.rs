//! Calls of gRPC on their way to web services: whose they are, until when they are waited for, and how they end where
//! their replica does not say so.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, request::Parts, uri::PathAndQuery};
use http_body::{Body as HttpBody, Frame, SizeHint};
use kea_core::{ServiceId, management::BASE_PATH, service::Engine};
use kea_http::grpc::{self, Code};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    own_routes::{OwnRoutes, Prefix, is_plain},
    table::VersionEntry,
};

/// Names the service of a call: its path names that of gRPC.
const SERVICE: HeaderName = HeaderName::from_static("kea-service");

/// What a call is on the standard path, and what was before its method's name. Its service is the one that it names
/// itself, or whose route it came by.
pub(crate) fn standard_uri(routes: &OwnRoutes, host: &str, uri: &Uri, headers: &HeaderMap) -> Option<(Uri, Prefix)> {
    let path = uri.path();
    let method = method(path).filter(|_| is_plain(path) && grpc::may_have(path))?;
    let named = headers.get(SERVICE).map(HeaderValue::to_str);
    let service = match &named {
        Some(name) => name.as_ref().ok()?.parse::<ServiceId>().ok()?.to_string(),
        None => routes.find(host, path)?.0.to_string(),
    };
    let prefix = path[..path.len() - method.len()].trim_end_matches('/');
    let standard = format!("{BASE_PATH}/services/{service}/{method}");
    Some((Uri::from(standard.parse::<PathAndQuery>().ok()?), Prefix(prefix.into())))
}

/// The last two segments of a path, which are the names of a service of gRPC and of its method: a route of the service's
/// own may be before them, or be the first of them.
fn method(path: &str) -> Option<&str> {
    let (before, name) = path.rsplit_once('/')?;
    let (_, service) = before.rsplit_once('/')?;
    let is_whole = !service.is_empty() && !name.is_empty();
    is_whole.then(|| &path[path.len() - service.len() - 1 - name.len()..])
}

/// Whether a request is a call of gRPC.
pub(crate) fn is_call(parts: &Parts) -> bool {
    grpc::is_call(parts.version, &parts.headers)
}

/// Whether it is one that goes to a web service.
pub(crate) fn is_passed_on(version: &VersionEntry, parts: &Parts) -> bool {
    version.engine == Engine::External && is_call(parts)
}

/// Whether the version's replicas may take calls: those that speak HTTP/2. What cannot be known says nothing.
pub(crate) fn may_be_called(version: &VersionEntry) -> bool {
    version.pool.is_empty() || version.pool.endpoints().any(|endpoint| endpoint.transport().may_be_http2())
}

/// How long a call's answer is waited for: no longer than its caller does.
pub(crate) fn limit(version: &VersionEntry, parts: &Parts, limit: Duration) -> Duration {
    let said = is_passed_on(version, parts).then(|| grpc::timeout(&parts.headers)).flatten();
    said.map_or(limit, |said| said.min(limit))
}

/// Prepares the headers of a call that began at that moment for its replica.
pub(crate) fn prepare(headers: &mut HeaderMap, began: Instant) {
    headers.remove(SERVICE);
    if let Some(said) = grpc::timeout(headers) {
        grpc::set_timeout(headers, said.saturating_sub(began.elapsed()));
    }
}

/// What the status of an answer's head means: a server that cannot answer says so in the head's fields.
pub(crate) fn status<B>(head: &Response<B>) -> StatusCode {
    match grpc::told(head.headers()) {
        Some(code) if code == Code::Unavailable as u32 => StatusCode::SERVICE_UNAVAILABLE,
        _ => head.status(),
    }
}

/// An answer that always ends with a status: where its replica breaks off, or its caller waits no longer, with KEA's.
pub(crate) struct Ended<B> {
    /// `None` once it is over.
    body: Option<B>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<B> Ended<B> {
    /// The answer of a call with those headers, which began at that moment.
    pub(crate) fn new(body: B, headers: &HeaderMap, began: Instant) -> Self {
        // One that is too far to be counted is none.
        let deadline = grpc::timeout(headers).and_then(|said| began.checked_add(said));
        Self { body: Some(body), deadline: deadline.map(|at| Box::pin(sleep_until(at))) }
    }

    fn end(&mut self, code: Code, message: &str) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.body = None;
        Poll::Ready(Some(Ok(Frame::trailers(grpc::status(code, message)))))
    }
}

impl<B> HttpBody for Ended<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(error))) => {
                tracing::warn!(%error, "a replica broke off in the middle of an answer");
                return self.end(Code::Unavailable, "the replica broke off in the middle of its answer");
            }
            Poll::Ready(None) => {
                self.body = None;
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        let is_over = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready());
        if is_over {
            return self.end(Code::DeadlineExceeded, "the answer was not whole within the time that its caller gave");
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), |_| SizeHint::default())
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn the_method_of_a_call_is_the_end_of_its_path() {
        for (path, expected) in [
            ("/greet.Greeter/SayHello", Some("greet.Greeter/SayHello")),
            ("/iris/greet.Greeter/SayHello", Some("greet.Greeter/SayHello")),
            ("/SayHello", None),
            ("/greet.Greeter/", None),
            ("//SayHello", None),
            ("", None),
        ] {
            assert_eq!(method(path), expected, "{path}");
        }
    }

    fn found(path: &str, service: Option<&str>) -> Option<String> {
        let route = kea_core::own_route::OwnRoute { host: None, path: "/greet.Greeter".parse().unwrap() };
        let (name, routes) = ("app".into(), [route]);
        let routes = OwnRoutes::of([(&name, &routes[..])].into_iter());
        let headers = service.map(|name| (SERVICE, HeaderValue::from_str(name).unwrap())).into_iter().collect();
        standard_uri(&routes, "", &path.parse().unwrap(), &headers).map(|(uri, _)| uri.to_string())
    }

    #[test]
    fn a_call_is_that_of_the_service_that_it_names_or_whose_route_it_came_by() {
        let standard = |service: &str| Some(format!("{BASE_PATH}/services/{service}/greet.Greeter/SayHello"));
        assert_eq!(found("/greet.Greeter/SayHello", None), standard("app"));
        assert_eq!(found("/greet.Greeter/SayHello", Some("other")), standard("other"));
        assert_eq!(found("/other.Greeter/SayHello", None), None);
        for made_up in ["../x", "a/b", "", "A b"] {
            assert_eq!(found("/greet.Greeter/SayHello", Some(made_up)), None, "{made_up}");
        }
        assert_eq!(found("/api/v1/k8c/auth/login", Some("app")), None, "that is KEA's own");
        for hidden in ["/greet.Greeter/%2e%2e", "/greet.Greeter/..", "/greet.Greeter/a%2fb"] {
            assert_eq!(found(hidden, Some("app")), None, "{hidden}");
        }
    }

    fn timeout(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static("grpc-timeout"), HeaderValue::from_static(text))])
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_is_told_what_is_left_of_the_callers_time() {
        let (mut headers, began) = (timeout("5S"), Instant::now());
        headers.insert(SERVICE, HeaderValue::from_static("app"));
        tokio::time::advance(Duration::from_secs(2)).await;
        prepare(&mut headers, began);
        assert_eq!(grpc::timeout(&headers), Some(Duration::from_secs(3)));
        assert!(!headers.contains_key(SERVICE));
    }

    /// The data of an answer, and the status after it.
    async fn ended(
        parts: impl futures_util::Stream<Item = Result<&'static str, String>> + Send + 'static,
    ) -> (String, u32) {
        let body = Ended::new(Body::from_stream(parts), &timeout("1S"), Instant::now());
        let all = body.collect().await.unwrap();
        let status = all.trailers().and_then(grpc::told).unwrap();
        (String::from_utf8(all.to_bytes().to_vec()).unwrap(), status)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_whole_ends_with_a_status() {
        let broken = stream::iter([Ok("a"), Err("gone".to_owned())]);
        assert_eq!(ended(broken).await, ("a".into(), 14));
        let endless = stream::iter([Ok("a")]).chain(stream::pending());
        assert_eq!(ended(endless).await, ("a".into(), 4));
    }
}
