//! What the gateway answers by itself of the Open Inference Protocol V2: health and metadata. `infer` is forwarded.

use std::sync::Arc;

use axum::{body::Body, extract::Request, response::Response};
use http::{HeaderValue, Method, header};
use kea_auth::{
    Authenticator, Caller,
    policy::{Ask, Policies},
};
use kea_core::{VersionId, policy::Verb};
use kea_http::segment;
use kea_openapi::render;
use serde_json::{Value, json};

use crate::{
    RouterError, audited,
    identify::may,
    table::{ServiceEntry, Table, VersionEntry},
};

/// Answers a request of health or metadata.
pub(crate) fn answer(
    table: &Table,
    auth: &Authenticator,
    policies: &Policies,
    request: &Request,
) -> Result<Response, RouterError> {
    let path = request.uri().path();
    let no_path = || RouterError::NoPath(path.into());
    let segments: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Err(RouterError::WrongMethod("GET, HEAD"));
    }
    let body = match segments[..] {
        ["health", "live"] => json!({"live": true}),
        ["health", "ready"] => json!({"ready": true}),
        [] => json!({"name": "kea", "version": env!("CARGO_PKG_VERSION"), "extensions": []}),
        ["models"] => {
            let caller = authenticated(auth, request)?;
            json!({ "models": readable_names(table, policies, &caller)? })
        }
        ["models", name, ref rest @ ..] => {
            let service = readable(table, auth, policies, request, &segment::decoded(name)?)?;
            let (version, action) = match rest {
                [] => (None, ""),
                ["versions", version] => (Some(*version), ""),
                ["versions", version, action] => (Some(*version), *action),
                [action] => (None, *action),
                _ => return Err(no_path()),
            };
            let version = version.map(segment::decoded).transpose()?;
            model(service, version.as_deref(), action).ok_or_else(no_path)??
        }
        _ => return Err(no_path()),
    };
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The services that the caller may read. Who may read none, whichever there are, is told so.
fn readable_names<'a>(table: &'a Table, policies: &Policies, caller: &Caller) -> Result<Vec<&'a str>, RouterError> {
    let may_read = |(name, service): (&'a Arc<str>, &'a Arc<ServiceEntry>)| {
        let settings = &service.route.settings;
        let ask = Ask::of_service(Verb::Read, name, Some(settings));
        (settings.access.public || policies.check(caller, &ask).is_ok()).then_some(&**name)
    };
    let mut names: Vec<&str> = table.services.iter().filter_map(may_read).collect();
    if names.is_empty() && !policies.may_somewhere(caller, Verb::Read) {
        may(policies, caller, &Ask::of_any_service(Verb::Read))?;
    }
    names.sort_unstable();
    Ok(names)
}

fn authenticated(auth: &Authenticator, request: &Request) -> Result<Caller, RouterError> {
    let caller = auth.authenticate(request.headers()).map_err(RouterError::Unauthenticated)?;
    audited::caller(request.extensions(), &caller);
    Ok(caller)
}

fn readable<'a>(
    table: &'a Table,
    auth: &Authenticator,
    policies: &Policies,
    request: &Request,
    name: &str,
) -> Result<&'a ServiceEntry, RouterError> {
    let service = table.services.get(name);
    let public = service.is_some_and(|service| service.route.settings.access.public);
    if !public {
        let caller = authenticated(auth, request)?;
        let settings = service.map(|service| &*service.route.settings);
        may(policies, &caller, &Ask::of_service(Verb::Read, name, settings))?;
    }
    service.map(AsRef::as_ref).ok_or_else(|| RouterError::NoService(name.into()))
}

fn model(service: &ServiceEntry, version: Option<&str>, action: &str) -> Option<Result<Value, RouterError>> {
    let found = || {
        service.version(version).ok_or_else(|| match version {
            Some(version) => RouterError::NoVersion {
                service: service.route.id.to_string(),
                version: version.into(),
                running: service.versions.iter().map(|v| v.version.to_string()).collect(),
            },
            None => not_live(service),
        })
    };
    match action {
        "" => Some(found().and_then(|found| metadata(service, found))),
        "ready" => Some(found().and_then(|found| {
            let ready = !found.pool.is_empty();
            let answer = json!({"name": service.route.id.as_str(), "ready": true});
            if ready { Ok(answer) } else { Err(RouterError::NoReplica(service.route.id.to_string())) }
        })),
        _ => None,
    }
}

fn metadata(service: &ServiceEntry, version: &VersionEntry) -> Result<Value, RouterError> {
    let id = service.route.id.as_str();
    let validator = version.validator.as_ref().ok_or_else(|| RouterError::NoContract(id.into()))?;
    let versions: Vec<&str> = service.versions.iter().map(|v| VersionId::as_str(&v.version)).collect();
    Ok(render::v2_metadata(id, &versions, validator.contract()))
}

fn not_live(service: &ServiceEntry) -> RouterError {
    let reason = service.route.reason.clone().unwrap_or_else(|| "no version of it is live yet".into());
    RouterError::NotLive { service: service.route.id.to_string(), reason }
}
