//! Errors on their way to a caller. A handler says what is wrong; the rim knows the request's id and the shape that the
//! path's protocol asks for, and writes the body.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use kea_core::{
    compare::ContractChange,
    management::{MissingPermission, Problem, Violation},
};

use crate::grpc::{self, Code};

/// Where the kinds of problems are described.
const KINDS: &str = "https://kea-project.io/problems/";

/// An error of any HTTP edge, before it has a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The kind of problem: last segment of its URI.
    pub kind: &'static str,
    /// What is wrong and what to do, for the caller.
    pub detail: String,
    /// What is wrong with the request, for validation.
    pub errors: Vec<Violation>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// Methods that the path takes, as the header `Allow` lists them.
    pub allow: Option<&'static str>,
    /// The permission that the caller lacks.
    pub missing: Option<Box<MissingPermission>>,
    /// What a version would break for callers.
    pub changes: Option<Box<BreakingChanges>>,
}

/// What a version would break for callers, each change by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakingChanges(pub Vec<ContractChange>);

impl ApiError {
    /// An error without a list of violations.
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            allow: None,
            missing: None,
            changes: None,
        }
    }

    /// With what is wrong with the request.
    pub fn with_errors(self, errors: Vec<Violation>) -> Self {
        Self { errors, ..self }
    }

    /// With when to try again.
    pub fn with_retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// With the permission that the caller lacks.
    pub fn with_missing(self, missing: MissingPermission) -> Self {
        Self { missing: Some(Box::new(missing)), ..self }
    }

    /// With what a version would break for callers.
    pub fn with_changes(self, changes: Vec<ContractChange>) -> Self {
        Self { changes: Some(Box::new(BreakingChanges(changes))), ..self }
    }

    /// With the methods that the path takes.
    pub fn with_allow(self, methods: &'static str) -> Self {
        Self { allow: Some(methods), ..self }
    }
}

/// The kind of problem that an answer tells of, and the status that says so in HTTP, which gRPC has in another place; an
/// extension of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemKind(pub &'static str, pub StatusCode);

/// The shape of errors on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `application/problem+json` (RFC 9457).
    Problem,
    /// `{"error": text}`, as the clients of the inference protocols read it.
    Inference,
    /// A status of gRPC, without a body.
    Grpc,
}

impl Shape {
    /// The shape that the path's protocol asks for.
    pub fn of(path: &str) -> Self {
        let inference = ["/v1", "/v2"]
            .iter()
            .any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        if inference { Self::Inference } else { Self::Problem }
    }
}

impl IntoResponse for ApiError {
    /// An answer without a body, which the rim writes.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(methods) = self.allow {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of an error that a handler left in the answer; other answers stay as they are.
pub(crate) fn shape(mut response: Response, shape: Shape, request_id: &str) -> Response {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else {
        return response;
    };
    response.extensions_mut().insert(ProblemKind(error.kind, error.status));
    let (content_type, body) = match shape {
        Shape::Problem => ("application/problem+json", problem(error, request_id)),
        Shape::Inference => ("application/json", inference(&error)),
        Shape::Grpc => return grpc::refused(response, Code::of(error.status), &sentence(&error)),
    };
    // A layer below may have counted the empty body.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    *response.body_mut() = Body::from(body);
    response
}

fn problem(error: ApiError, request_id: &str) -> Vec<u8> {
    let problem = Problem {
        kind: format!("{KINDS}{}", error.kind),
        title: error.status.canonical_reason().unwrap_or("Error").into(),
        status: error.status.as_u16(),
        detail: error.detail,
        instance: request_id.into(),
        errors: error.errors,
        missing: error.missing.map(|missing| *missing),
        changes: error.changes.map_or_else(Vec::new, |changes| changes.0),
    };
    serde_json::to_vec(&problem).expect("a problem is made of text and numbers")
}

fn inference(error: &ApiError) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({ "error": sentence(error) })).expect("text is JSON")
}

/// All that is wrong, as one text.
fn sentence(error: &ApiError) -> String {
    let mut text = error.detail.clone();
    for violation in &error.errors {
        text =
            format!("{text}; {}: expected {}, received {}", violation.pointer, violation.expected, violation.received);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_shape_of_the_paths_protocol() {
        assert_eq!(Shape::of("/v2/models/iris/infer"), Shape::Inference);
        assert_eq!(Shape::of("/v1"), Shape::Inference);
        assert_eq!(Shape::of("/v10/x"), Shape::Problem);
        assert_eq!(Shape::of("/api/v1/k8c/services"), Shape::Problem);
    }

    #[test]
    fn retry_after_is_at_least_a_second() {
        let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "x", "y").with_retry_after(Duration::from_millis(5));
        assert_eq!(error.into_response().headers()[header::RETRY_AFTER], "1");
    }
}
