//! The OpenAPI document of a service, made of its contract.

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use kea_core::{ServiceId, VersionId, management::BASE_PATH};
use kea_http::ApiError;
use kea_openapi::document::{DocumentInfo, service_document};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{
    ApiState, errors,
    extract::{Params, ServiceName},
    guard,
    services::found_contract,
};

/// Which version is meant.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct VersionQuery {
    /// The version that is meant; the live one where it is not given.
    pub(crate) version: Option<VersionId>,
}

/// `GET /openapi/{serviceId}`
pub(crate) async fn document(
    State(state): State<ApiState>,
    ServiceName(id): ServiceName,
    Params(VersionQuery { version }): Params<VersionQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    guard::may_read(&state, &headers, &id)?;
    let text = write(&state, &id, version.as_ref()).await?;
    Ok(unless_known(&headers, text))
}

async fn write(state: &ApiState, id: &ServiceId, version: Option<&VersionId>) -> Result<Vec<u8>, ApiError> {
    let details = state.deployer.get(id).ok_or_else(|| errors::no_service(id.as_str()))?;
    let is_pinned = version.is_some();
    let (version, contract) = found_contract(state, id, version).await?;
    // What stands before the path in the URL by which the service is called.
    let server = details.url.split_once(BASE_PATH).map_or("", |(server, _)| server);
    let info = DocumentInfo {
        service: id,
        model_name: &details.model_name,
        version: &version,
        base_path: BASE_PATH,
        public: details.settings.access.is_wholly_public(),
        server,
        is_pinned,
    };
    let document = service_document(&info, contract.as_deref());
    Ok(serde_json::to_vec(&document).expect("a JSON value is written"))
}

/// Answers a JSON text with its strong entity tag, or 304 where the caller has it already.
pub(crate) fn unless_known(request: &HeaderMap, text: Vec<u8>) -> Response {
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&text)[..16]));
    let known = request.get_all(header::IF_NONE_MATCH).iter().any(|tags| names(tags, &tag));
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits within quotes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("authorization"));
    response
}

/// Whether a list of entity tags names `tag`, compared weakly as RFC 9110 asks for `If-None-Match`.
fn names(tags: &HeaderValue, tag: &str) -> bool {
    let mut tags = tags.to_str().unwrap_or_default().split(',').map(str::trim);
    tags.any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(if_none_match: Option<&str>) -> StatusCode {
        let value = if_none_match.map(|tags| (header::IF_NONE_MATCH, tags.parse().unwrap()));
        unless_known(&HeaderMap::from_iter(value), b"{}".to_vec()).status()
    }

    #[test]
    fn a_known_document_is_not_sent_again() {
        let answer = unless_known(&HeaderMap::new(), b"{}".to_vec());
        let tag = answer.headers()[header::ETAG].to_str().unwrap();
        assert_eq!(status(None), 200);
        assert_eq!(status(Some("\"other\"")), 200);
        assert_eq!(status(Some(tag)), 304);
        assert_eq!(status(Some(&format!("\"other\", W/{tag}"))), 304);
        assert_eq!(status(Some("*")), 304);
    }
}
