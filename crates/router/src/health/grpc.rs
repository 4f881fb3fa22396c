//! How a server of gRPC is, as it says itself: `grpc.health.v1`, where a service's `health.path` names its method.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use kea_http::grpc;

/// The method that tells of the whole server, as a path.
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// A message without fields, of which the whole server is asked: not compressed, and 0 bytes long.
const REQUEST: &[u8] = &[0; 5];

/// Bytes before a message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// The field `status` with `SERVING`.
const SERVING: &[u8] = &[8, 1];

/// Bytes of an answer, of which a few are enough.
const ANSWER_MAX: usize = 1024;

/// Whether a path is that of the method.
pub(super) fn is_check(path: &str) -> bool {
    path == CHECK
}

/// Makes a call of a request.
pub(super) fn ask(request: &mut Request<Body>) {
    *request.method_mut() = Method::POST;
    *request.body_mut() = Body::from(REQUEST);
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
}

/// Whether the answer is that it serves.
pub(super) async fn serves(answer: Response<Incoming>) -> bool {
    if !answer.status().is_success() || grpc::told(answer.headers()).is_some_and(|status| status != 0) {
        return false;
    }
    let Ok(whole) = Limited::new(answer.into_body(), ANSWER_MAX).collect().await else { return false };
    let is_well = whole.trailers().and_then(grpc::told) == Some(0);
    is_well && is_serving(&whole.to_bytes())
}

fn is_serving(answer: &Bytes) -> bool {
    answer.get(HEAD..).is_some_and(|message| answer[0] == 0 && message == SERVING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_serves_is_well() {
        assert!(is_serving(&Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1])));
        for other in [&[0, 0, 0, 0, 2, 8, 2][..], &[0, 0, 0, 0, 0], &[1, 0, 0, 0, 2, 8, 1], &[]] {
            assert!(!is_serving(&Bytes::copy_from_slice(other)), "{other:?}");
        }
    }
}
