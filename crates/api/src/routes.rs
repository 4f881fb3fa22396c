//! All routes of the management API, in one list: the router is made of it, and so is the OpenAPI document.

use std::sync::Arc;

use axum::{Router, middleware::from_fn, routing::MethodRouter};
use http::StatusCode;
use kea_core::service::AuditRules;
use kea_core::{
    Contract,
    management::{
        BASE_PATH, Comparison, DeployRequest, DeployResponse, LoadBalancerConfig, LoadBalancerDetails,
        LoadBalancerInfo, LoadBalancerResponse, Logs, MethodInfo, PredictRequest, PredictResponse, ServiceDetails,
        ServiceInfo, UpdateRequest, UpdateResponse, ValidationRequest, ValidationResponse, VersionInfo,
    },
    policy::Verb as Permit,
};
use serde_json::{Map, Value, json};

use crate::{
    ApiState, audit, balancing, comparisons, contracts, document,
    guard::{self, Guard},
    health, identity_routes, logs,
    operation::{Access, Needs, Operation, Route, Tag, Verb},
    pages, policy_routes, requests, services, sso,
};

/// The management API and the documentation pages. Paths of other protocols are merged into it by the caller; the
/// answers' errors get their bodies at the rim ([`kea_http::rim`]).
pub fn router(state: ApiState) -> Router {
    let mut router = Router::new();
    for Route { operation, handler } in all() {
        let guarded = guarded(&operation, handler, &state);
        router = router.route(&operation.path, guarded);
    }
    router
        .merge(pages::routes())
        .merge(sso::routes())
        .fallback(guard::no_such_path)
        .method_not_allowed_fallback(guard::no_such_method)
        .with_state(state)
}

fn guarded(operation: &Operation, handler: MethodRouter<ApiState>, state: &ApiState) -> MethodRouter<ApiState> {
    let guard = Guard {
        state: state.clone(),
        action: operation.id,
        changes: operation.changes(),
        access: operation.access,
        needs: operation.needs,
        query: operation.query_names(),
    };
    let guard = Arc::new(guard);
    handler.route_layer(from_fn(move |request, next| {
        let guard = guard.clone();
        async move { guard.pass(request, next).await }
    }))
}

