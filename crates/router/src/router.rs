//! The router itself: the snapshot it follows, and the request path.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use kea_audit::{Recorder, Stage};
use kea_auth::{Authenticator, Caller, policy::Policies};
use kea_core::{ServiceId, VersionId, contract::DEFAULT_FUNCTION, port::RouteFollower, routing::RoutingSnapshot};
use kea_http::ApiError;

use crate::{
    RouterError, audited,
    cache::{self, CachedResponse, Plan, ResponseCache},
    error, forward, identify, metrics,
    table::{ServiceEntry, Table},
    v2,
    validate::{self, ValidCall},
};

/// What each answer says of itself: who answered, in which version, and whether it came from the cache.
const SERVICE: HeaderName = HeaderName::from_static("kea-service");
const VERSION: HeaderName = HeaderName::from_static("kea-version");
const CACHE: HeaderName = HeaderName::from_static("kea-cache");

/// Routes requests of services to their replicas.
pub struct Router {
    table: ArcSwap<Table>,
    auth: Arc<Authenticator>,
    policies: Arc<Policies>,
    cache: Arc<dyn ResponseCache>,
    body_limit: usize,
}

impl RouteFollower for Router {
    fn follow(&self, snapshot: &RoutingSnapshot) {
        self.table.store(Arc::new(self.table.load().follow(snapshot)));
    }
}

impl Router {
    /// A router that knows no service yet. Bodies of models' requests have at most `body_limit` bytes.
    pub fn new(
        auth: Arc<Authenticator>,
        policies: Arc<Policies>,
        cache: Arc<dyn ResponseCache>,
        body_limit: usize,
    ) -> Self {
        Self { table: ArcSwap::default(), auth, policies, cache, body_limit }
    }

    /// Answers a request of a service.
    pub async fn handle(&self, request: Request) -> Response {
        let path = request.uri().path();
        if path.starts_with("/v2") && !path.ends_with("/infer") {
            audited::described(&Recorder::of(request.extensions()), path);
            let answered = v2::answer(&self.table.load_full(), &self.auth, &self.policies, &request);
            return answered.unwrap_or_else(|error| ApiError::from(error).into_response());
        }
        self.route(request).await.unwrap_or_else(|error| ApiError::from(error).into_response())
    }

    /// The request path: each stage takes what only the one before can make.
    async fn route(&self, request: Request) -> Result<Response, RouterError> {
        let table = self.table.load_full(); // one immutable snapshot a request
        let record = Recorder::of(request.extensions());
        audited::asked(&record, request.uri().path());
        let admitted = identify::admit(&table, &self.auth, &self.policies, request)?; // 401, 403, 404, 405, 503
        audited::admitted(&record, &admitted);
        let metrics = admitted.version().metrics.clone();
        let routed = async {
            let mut call = validate::call(admitted, self.body_limit).await?; // 400, 413, 415
            audited::valid(&record, &call);
            let Some(plan) = cache::plan(&call) else {
                record.cache("bypass");
                let response = forward::send(&mut call).await?; // 502, 503, 504
                return Ok(marked(response, &call, "bypass", None));
            };
            let found = self.cache.get(&plan.key).await;
            record.ended(Stage::Cache);
            record.cache(if found.is_some() { "hit" } else { "miss" });
            if let Some(hit) = found {
                call.admitted.version().metrics.cache_hit();
                return Ok(marked(from_cache(hit), &call, "hit", Some(&plan.key)));
            }
            let response = forward::send(&mut call).await?;
            let response = self.fill(&plan, response).await?;
            Ok(marked(response, &call, "miss", Some(&plan.key)))
        };
        let answered: Result<Response, RouterError> = routed.await;
        let response = answered.unwrap_or_else(|error| ApiError::from(error).into_response());
        metrics.answered(response.status());
        Ok(response)
    }

