//! The second stage: reading the body of a model's request and checking it against the contract.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, header, request::Parts};
use kea_core::service::Engine;
use kea_openapi::validate::{Call, Rejection, V2Call, Validator};

use crate::{RouterError, grpc, identify::Admitted, path::Protocol};

/// A request that a replica may see.
pub(crate) struct ValidCall {
    pub(crate) admitted: Target,
    pub(crate) parts: Parts,
    pub(crate) body: CallBody,
    /// The inputs as the model will get them, where the response cache needs them for its key.
    pub(crate) decoded: Option<Decoded>,
    /// Whether it asks for all outputs rather than for some by name.
    pub(crate) all_outputs: bool,
    /// Most bytes of its body, and of an answer that is read whole.
    pub(crate) body_limit: usize,
}

/// The inputs of a request, decoded.
pub(crate) enum Decoded {
    /// Of KEA's own API.
    Kea(Call),
    /// Of the Open Inference Protocol V2.
    V2(V2Call),
}

/// What of an admitted request is needed after its body has been read.
pub(crate) type Target = Admitted;

/// A body on its way to a replica.
pub(crate) enum CallBody {
    /// Read whole and checked: may be sent again.
    Whole(Bytes),
    /// Streamed to an existing web service.
    Stream(Body),
}

/// Reads and checks the body. An existing web service checks its own.
pub(crate) async fn call(mut admitted: Admitted, body_limit: usize) -> Result<ValidCall, RouterError> {
    let request = std::mem::take(&mut admitted.request);
    let (parts, body) = request.into_parts();
    let limit = admitted.service.route.settings.limits.body.map_or(u64::MAX, |limit| limit.bytes);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if admitted.version().engine == Engine::External {
        if grpc::is_call(&parts) && !grpc::may_be_called(admitted.version()) {
            return Err(RouterError::NoGrpc(admitted.service.route.id.to_string()));
        }
        let body = kea_http::body::bounded(body, limit).map_err(RouterError::Body)?;
        let body = CallBody::Stream(body);
        return Ok(ValidCall { admitted, parts, body, decoded: None, all_outputs: true, body_limit: limit });
    }
    check_content_type(&parts)?;
    let no_contract = || RouterError::NoContract(admitted.service.route.id.to_string());
    let validator = admitted.version().validator.clone().ok_or_else(no_contract)?;
    let body = kea_http::encoding::decoded(&parts.headers, body).map_err(RouterError::Body)?;
    let body_limit = body_limit.min(limit);
    let body = kea_http::body::read(body, body_limit).await.map_err(RouterError::Body)?;
    let (decoded, all_outputs) = check(&validator, &admitted, &body).map_err(RouterError::Rejected)?;
    Ok(ValidCall { admitted, parts, body: CallBody::Whole(body), decoded, all_outputs, body_limit })
}

/// The inputs where the cache needs them, and whether all outputs are asked for.
fn check(validator: &Validator, admitted: &Admitted, body: &[u8]) -> Result<(Option<Decoded>, bool), Rejection> {
    let cached = admitted.service.route.settings.cache.enabled && is_deterministic(validator, &admitted.function);
    match admitted.protocol {
        Protocol::Kea if cached => {
            validator.decode(&admitted.function, body).map(|call| (Some(Decoded::Kea(call)), true))
        }
        Protocol::Kea => validator.check(&admitted.function, body).map(|()| (None, true)),
        Protocol::V2 => {
            let call = validator.decode_v2(&admitted.function, body)?;
            let all = call.outputs.is_none();
            Ok((cached.then_some(Decoded::V2(call)), all))
        }
    }
}

fn is_deterministic(validator: &Validator, function: &str) -> bool {
    validator.contract().function(function).is_none_or(|function| function.deterministic)
}

/// Clients of the inference protocols send none; one that sends another type sends something else.
fn check_content_type(parts: &Parts) -> Result<(), RouterError> {
    let Some(value) = parts.headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let received = || value.to_str().unwrap_or_default().into();
    if is_json(value) { Ok(()) } else { Err(RouterError::ContentType(received())) }
}

/// Whether a content type says JSON.
pub(crate) fn is_json(value: &HeaderValue) -> bool {
    if value.as_bytes() == b"application/json" {
        return true;
    }
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}