/// All operations with their handlers.
pub(crate) fn all() -> Vec<Route> {
    [
        service_deployer(),
        calls(),
        identity_routes::all(),
        policy_routes::all(),
        openapi_generator(),
        logger(),
        request_router(),
        health(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(crate) fn path(relative: &str) -> String {
    format!("{BASE_PATH}{relative}")
}

pub(crate) fn get(tag: Tag, relative: &str, id: &'static str) -> Operation {
    Operation::new(Verb::Get, path(relative), tag, id)
}

pub(crate) fn post(tag: Tag, relative: &str, id: &'static str) -> Operation {
    Operation::new(Verb::Post, path(relative), tag, id)
}

pub(crate) fn delete(tag: Tag, relative: &str, id: &'static str) -> Operation {
    Operation::new(Verb::Delete, path(relative), tag, id)
}

fn service_deployer() -> Vec<Route> {
    let tag = Tag::ServiceDeployer;
    vec![
        post(tag, "/services", "deployService")
            .summary("Deploy a model as a service")
            .needs(Needs::OfRequest(Permit::Deploy))
            .description(
                "Creates the service, or a new version of the one of that name. The answer does not wait for the \
                 model to be ready: the service's status says how far it is.",
            )
            .takes::<DeployRequest>(json!({"modelName": "Iris", "sourceCode": "./iris.joblib", "replicas": 2}))
            .answers::<DeployResponse>(StatusCode::CREATED, "What was asked for is on the way.")
            .header("Location", "Path of the service's details.")
            .also(&[StatusCode::FORBIDDEN, StatusCode::CONFLICT])
            .by(services::deploy),
        get(tag, "/services", "listServices")
            .summary("List the services")
            .needs(Needs::List)
            .answers::<Vec<ServiceInfo>>(StatusCode::OK, "All services, by name.")
            .by(services::list),
        get(tag, "/services/{serviceId}", "getService")
            .summary("Tell all about a service")
            .needs(Needs::OfPath(Permit::Read))
            .answers::<ServiceDetails>(StatusCode::OK, "The service.")
            .by(services::get),
        Operation::new(Verb::Put, path("/services/{serviceId}"), tag, "updateService")
            .summary("Change a service")
            .needs(Needs::OfPath(Permit::Update))
            .description(
                "Changes what the request names and nothing else. A new version replaces the old one once it is ready.",
            )
            .takes::<UpdateRequest>(json!({"replicas": 4}))
            .answers::<UpdateResponse>(StatusCode::OK, "The change is on the way.")
            .also(&[StatusCode::FORBIDDEN, StatusCode::CONFLICT])
            .by(services::update),
        delete(tag, "/services/{serviceId}", "deleteService")
            .summary("Delete a service")
            .needs(Needs::OfPath(Permit::Delete))
            .answers_nothing(StatusCode::NO_CONTENT, "The service takes no more requests, and its replicas stop.")
            .by(services::delete),
        get(tag, "/services/{serviceId}/methods", "listMethods")
            .summary("List a service's functions")
            .needs(Needs::OfPath(Permit::Read))
            .query::<contracts::VersionQuery>()
            .answers::<Vec<MethodInfo>>(StatusCode::OK, "The functions, with their inputs and outputs.")
            .also(&[StatusCode::CONFLICT])
            .by(services::methods),
        get(tag, "/services/{serviceId}/versions", "listVersions")
            .summary("List a service's versions")
            .needs(Needs::OfPath(Permit::Read))
            .answers::<Vec<VersionInfo>>(StatusCode::OK, "The versions, oldest first.")
            .by(services::versions),
        post(tag, "/services/{serviceId}/rollback", "rollbackService")
            .summary("Return to the version that was live before")
            .needs(Needs::OfPath(Permit::Update))
            .answers::<UpdateResponse>(StatusCode::OK, "The change is on the way.")
            .also(&[StatusCode::CONFLICT])
            .by(services::rollback),
    ]
}

fn calls() -> Vec<Route> {
    let call = |relative, id| {
        post(Tag::ServiceDeployer, relative, id)
            .access(Access::Gateway)
            .needs(Needs::OfPath(Permit::Predict))
            .takes::<PredictRequest>(json!({"inputs": {"sepal_length": 5.1, "sepal_width": 3.5}}))
            .answers::<PredictResponse>(StatusCode::OK, "One prediction a row.")
            .header("kea-service", "The service that answered.")
            .header("kea-version", "Its version that answered.")
            .header("kea-cache", "`hit`, `miss` or `bypass`.")
            .header("kea-cache-key", "Where the answer is cached: what `GET /router/cache` takes.")
    };
    vec![
        call("/services/{serviceId}/predict", "predict")
            .summary("Call a service")
            .description("What `inputs` holds is said by the service's own document.")
            .by(requests::predict),
        call("/services/{serviceId}/{function}", "callFunction")
            .summary("Call another function of a service")
            .by(requests::call),
    ]
}

fn openapi_generator() -> Vec<Route> {
    let tag = Tag::OpenAPIGenerator;
    let tag_header = "Changes with the document: send it back as `If-None-Match`.";
    vec![
        get(tag, "/openapi/{serviceId}", "getServiceDocument")
            .summary("The OpenAPI document of a service")
            .needs(Needs::OfPath(Permit::Read))
            .description("What could not be found out is marked in it as incomplete.")
            .access(Access::TokenUnlessPublic)
            .query::<contracts::VersionQuery>()
            .answers::<Map<String, Value>>(StatusCode::OK, "An OpenAPI 3.0 document.")
            .header("ETag", tag_header)
            .also(&[StatusCode::NOT_MODIFIED])
            .by(contracts::document),
        get(tag, "/openapi/{serviceId}/changes", "getChanges")
            .summary("What a version changes for callers of another")
            .needs(Needs::OfPath(Permit::Read))
            .description(
                "Without parameters: what the live version changed for callers of the one that was live before. Each change \
                 says where it is, what was, what is, and whether a caller could stumble.",
            )
            .access(Access::TokenUnlessPublic)
            .query::<comparisons::ChangesQuery>()
            .answers::<Comparison>(StatusCode::OK, "The changes, in the order of the functions and their fields.")
            .also(&[StatusCode::CONFLICT])
            .by(comparisons::between),
        post(tag, "/openapi/{serviceId}/changes", "compareContract")
            .summary("What a contract would change for callers of a version")
            .needs(Needs::OfPath(Permit::Read))
            .description("For a model that is not deployed, compared with the live version or the one that is named.")
            .query::<comparisons::FromQuery>()
            .takes::<Contract>(json!({"functions": []}))
            .answers::<Comparison>(StatusCode::OK, "The changes.")
            .also(&[StatusCode::CONFLICT])
            .by(comparisons::with),
        Operation::new(Verb::Get, "/openapi.json", tag, "getDocument")
            .summary("This document")
            .access(Access::Open)
            .answers::<Map<String, Value>>(StatusCode::OK, "An OpenAPI 3.0 document.")
            .header("ETag", tag_header)
            .also(&[StatusCode::NOT_MODIFIED])
            .by(document::serve),
    ]
}

fn logger() -> Vec<Route> {
    vec![
        get(Tag::Logger, "/logs/audit", "getAuditTrail")
            .summary("Who did what, and how it ended")
            .description("In a cluster each router has a trail of its own.")
            .needs(Needs::OfKea(Permit::Audit))
            .query::<audit::AuditQuery>()
            .answers::<audit::AuditRecords>(StatusCode::OK, "The records, newest first.")
            .by(audit::read),
        get(Tag::Logger, "/logs/rules/{serviceId}", "getLoggingRules")
            .summary("What the audit trail keeps of a service's calls")
            .needs(Needs::OfKea(Permit::Audit))
            .answers::<AuditRules>(StatusCode::OK, "The rules.")
            .by(audit::rules),
        Operation::new(Verb::Put, path("/logs/rules/{serviceId}"), Tag::Logger, "setLoggingRules")
            .summary("Set what the audit trail keeps of a service's calls")
            .description(
                "Each call has a record. Bodies are kept for a share of them, bounded, and without what is masked.",
            )
            .needs(Needs::OfKea(Permit::Audit))
            .takes::<AuditRules>(json!({"payload": {"sample": 0.1, "maxBytes": "4Ki", "mask": ["/inputs/ssn"]}}))
            .answers::<AuditRules>(StatusCode::OK, "They hold from now on.")
            .by(audit::set_rules),
        get(Tag::Logger, "/logs/{serviceId}", "getLogs")
            .summary("Log lines of a service")
            .needs(Needs::OfPath(Permit::Logs))
            .description("With `follow`, the lines are server-sent events, a line each, and further ones as they come.")
            .query::<logs::LogQuery>()
            .answers::<Logs>(StatusCode::OK, "The lines, oldest first.")
            .or::<String>("text/event-stream")
            .by(logs::read),
    ]
}

fn request_router() -> Vec<Route> {
    let tag = Tag::RequestRouter;
    vec![
        post(tag, "/router/loadbalancer", "configureLoadBalancer")
            .summary("Set how a service's requests are spread")
            .needs(Needs::OfRequest(Permit::Balance))
            .takes::<LoadBalancerConfig>(json!({"serviceId": "iris", "algorithm": "least_connections", "replicas": []}))
            .answers::<LoadBalancerResponse>(StatusCode::CREATED, "It holds from now on.")
            .also(&[StatusCode::NOT_FOUND])
            .by(balancing::configure),
        get(tag, "/router/loadbalancer", "listLoadBalancers")
            .summary("List how requests are spread")
            .needs(Needs::List)
            .answers::<Vec<LoadBalancerInfo>>(StatusCode::OK, "Each service, by name.")
            .by(balancing::list),
        get(tag, "/router/loadbalancer/{serviceId}", "getLoadBalancer")
            .summary("Tell how a service's requests are spread")
            .needs(Needs::OfPath(Permit::Read))
            .answers::<LoadBalancerDetails>(StatusCode::OK, "The rule, and the replicas it uses.")
            .by(balancing::get),
        delete(tag, "/router/loadbalancer/{serviceId}", "resetLoadBalancer")
            .summary("Return to `peak_ewma` over all replicas")
            .needs(Needs::OfPath(Permit::Balance))
            .answers_nothing(StatusCode::NO_CONTENT, "It holds from now on.")
            .by(balancing::reset),
        post(tag, "/router/validate", "validateRequest")
            .summary("Check a request without calling the model")
            .needs(Needs::OfRequest(Permit::Read))
            .takes::<ValidationRequest>(
                json!({"serviceId": "iris", "requestPayload": {"inputs": {"sepal_length": 5.1}}, "schemaVersion": "1"}),
            )
            .answers::<ValidationResponse>(StatusCode::OK, "The payload fits.")
            .also(&[StatusCode::NOT_FOUND, StatusCode::CONFLICT])
            .by(requests::validate),
        get(tag, "/router/cache", "getCachedResponse")
            .summary("An answer from the cache")
            .needs(Needs::OfRequest(Permit::Cache))
            .query::<requests::CacheQuery>()
            .answers::<PredictResponse>(StatusCode::OK, "The answer as it was given.")
            .header("ETag", "Changes with the answer: send it back as `If-None-Match`.")
            .also(&[StatusCode::NOT_FOUND, StatusCode::NOT_MODIFIED])
            .by(requests::cached),
        delete(tag, "/router/cache", "clearCache")
            .needs(Needs::OfRequest(Permit::Cache))
            .summary("Remove answers from the cache")
            .description("Those of a service, of one of its functions, or the one of a key.")
            .query::<requests::ClearQuery>()
            .answers_nothing(StatusCode::NO_CONTENT, "No request gets one of them any more.")
            .also(&[StatusCode::NOT_FOUND])
            .by(requests::clear_cache),
    ]
}

fn health() -> Vec<Route> {
    let get = |path: &str, id| Operation::new(Verb::Get, path, Tag::Health, id);
    vec![
        get("/healthz", "isAlive")
            .summary("Whether KEA is alive")
            .access(Access::Open)
            .answers::<health::Health>(StatusCode::OK, "It is.")
            .by(health::live),
        get("/readyz", "isReady")
            .summary("Whether KEA takes requests")
            .access(Access::Open)
            .answers::<health::Readiness>(StatusCode::OK, "It does.")
            .by(health::ready),
        get("/metrics", "getMetrics")
            .summary("Metrics in Prometheus' text format")
            .needs(Needs::OfKea(Permit::Metrics))
            .answers_text("text/plain", "The metrics.")
            .by(health::metrics),
    ]
}
