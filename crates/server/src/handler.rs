//! The replica's HTTP side: which path is which protocol.

use std::sync::{Arc, OnceLock};

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, header};
use kea_core::{contract::DEFAULT_FUNCTION, management::BASE_PATH};
use kea_http::{ApiError, body, segment, timeout};
use kea_openapi::render;
use serde_json::{Value, json};

use crate::{
    answer::Model,
    status::{Status, json_answer},
};

/// Extensions of the Open Inference Protocol that a replica speaks; none yet.
const EXTENSIONS: [&str; 0] = [];

/// What answers the requests of a replica: nothing but health until its model is loaded.
#[derive(Clone)]
pub(crate) struct Handler {
    model: Arc<OnceLock<Arc<Model>>>,
    status: Arc<Status>,
    body_limit: usize,
}

impl Handler {
    pub(crate) fn new(status: Arc<Status>, body_limit: usize) -> Self {
        Self { model: Arc::default(), status, body_limit }
    }

    /// The model is loaded: requests are answered from now on.
    pub(crate) fn serve(&self, model: Arc<Model>) {
        // A replica loads one model in its life.
        let _ = self.model.set(model);
    }

    pub(crate) async fn answer(self, request: Request) -> Response {
        self.route(request).await.unwrap_or_else(IntoResponse::into_response)
    }

    async fn route(&self, request: Request) -> Result<Response, ApiError> {
        let path = request.uri().path();
        if let Some(rest) = path.strip_prefix(BASE_PATH).and_then(|rest| rest.strip_prefix("/services/")) {
            let (service, function) = rest.split_once('/').ok_or_else(|| no_path(path))?;
            let model = self.model_called(&segment::decoded(service)?)?;
            let function = segment::decoded(function)?.into_owned();
            must_be_post(request.method())?;
            let limit = timeout::read(request.headers());
            let body = body::read(request.into_body(), self.body_limit).await?;
            return Ok(answered(&model, model.predict(&function, &body, limit).await?));
        }
        if let Some(rest) = path.strip_prefix("/v2") {
            let rest = rest.to_string();
            return self.route_v2(rest.trim_matches('/'), request).await;
        }
        self.status.answer(path).unwrap_or_else(|| Err(no_path(path)))
    }

    async fn route_v2(&self, path: &str, request: Request) -> Result<Response, ApiError> {
        let segments: Vec<&str> = path.split('/').collect();
        let (version, action) = match segments[..] {
            [""] => return Ok(json_answer(&self.server_metadata())),
            ["health", "live"] => return Ok(json_answer(&json!({"live": true}))),
            ["health", "ready"] => return self.status.ready().map(|()| json_answer(&json!({"ready": true}))),
            ["models"] => {
                let names: Vec<_> = self.model.get().map(|model| model.service.as_str()).into_iter().collect();
                return Ok(json_answer(&json!({ "models": names })));
            }
            ["models", _, "versions", version] => (Some(version), ""),
            ["models", _, "versions", version, action] => (Some(version), action),
            ["models", _] => (None, ""),
            ["models", _, action] => (None, action),
            _ => return Err(no_path(request.uri().path())),
        };
        let model = self.model_called(&segment::decoded(segments[1])?)?;
        let version = version.map(segment::decoded).transpose()?;
        if version.is_some_and(|version| version != model.version.as_str()) {
            let detail = format!("this replica runs version {} of `{}`", model.version, model.service);
            return Err(ApiError::new(StatusCode::NOT_FOUND, "no-version", detail));
        }
        match action {
            "" => {
                let metadata = render::v2_metadata(model.service.as_str(), &[model.version.as_str()], model.contract());
                Ok(json_answer(&metadata))
            }
            "ready" => {
                self.status.ready()?;
                Ok(json_answer(&json!({"name": model.service.as_str(), "ready": true})))
            }
            "infer" => {
                must_be_post(request.method())?;
                refuse_binary(&request)?;
                let limit = timeout::read(request.headers());
                let body = body::read(request.into_body(), self.body_limit).await?;
                Ok(answered(&model, model.infer(DEFAULT_FUNCTION, &body, limit).await?))
            }
            _ => Err(no_path(request.uri().path())),
        }
    }

    fn server_metadata(&self) -> Value {
        json!({"name": "kea", "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS})
    }

    fn loaded(&self) -> Result<&Arc<Model>, ApiError> {
        self.model.get().ok_or_else(|| self.status.not_ready())
    }

    fn model_called(&self, name: &str) -> Result<Arc<Model>, ApiError> {
        let model = self.loaded()?;
        if model.service.as_str() == name {
            return Ok(model.clone());
        }
        let detail = format!("this replica serves `{}`, not `{name}`", model.service);
        Err(ApiError::new(StatusCode::NOT_FOUND, "no-service", detail))
    }
}

fn refuse_binary(request: &Request) -> Result<(), ApiError> {
    if !request.headers().contains_key("inference-header-content-length") {
        return Ok(());
    }
    let detail = "binary tensor data is not supported yet: send the tensors as JSON (tritonclient: binary_data=False)";
    Err(ApiError::new(StatusCode::BAD_REQUEST, "unsupported", detail))
}

fn must_be_post(method: &Method) -> Result<(), ApiError> {
    if method == Method::POST {
        return Ok(());
    }
    let detail = format!("this path takes POST requests, not {method}");
    Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", detail).with_allow("POST"))
}

fn no_path(path: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no-path", format!("there is nothing at `{path}`"))
}

fn answered(model: &Model, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Names and versions hold letters, digits, `-`, `.` and `_` alone.
    let value = |text: &str| HeaderValue::from_str(text).expect("a checked name is a header value");
    headers.insert("kea-service", value(model.service.as_str()));
    headers.insert("kea-version", value(model.version.as_str()));
    response
}
