//! From a call to its answer: decode, queue, wait, render. One function a protocol.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::StatusCode;
use kea_core::{Contract, Function, ServiceId, Tensor, ValueType, VersionId};
use kea_http::ApiError;
use kea_openapi::{
    render::{self, Renderer},
    validate::{Call, Rejection, Validator},
};
use tokio::{sync::watch, time::timeout};

use crate::{
    batch::{Outcome, Queue, Refused, Work},
    engine::{ModelError, Patience},
    health::Health,
};

/// When a caller may try again after the queue was full or the model was not ready.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A model that has been loaded.
pub(crate) struct Model {
    pub(crate) service: ServiceId,
    pub(crate) version: VersionId,
    pub(crate) queue: Queue,
    pub(crate) health: watch::Receiver<Health>,
    pub(crate) timeout: Duration,
    patience: Arc<Patience>,
    validator: Validator,
    functions: HashMap<Arc<str>, Prepared>,
}

/// What of a function need not be worked out for each call.
struct Prepared {
    name: Arc<str>,
    renderer: Renderer,
    /// Whether it takes and gives any number of rows.
    of_rows: bool,
}

/// What a model is made of.
pub(crate) struct ModelParts {
    pub(crate) service: ServiceId,
    pub(crate) version: VersionId,
    pub(crate) queue: Queue,
    pub(crate) health: watch::Receiver<Health>,
    pub(crate) timeout: Duration,
    pub(crate) patience: Arc<Patience>,
}

impl Model {
    /// Makes the model ready to be called by its contract.
    ///
    /// # Errors
    /// The contract cannot be compiled.
    pub(crate) fn new(parts: ModelParts, contract: Contract) -> Result<Self, String> {
        let validator = Validator::compile(Arc::new(contract)).map_err(|error| error.to_string())?;
        let functions = validator.contract().functions.iter().map(|function| {
            let name: Arc<str> = function.name.as_str().into();
            let prepared =
                Prepared { name: name.clone(), renderer: Renderer::new(function), of_rows: takes_rows(function) };
            (name, prepared)
        });
        let functions = functions.collect();
        let ModelParts { service, version, queue, health, timeout, patience } = parts;
        Ok(Self { service, version, queue, health, timeout, patience, validator, functions })
    }

    pub(crate) fn contract(&self) -> &Arc<Contract> {
        self.validator.contract()
    }

    /// KEA's own protocol: `{"inputs": {...}}` to `{"predictions": [...]}`. Waits for `limit`, or for as long as the
    /// replica was told at its start.
    pub(crate) async fn predict(&self, name: &str, body: &[u8], limit: Option<Duration>) -> Result<Vec<u8>, ApiError> {
        let call = self.validator.decode(name, body).map_err(rejected)?;
        let function = self.function(name)?;
        let work = match call {
            Call::Tensors(inputs) => function.work(inputs),
            Call::Arguments(arguments) => Work::Call(arguments),
        };
        let mut out = Vec::with_capacity(256);
        match self.run(function, work, limit).await? {
            Outcome::Tensors(outputs) => function.renderer.predictions(&outputs, &mut out),
            Outcome::Result(result) => {
                let predictions = render::predictions_of_result(&result);
                serde_json::to_writer(&mut out, &predictions).expect("a value is JSON");
            }
        }
        Ok(out)
    }

