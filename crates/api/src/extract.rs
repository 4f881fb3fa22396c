//! What handlers take from the path and the query.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;
use kea_core::{
    ServiceId,
    policy::{PolicyError, PolicyName},
};
use kea_http::ApiError;
use serde::de::DeserializeOwned;

use crate::{ApiState, errors};

/// The service that the path names. A name that no service can have is a service that there is not.
pub(crate) struct ServiceName(pub(crate) ServiceId);

impl FromRequestParts<ApiState> for ServiceName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, ApiError> {
        let text = path_text(parts, "serviceId").await?;
        text.parse().map(Self).map_err(|_not_a_label| errors::no_service(text))
    }
}

/// The function that the path names.
pub(crate) struct FunctionName(pub(crate) String);

impl FromRequestParts<ApiState> for FunctionName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, ApiError> {
        path_text(parts, "function").await.map(Self)
    }
}

/// The user, session or key that the path names, in its last segment.
pub(crate) struct Id(pub(crate) String);

impl FromRequestParts<ApiState> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let params = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let text = params.ok().and_then(|Path(params)| params.into_values().next());
        // A path that is no UTF-8 names nobody.
        text.map(Self).ok_or_else(|| errors::no_such("thing", parts.uri.path()))
    }
}

/// What the path has in the place of that name.
pub(crate) async fn path_text(parts: &mut Parts, name: &str) -> Result<String, ApiError> {
    let params = Path::<HashMap<String, String>>::from_request_parts(parts, &()).await;
    let text = params.ok().and_then(|Path(mut params)| params.remove(name));
    // A path that is no UTF-8 names no service.
    text.ok_or_else(|| errors::no_service(parts.uri.path()))
}

/// The role or binding that the path names. A name that none can have is one that there is not.
pub(crate) struct PolicyPath(pub(crate) PolicyName);

impl FromRequestParts<ApiState> for PolicyPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, ApiError> {
        let text = path_text(parts, "name").await?;
        text.parse().map(Self).map_err(|error: PolicyError| errors::no_policy(&error.to_string()))
    }
}

/// Query parameters, each read as its type.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<ApiState> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(params)| Self(params)).map_err(|rejection| errors::bad_query(rejection.body_text()))
    }
}
