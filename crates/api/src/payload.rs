//! Reading a request's JSON body: bounded, of the right content type, checked against the schema that the document
//! shows, and only then read as its type.

use std::sync::LazyLock;

use axum::extract::{FromRequest, Request};
use http::{HeaderMap, StatusCode, header};
use kea_core::{
    Contract,
    management::{
        CanIRequest, DeployRequest, KeyRequest, LoadBalancerConfig, LoginRequest, PasswordRequest, RefreshRequest,
        SsoCodeRequest, SsoDeviceRequest, UpdateRequest, UserChange, UserRequest, ValidationRequest, Violation,
    },
    policy::{BindingSpec, RoleSpec},
    service::AuditRules,
};
use kea_http::ApiError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::{
    ApiState, errors,
    schema_check::{SchemaCheck, describe},
};

/// Most bytes of a body of the management API. Models come by path or URL, so requests are small.
const LIMIT: usize = 1 << 20;

/// A type that is read from a body.
pub(crate) trait Checked: DeserializeOwned {
    /// The check of its schema.
    fn check() -> &'static SchemaCheck;
}

macro_rules! checked {
    ($($body:ty),+) => {$(
        impl Checked for $body {
            fn check() -> &'static SchemaCheck {
                static CHECK: LazyLock<SchemaCheck> = LazyLock::new(SchemaCheck::of::<$body>);
                &CHECK
            }
        }
    )+};
}
checked!(DeployRequest, UpdateRequest, LoadBalancerConfig, ValidationRequest, Contract);
checked!(LoginRequest, RefreshRequest, PasswordRequest, UserRequest, UserChange, KeyRequest);
checked!(SsoCodeRequest, SsoDeviceRequest);
checked!(AuditRules, BindingSpec, CanIRequest, RoleSpec);

/// A JSON body, read as its type.
pub(crate) struct Payload<T>(pub(crate) T);

impl<T: Checked> FromRequest<ApiState> for Payload<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &ApiState) -> Result<Self, ApiError> {
        must_be_json(request.headers())?;
        let (parts, body) = request.into_parts();
        let body = kea_http::encoding::decoded(&parts.headers, body)?;
        let bytes = kea_http::body::read(body, LIMIT).await?;
        read(&bytes).map(Self)
    }
}

fn must_be_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = sent.unwrap_or("nothing").split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json");
    if json {
        return Ok(());
    }
    let detail = format!("the content type is {essence}: send `Content-Type: application/json`");
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", detail))
}

/// Reads a body as `T`.
pub(crate) fn read<T: Checked>(bytes: &[u8]) -> Result<T, ApiError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| malformed(bytes, &error))?;
    let violations = T::check().violations(&value);
    if !violations.is_empty() {
        return Err(errors::invalid(violations));
    }
    // Read from the text, not from the value, in which a field that comes twice is there once.
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| errors::invalid(vec![unreadable(&error, &value)]))
}

fn malformed(bytes: &[u8], error: &serde_json::Error) -> ApiError {
    let detail = if bytes.is_empty() {
        "the body is empty: send a JSON object".to_owned()
    } else {
        // The error's own text ends with the place.
        format!("the body is not JSON: {error}")
    };
    ApiError::new(StatusCode::BAD_REQUEST, "malformed-json", detail)
}

/// A value of the right shape that its type refuses all the same.
fn unreadable(error: &serde_path_to_error::Error<serde_json::Error>, value: &Value) -> Violation {
    let pointer: String = error.path().iter().map(segment).collect();
    let received = value.pointer(&pointer).map_or_else(|| "nothing".to_owned(), describe);
    Violation { pointer, expected: "another value".into(), received, detail: error.inner().to_string() }
}

fn segment(segment: &Segment) -> String {
    match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("/{variant}"),
        Segment::Unknown => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pointers of what is wrong with a deploy request.
    fn pointers(body: &str) -> Vec<String> {
        let error = read::<DeployRequest>(body.as_bytes()).unwrap_err();
        error.errors.into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn every_wrong_field_is_named() {
        assert_eq!(pointers(r#"{"modelName": 3, "replica": 2}"#), ["/modelName", "/replica"]);
        assert_eq!(pointers(r#"{}"#), ["/modelName"]);
        assert_eq!(pointers(r#"{"modelName": "x", "replicas": -1}"#), ["/replicas"]);
        assert_eq!(pointers(r#"{"modelName": "x", "cache": {"ttl": "5s", "size": 1}}"#), ["/cache/size"]);
        assert_eq!(pointers(r#"{"modelName": "x", "cache": {"ttl": "soon"}}"#), ["/cache/ttl"]);
        assert_eq!(pointers(r#"{"modelName": "x", "framework": "Torch"}"#), ["/framework"]);
        assert_eq!(pointers(r#"{"modelName": "x", "serviceId": "Iris"}"#), ["/serviceId"]);
        assert_eq!(pointers(r#"{"modelName": "x", "serviceId": "audit"}"#), ["/serviceId"]);
        assert_eq!(pointers(r#"{"modelName": "x", "env": {"a/b": 1}}"#), ["/env/a~1b"]);
        assert_eq!(pointers(r#"[]"#), [""]);
    }

    #[test]
    fn a_field_that_comes_twice_is_refused() {
        let error = read::<DeployRequest>(br#"{"modelName": "x", "modelName": "y"}"#).unwrap_err();
        assert!(error.detail.starts_with("duplicate field `modelName`"), "{error:?}");
    }

    #[test]
    fn null_is_the_same_as_left_out() {
        let request = read::<DeployRequest>(br#"{"modelName": "x", "cache": null, "replicas": null}"#).unwrap();
        assert_eq!((request.cache, request.replicas), (None, None));
    }

    #[test]
    fn the_expected_and_the_received_are_said() {
        let error = read::<DeployRequest>(br#"{"modelName": "x", "framework": "Torch"}"#).unwrap_err();
        assert!(error.errors[0].expected.contains("`PyTorch`"), "{error:?}");
        assert_eq!(error.errors[0].received, "`\"Torch\"`");
        let error = read::<DeployRequest>(br#"{"modelName": "x", "timeout": {}}"#).unwrap_err();
        assert_eq!(error.errors[0].expected, "string or number");
    }

    #[test]
    fn malformed_json_is_told_with_its_place() {
        let error = read::<DeployRequest>(b"{\n  \"modelName\": }").unwrap_err();
        assert!(error.detail.contains("line 2 column 16"), "{error:?}");
    }

    #[test]
    fn json_by_any_of_its_names_is_taken() {
        let check = |content_type: &'static str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
            must_be_json(&headers).is_ok()
        };
        assert!(check("application/json"));
        assert!(check("Application/JSON; charset=utf-8"));
        assert!(check("application/merge-patch+json"));
        assert!(!check("text/json"));
        assert!(!check("application/x-www-form-urlencoded"));
        assert!(must_be_json(&HeaderMap::new()).is_err());
    }
}