    /// Keeps a good answer, which is read whole for that.
    async fn fill(&self, plan: &Plan, response: Response) -> Result<Response, RouterError> {
        if response.status() != StatusCode::OK {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| RouterError::Broken(error.to_string()))?.to_bytes();
        if let Some(entry) = plan.entry(&parts.headers, &body) {
            self.cache.put(plan.key.clone(), entry).await;
        }
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    /// The cached answer of that key, where `caller` may have it.
    pub async fn cached(&self, caller: &Caller, key: &str) -> Option<Response> {
        let cached = self.cache.get(key).await?;
        let allowed = cached.owner.as_deref().is_none_or(|owner| owner == &*caller.username);
        allowed.then(|| from_cache(cached))
    }

    /// Names of the replicas that take requests of the live version at this moment.
    pub fn active_replicas(&self, id: &ServiceId) -> Vec<String> {
        let table = self.table.load();
        let version = table.services.get(id.as_str()).and_then(|entry| entry.version(None));
        version.map_or_else(Vec::new, |v| v.endpoints.iter().map(|endpoint| endpoint.name.to_string()).collect())
    }

    /// Checks a request's body without calling the model; gives the version whose schema was used.
    ///
    /// # Errors
    /// 400 with each thing that is wrong, 404 where there is no such service or function, 409 where the schema is not
    /// known yet.
    pub fn validate(
        &self,
        service: &str,
        version: Option<&str>,
        function: Option<&str>,
        body: &[u8],
    ) -> Result<VersionId, ApiError> {
        let table = self.table.load();
        let entry = table.services.get(service).ok_or_else(|| RouterError::NoService(service.into()))?;
        let found = entry.version(version).ok_or_else(|| no_schema(entry, version))?;
        let validator = found.validator.as_ref().ok_or_else(|| contract_unknown(service))?;
        validator.check(function.unwrap_or(DEFAULT_FUNCTION), body).map_err(error::rejected)?;
        Ok(found.version.clone())
    }

    /// Counters of all services, in the text format that Prometheus reads.
    pub fn metrics(&self) -> String {
        let mut out = String::from(metrics::HELP);
        for (name, entry) in &self.table.load().services {
            for version in &entry.versions {
                version.metrics.write(name, version.version.as_str(), version.endpoints.len(), &mut out);
            }
        }
        out
    }
}

fn no_schema(entry: &ServiceEntry, version: Option<&str>) -> ApiError {
    let service = &entry.route.id;
    match version {
        Some(version) => {
            let running: Vec<_> = entry.versions.iter().map(|version| version.version.as_str()).collect();
            let detail = format!(
                "there is no schema of version `{version}` of `{service}`; there is one of: {}",
                running.join(", ")
            );
            ApiError::new(StatusCode::BAD_REQUEST, "no-schema", detail)
        }
        None => contract_unknown(service.as_str()),
    }
}

/// Unlike a call, which waits for the model, this is no failure of the server.
fn contract_unknown(service: &str) -> ApiError {
    let detail = format!("the schema of `{service}` is not known yet, so nothing can be checked against it");
    ApiError::new(StatusCode::CONFLICT, "contract-unknown", detail)
}

fn from_cache(cached: CachedResponse) -> Response {
    let mut response = Response::new(Body::from(cached.body));
    *response.headers_mut() = cached.headers;
    response
}

/// Says what answered, and whether it came from the cache.
fn marked(mut response: Response, call: &ValidCall, cache: &'static str, key: Option<&str>) -> Response {
    let headers = response.headers_mut();
    headers.insert(SERVICE, call.admitted.service.id_header.clone());
    headers.insert(VERSION, call.admitted.version().version_header.clone());
    headers.insert(CACHE, HeaderValue::from_static(cache));
    if let Some(key) = key {
        // Keys hold letters, digits and `-._:` alone.
        headers.insert("kea-cache-key", HeaderValue::from_str(key).expect("a key is a header value"));
    }
    response
}
