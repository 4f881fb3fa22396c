//! The second stage: reading the body of a model's request and checking it against the contract.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, header, request::Parts};
use kea_core::service::Engine;
use kea_openapi::validate::{Call, Rejection, V2Call, Validator};

use crate::{
    RouterError,
    cache::{self, CacheKey, Known, Question, Seen},
    grpc,
    identify::Admitted,
    path::Protocol,
};

/// A request that a replica may see.
pub(crate) struct ValidCall {
    pub(crate) admitted: Target,
    pub(crate) parts: Parts,
    pub(crate) body: CallBody,
    /// The key of its answer, where answers may be kept.
    pub(crate) key: Option<CacheKey>,
    /// Whether the body was asked before, so that nothing is to be remembered of it.
    pub(crate) recalled: bool,
    /// Whether it asks for all outputs rather than for some by name.
    pub(crate) all_outputs: bool,
    /// Most bytes of its body, and of an answer that is read whole.
    pub(crate) body_limit: usize,
}

/// The inputs of a request as the model will get them, of which the key of its answer is made.
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
pub(crate) async fn call(mut admitted: Admitted, body_limit: usize, seen: &Seen) -> Result<ValidCall, RouterError> {
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
        return Ok(ValidCall {
            admitted,
            parts,
            body,
            key: None,
            recalled: false,
            all_outputs: true,
            body_limit: limit,
        });
    }
    check_content_type(&parts)?;
    let no_contract = || RouterError::NoContract(admitted.service.route.id.to_string());
    let validator = admitted.version().validator.clone().ok_or_else(no_contract)?;
    let body = kea_http::encoding::decoded(&parts.headers, body).map_err(RouterError::Body)?;
    let body_limit = body_limit.min(limit);
    let body = kea_http::body::read(body, body_limit).await.map_err(RouterError::Body)?;
    let Checked { key, recalled, all_outputs } =
        check(&validator, &admitted, &body, seen).map_err(RouterError::Rejected)?;
    Ok(ValidCall { admitted, parts, body: CallBody::Whole(body), key, recalled, all_outputs, body_limit })
}

/// What is to be known of a body that fits its contract.
struct Checked {
    key: Option<CacheKey>,
    recalled: bool,
    all_outputs: bool,
}

/// Holds a body against its contract, unless it was before.
fn check(validator: &Arc<Validator>, admitted: &Admitted, body: &[u8], seen: &Seen) -> Result<Checked, Rejection> {
    if !admitted.service.route.settings.cache.enabled || !is_deterministic(validator, &admitted.function) {
        let all_outputs = match admitted.protocol {
            Protocol::Kea => validator.check(&admitted.function, body).map(|()| true)?,
            Protocol::V2 => validator.decode_v2(&admitted.function, body)?.outputs.is_none(),
        };
        return Ok(Checked { key: None, recalled: false, all_outputs });
    }
    let question = Question::of(admitted, validator, body);
    if let Some(Known { key, all_outputs }) = seen.recall(&question) {
        return Ok(Checked { key: Some(key), recalled: true, all_outputs });
    }
    let decoded = decode(validator, admitted, body)?;
    let all_outputs = !matches!(&decoded, Decoded::V2(V2Call { outputs: Some(_), .. }));
    let key = cache::key_of(admitted, &decoded, admitted.owner().as_ref());
    Ok(Checked { key, recalled: false, all_outputs })
}

fn decode(validator: &Validator, admitted: &Admitted, body: &[u8]) -> Result<Decoded, Rejection> {
    match admitted.protocol {
        Protocol::Kea => validator.decode(&admitted.function, body).map(Decoded::Kea),
        Protocol::V2 => validator.decode_v2(&admitted.function, body).map(Decoded::V2),
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
