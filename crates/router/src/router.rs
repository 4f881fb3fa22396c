//! The router itself: the snapshot it follows, and the request path.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header::SET_COOKIE};
use kea_audit::Recorder;
use kea_auth::{Authenticator, Caller, policy::Policies};
use kea_core::{
    ServiceId, VersionId,
    contract::DEFAULT_FUNCTION,
    port::{RouteFollower, Traffic},
    routing::RoutingSnapshot,
    service::Engine,
    tally::Tally,
};
use kea_http::{ApiError, replica_tls::ReplicaTls};

use crate::{
    RouterError, audited,
    cache::{self, CacheKey, Caching, Lookup, Owner, ResponseCache, Scope, kept},
    counted::Counted,
    error, health, identify,
    limit::{self, SharedRates},
    metrics, path, reply, shadow, sticky,
    table::{ServiceEntry, Table, Trust, VersionEntry},
    tunnel, v2, validate,
};

/// Routes requests of services to their replicas.
pub struct Router {
    table: ArcSwap<Table>,
    auth: Arc<Authenticator>,
    policies: Arc<Policies>,
    caching: Caching,
    /// Where rates are counted together with other routers.
    shared_rates: Option<Arc<SharedRates>>,
    body_limit: usize,
}

impl RouteFollower for Router {
    fn follow(&self, snapshot: &RoutingSnapshot) {
        let before = self.table.load_full();
        let after = Arc::new(before.follow(snapshot));
        self.table.store(after.clone());
        for (service, running) in after.changed_versions(&before) {
            self.caching.forget_versions(&service, &running);
        }
    }
}

impl Traffic for Router {
    fn tally(&self, service: &ServiceId, version: &VersionId) -> Tally {
        let table = self.table.load();
        let found = table.services.get(service.as_str()).and_then(|entry| entry.version(Some(version.as_str())));
        let tally =
            |version: &VersionEntry| Tally { shadow: version.metrics.copies.tally(), ..version.metrics.trial.tally() };
        found.map_or_else(Tally::default, tally)
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
        Self { table: ArcSwap::default(), auth, policies, caching: Caching::new(cache), shared_rates: None, body_limit }
    }

    /// The same, which counts rates together with all routers of `shared`.
    #[must_use]
    pub fn sharing_rates(self, shared: Option<SharedRates>) -> Self {
        Self { shared_rates: shared.map(Arc::new), ..self }
    }

    /// The same, which knows whom to believe of replicas elsewhere that are reached by TLS. To be called before it follows
    /// anything.
    #[must_use]
    pub fn with_replica_tls(self, elsewhere: Arc<ReplicaTls>) -> Self {
        let own = self.table.load().tls.own.clone();
        self.trusting(Trust { own, elsewhere })
    }

    /// The same for KEA's own replicas that are reached by TLS.
    #[must_use]
    pub fn with_own_replica_tls(self, own: Arc<ReplicaTls>) -> Self {
        let elsewhere = self.table.load().tls.elsewhere.clone();
        self.trusting(Trust { own, elsewhere })
    }

    fn trusting(self, tls: Trust) -> Self {
        self.table.store(Arc::new(Table { tls, ..Table::default() }));
        self
    }

    /// Asks the replicas how they are, beside the path of requests, for as long as it is polled.
    pub async fn tend(&self) {
        let places = health::places();
        loop {
            tokio::time::sleep(health::TICK).await;
            health::tend(&self.table.load(), &places);
        }
    }

