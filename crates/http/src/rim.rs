//! The rim of every edge: gives each request its id, keeps a panic from ending the connection, and writes
//! errors in the shape that the path's protocol asks for.

use std::panic::AssertUnwindSafe;

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use http_body::Body as _;
use kea_core::current_request;

use crate::{ApiError, RequestId, grpc, problem, request_id};

/// Runs `inner` for a request, within the rim.
pub async fn rim<F: Future<Output = Response>>(mut request: Request, inner: impl FnOnce(Request) -> F) -> Response {
    // Whoever records requests gave them their ids before.
    let given = request.extensions().get::<RequestId>().cloned();
    let id = given.unwrap_or_else(|| RequestId::of(request.headers()));
    let had_body = !request.body().is_end_stream();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let is_grpc = grpc::is_call(request.version(), request.headers()) && grpc::may_have(uri.path());
    let shape = if is_grpc { problem::Shape::Grpc } else { problem::Shape::of(uri.path()) };
    request.extensions_mut().insert(id.clone());

    let answered = AssertUnwindSafe(inner(request)).catch_unwind();
    let logged = async {
        let response = answered.await.unwrap_or_else(|_panic| internal());
        log(&method, &uri, response.status());
        response
    };
    let response = current_request::within(id.0.clone(), logged).await;
    let mut response = problem::shape(response, shape, &id.0);
    response.headers_mut().insert(request_id::REQUEST_ID, id.header_value());
    if had_body && may_leave_it_unread(response.status()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the answer may have come before the request's body was read. The connection ends then; a caller that is not
/// told would send its next request on it.
fn may_leave_it_unread(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403..=405 | 408 | 413 | 415 | 429)
}

/// Changes are worth a line; reads and predictions are counted by metrics, and seen with `KEA_LOG=debug`.
fn log(method: &Method, uri: &Uri, status: StatusCode) {
    let (status, path) = (status.as_u16(), uri.path());
    match status {
        500.. => tracing::warn!(status, %method, path, "answered"),
        _ if [Method::PUT, Method::DELETE].contains(method) => tracing::info!(status, %method, path, "answered"),
        _ => tracing::debug!(status, %method, path, "answered"),
    }
}

fn internal() -> Response {
    let detail = "KEA failed in answering; its log has the request id and the reason";
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt;

    use super::*;

    async fn answer(path: &str, inner: impl FnOnce(Request) -> Response) -> (Response<()>, serde_json::Value) {
        let request = Request::builder().uri(path).header("x-request-id", "r1").body(Body::empty()).unwrap();
        let (parts, body) = rim(request, |request| async { inner(request) }).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(parts, ()), serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_problem_carries_the_request_id() {
        let error = ApiError::new(StatusCode::NOT_FOUND, "no-service", "there is no service `x`");
        let (parts, body) = answer("/api/v1/k8c/services/x", |_| error.into_response()).await;
        assert_eq!(parts.headers()["content-type"], "application/problem+json");
        assert_eq!(parts.headers()["x-request-id"], "r1");
        assert_eq!(body["instance"], "r1");
        assert_eq!(body["title"], "Not Found");
    }

    #[tokio::test]
    async fn the_length_of_an_errors_body_is_its_own() {
        let mut empty = ApiError::new(StatusCode::NOT_FOUND, "x", "y").into_response();
        empty.headers_mut().insert("content-length", 0.into());
        let (parts, _) = answer("/x", |_| empty).await;
        assert!(!parts.headers().contains_key("content-length"));
    }

    #[tokio::test]
    async fn an_error_of_an_inference_path_is_one_text() {
        let error = ApiError::new(StatusCode::UNAUTHORIZED, "no-token", "a token is needed");
        let (parts, body) = answer("/v2/models/x/infer", |_| error.into_response()).await;
        assert_eq!(parts.headers()["content-type"], "application/json");
        assert_eq!(parts.headers()["www-authenticate"], "Bearer");
        assert_eq!(body, serde_json::json!({"error": "a token is needed"}));
    }

    #[tokio::test]
    async fn an_error_of_a_grpc_call_is_a_status_without_a_body() {
        let request = Request::builder().version(http::Version::HTTP_2).uri("/a.B/C");
        let request = request.header("content-type", "application/grpc").body(Body::empty()).unwrap();
        let error = ApiError::new(StatusCode::FORBIDDEN, "forbidden", "no: 100 %").into_response();
        let response = rim(request, |_| async { error }).await;
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!((response.status(), header("content-type")), (StatusCode::OK, "application/grpc"));
        assert_eq!((header("grpc-status"), header("grpc-message")), ("7", "no: 100 %25"));
        assert!(response.body().is_end_stream());
    }

    #[tokio::test]
    async fn a_body_that_was_not_read_ends_the_connection() {
        let closes = async |body: &'static str, status| {
            let request = Request::new(Body::from(body));
            let inner = |_| async move { ApiError::new(status, "x", "y").into_response() };
            rim(request, inner).await.headers().contains_key("connection")
        };
        assert!(closes("{}", StatusCode::PAYLOAD_TOO_LARGE).await);
        assert!(closes("{}", StatusCode::METHOD_NOT_ALLOWED).await);
        assert!(!closes("{}", StatusCode::BAD_REQUEST).await);
        assert!(!closes("", StatusCode::METHOD_NOT_ALLOWED).await);
    }

    #[tokio::test]
    async fn a_panic_is_answered() {
        let (parts, body) = answer("/x", |_| panic!("oh")).await;
        assert_eq!(parts.status(), 500);
        assert_eq!(body["status"], 500);
    }
}