    /// The Open Inference Protocol's `infer`, in JSON.
    pub(crate) async fn infer(&self, name: &str, body: &[u8], limit: Option<Duration>) -> Result<Vec<u8>, ApiError> {
        let call = self.validator.decode_v2(name, body).map_err(rejected)?;
        let function = self.function(name)?;
        let outputs = match self.run(function, function.work(call.inputs), limit).await? {
            Outcome::Tensors(outputs) => outputs,
            Outcome::Result(_) => {
                let detail = format!("function `{name}` does not answer with tensors: call it by KEA's own protocol");
                return Err(ApiError::new(StatusCode::BAD_REQUEST, "not-tensors", detail));
            }
        };
        if let Some(unknown) = call.outputs.iter().flatten().find(|name| !outputs.iter().any(|o| *o.name == ***name)) {
            let known: Vec<_> = outputs.iter().map(|output| &*output.name).collect();
            let detail = format!("there is no output `{unknown}`; there are {}", known.join(", "));
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "no-output", detail));
        }
        let mut out = Vec::with_capacity(256);
        let (service, version) = (self.service.as_str(), self.version.as_str());
        render::v2_response(service, version, call.id.as_deref(), &outputs, call.outputs.as_deref(), &mut out);
        Ok(out)
    }

    fn function(&self, name: &str) -> Result<&Prepared, ApiError> {
        self.functions.get(name).ok_or_else(|| {
            let known = self.functions.keys().map(ToString::to_string).collect();
            rejected(Rejection::NoFunction { name: name.into(), known })
        })
    }

    async fn run(&self, function: &Prepared, work: Work, limit: Option<Duration>) -> Result<Outcome, ApiError> {
        let limit = limit.unwrap_or(self.timeout);
        self.patience.waits(limit);
        let waiting = self.queue.submit(function.name.clone(), work).map_err(|Refused| self.full())?;
        match timeout(limit, waiting).await {
            Ok(Ok(outcome)) => outcome.map_err(|error| failed(&error)),
            Ok(Err(_worker_gone)) => Err(self.not_ready()),
            Err(_elapsed) => {
                let detail = format!("the model did not answer within {} ms", limit.as_millis());
                Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "model-timeout", detail))
            }
        }
    }

    fn full(&self) -> ApiError {
        let detail = format!("{} requests wait already: try again in a moment, or scale the service", self.queue.len());
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "queue-full", detail).with_retry_after(RETRY_AFTER)
    }

    pub(crate) fn not_ready(&self) -> ApiError {
        let detail = format!("the model is not ready: {}", self.health.borrow().reason());
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail).with_retry_after(RETRY_AFTER)
    }
}

impl Prepared {
    /// Rows of a batch, where the function takes any number of them.
    fn work(&self, inputs: Vec<Tensor>) -> Work {
        let rows = inputs.first().map_or(0, Tensor::rows);
        let of_rows = self.of_rows && inputs.iter().all(|input| input.rows() == rows);
        if of_rows { Work::Rows(inputs, rows) } else { Work::Whole(inputs) }
    }
}

fn takes_rows(function: &Function) -> bool {
    let takes_rows = |value: &ValueType| match value {
        ValueType::Tensor { shape, .. } => shape.first() == Some(&-1),
        ValueType::Scalar { .. } => true,
        ValueType::Json { .. } => false,
    };
    function.inputs.iter().chain(&function.outputs).all(|field| takes_rows(&field.value))
}

/// What a rejected request is answered with.
fn rejected(rejection: Rejection) -> ApiError {
    let status = match &rejection {
        Rejection::NoFunction { .. } => StatusCode::NOT_FOUND,
        Rejection::NotJson { .. } | Rejection::Invalid(_) | Rejection::Unsupported(_) => StatusCode::BAD_REQUEST,
    };
    ApiError::new(status, rejection.kind(), rejection.sentence()).with_errors(rejection.into_violations())
}

/// What a failed call is answered with. The text is the model's own: its author and its callers know what it means.
fn failed(error: &ModelError) -> ApiError {
    let (status, kind) = match error {
        ModelError::Arguments(_) => (StatusCode::BAD_REQUEST, "invalid-arguments"),
        ModelError::Raised { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "model-error"),
        ModelError::Crashed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "model-crashed"),
        ModelError::Unusable(_) => (StatusCode::INTERNAL_SERVER_ERROR, "model-answer"),
        ModelError::Hung { .. } => (StatusCode::GATEWAY_TIMEOUT, "model-timeout"),
    };
    ApiError::new(status, kind, error.to_string())
}