    /// Whether a request is a service's. One that came by a route of the service's own gets the standard path.
    pub fn takes(&self, request: &mut Request) -> bool {
        if path::is_service_request(request.uri().path()) {
            return true;
        }
        let standard = self.table.load().standard_uri(request);
        let is_own = standard.is_some();
        if let Some((standard, prefix)) = standard {
            *request.uri_mut() = standard;
            request.extensions_mut().insert(prefix);
        }
        is_own
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
    async fn route(&self, mut request: Request) -> Result<Response, RouterError> {
        let table = self.table.load_full(); // one immutable snapshot a request
        let record = Recorder::of(request.extensions());
        audited::asked(&record, &request);
        tunnel::guard(&self.auth, &mut request);
        let admitted = identify::admit(&table, &self.auth, &self.policies, request)?; // 401, 403, 404, 405, 503
        audited::admitted(&record, &admitted);
        let counted = Counted::of(&admitted);
        let rates = admitted.service.rates.as_ref();
        let rated = rates.and_then(|rates| rates.count(&admitted, self.shared_rates.as_ref()));
        let quota = match rated {
            Some(rated) => Some(rated.by_all().await),
            None => None,
        };
        let sticky = sticky::new_cookie(&admitted);
        let mut asked = None;
        let routed = async {
            limit::within(&admitted, quota)?; // 429
            let call = validate::call(admitted, self.body_limit, &self.caching.seen).await?; // 400, 413, 415
            audited::valid(&record, &call);
            asked = counted.on_trial.then(Instant::now);
            self.caching.answer(call).await // from the cache, else 502, 503, 504
        };
        let answered: Result<Response, RouterError> = routed.await;
        let mut response = counted.answered(answered, asked.map(|asked| asked.elapsed()));
        quota.inspect(|quota| quota.mark(response.headers_mut()));
        response.headers_mut().extend(sticky.map(|cookie| (SET_COOKIE, cookie)));
        Ok(response)
    }

    /// The cached answer of that key, where `caller` may have it; 304 where these headers of a request say that they do.
    pub async fn cached(&self, caller: &Caller, key: &str, headers: &HeaderMap) -> Option<Response> {
        let Lookup::Found(entry, _) = self.caching.answers.get(&CacheKey::parse(key)?).await else { return None };
        let allowed = entry.owner.as_deref().is_none_or(|owner| Owner::of(caller).is(owner));
        allowed.then(|| kept(&entry, headers))
    }

    /// Removes the answers of a service, or of one of its functions, from the cache.
    ///
    /// # Errors
    /// 404 where there is no such service or function; 503 where the answers cannot be reached.
    pub async fn clear_cache(&self, service: &str, function: Option<&str>) -> Result<(), ApiError> {
        let scope = self.table.load().scope(service, function)?;
        Ok(self.caching.clear(&scope).await.map_err(RouterError::CacheAway)?)
    }

    /// Removes the answer of that key from the cache, if there is one.
    ///
    /// # Errors
    /// 400 where it is no key; 503 where the answers cannot be reached.
    pub async fn clear_cached(&self, key: &str) -> Result<(), ApiError> {
        let scope = Scope::Key(CacheKey::parse(key).ok_or_else(no_key)?);
        Ok(self.caching.clear(&scope).await.map_err(RouterError::CacheAway)?)
    }

    /// Names of the replicas that take requests of the live version at this moment.
    pub fn active_replicas(&self, id: &ServiceId) -> Vec<String> {
        let table = self.table.load();
        let version = table.services.get(id.as_str()).and_then(|entry| entry.version(None));
        version.map_or_else(Vec::new, |v| v.pool.active().map(|endpoint| endpoint.name.to_string()).collect())
    }

    /// Checks a request's body without calling the model; gives the version whose schema was used.
    ///
    /// # Errors
    /// 400 with each thing that is wrong, or for a web service, which checks its own requests; 404 where there is no such
    /// service or function, 409 where the schema is not known yet.
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
        if found.engine == Engine::External {
            return Err(checks_itself(service));
        }
        let validator = found.validator.as_ref().ok_or_else(|| contract_unknown(service))?;
        validator.check(function.unwrap_or(DEFAULT_FUNCTION), body).map_err(error::rejected)?;
        Ok(found.version.clone())
    }

    /// Counters of all services, in the text format that Prometheus reads.
    pub fn metrics(&self) -> String {
        let mut out = [metrics::HELP, reply::HELP, cache::HELP, limit::SHARED_HELP, shadow::HELP].concat();
        self.caching.answers.write_metrics(&mut out);
        self.shared_rates.iter().for_each(|rates| rates.write_metrics(&mut out));
        for (name, entry) in &self.table.load().services {
            for version in &entry.versions {
                version.metrics.write(name, version.version.as_str(), version.pool.active().count(), &mut out);
            }
            metrics::write_service(name, entry, &mut out);
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

/// Nothing is held against what a web service documents.
fn checks_itself(service: &str) -> ApiError {
    let detail = format!(
        "`{service}` is a web service, which checks its requests by itself: call it, or look at its documentation"
    );
    ApiError::new(StatusCode::BAD_REQUEST, "unsupported", detail)
}

/// Unlike a call, which waits for the model, this is no failure of the server.
fn contract_unknown(service: &str) -> ApiError {
    let detail = format!("the schema of `{service}` is not known yet, so nothing can be checked against it");
    ApiError::new(StatusCode::CONFLICT, "contract-unknown", detail)
}

fn no_key() -> ApiError {
    let detail = "no answer was ever kept under this key: send the value of the header `kea-cache-key` of an answer";
    ApiError::new(StatusCode::BAD_REQUEST, "no-cache-key", detail)
}
