//! The first stage: which service, version and function a request means, and who asks.

use std::{net::IpAddr, sync::Arc};

use axum::extract::Request;
use http::Method;
use kea_auth::{
    Authenticator, Caller,
    policy::{Ask, Policies},
};
use kea_core::{service::Engine, validation::ResponseValidation};
use kea_http::{ClientAddress, segment};

use crate::{
    RouterError, audited,
    cache::Owner,
    path::{self, Protocol},
    sticky,
    table::{ServiceEntry, Table, VersionEntry},
};

/// Header that asks for a version.
const VERSION: &str = "kea-version";

/// Methods by which a web service is called.
const OF_WEB_SERVICES: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// A request whose service is known, and whose caller may call it.
pub(crate) struct Admitted {
    pub(crate) service: Arc<ServiceEntry>,
    version: usize,
    pub(crate) function: Box<str>,
    pub(crate) protocol: Protocol,
    /// Who calls; `None` where the service is public and no token came.
    pub(crate) caller: Option<Caller>,
    pub(crate) client: IpAddr,
    /// Whether the caller left it to KEA which version answers.
    pub(crate) any_version: bool,
    pub(crate) request: Request,
}

impl Admitted {
    /// The version that answers.
    pub(crate) fn version(&self) -> &VersionEntry {
        &self.service.versions[self.version]
    }

    /// Whose a kept answer would be; `None` where it is for all.
    pub(crate) fn owner(&self) -> Option<Owner> {
        let shared = self.service.route.settings.cache.shared;
        self.caller.as_ref().filter(|_| !shared).map(Owner::of)
    }

    /// Whether answers have to fit the contract.
    pub(crate) fn enforces_answers(&self) -> bool {
        self.service.route.settings.validation.responses == ResponseValidation::Enforce
    }
}

/// Finds the service, authenticates the caller, and asks whether they may call it. Nobody else learns which services
/// there are.
pub(crate) fn admit(
    table: &Table,
    auth: &Authenticator,
    policies: &Policies,
    request: Request,
) -> Result<Admitted, RouterError> {
    let path = request.uri().path();
    let target = path::read(path).ok_or_else(|| RouterError::NoPath(path.into()))?;
    // Decoded once: a name is weighed by the same letters by which it is looked up.
    let (name, decoded) = (segment::decoded(target.service)?, segment::decoded(target.function));
    let function = decoded.as_deref().unwrap_or(target.function);
    let service = table.services.get(&*name);
    let public = service.is_some_and(|service| service.is_public(function));
    let caller = match auth.authenticate(request.headers()) {
        Ok(caller) => {
            audited::caller(request.extensions(), &caller);
            Some(caller)
        }
        Err(_) if public => None,
        Err(error) => return Err(RouterError::Unauthenticated(error)),
    };
    if let Some(caller) = caller.as_ref().filter(|_| !public) {
        let settings = service.map(|service| &*service.route.settings);
        let engine = service.map_or(Engine::Python, |service| service.engine());
        may(policies, caller, &Ask::call(&name, function, settings, engine))?;
    }
    let service = service.ok_or_else(|| RouterError::NoService(name.into()))?.clone();
    if models_alone(&service) {
        if target.function.is_empty() {
            return Err(RouterError::NoPath(path.into()));
        }
        must_be_post(&request)?;
    }
    let of_path = target.version.map(segment::decoded).transpose()?;
    let (version, any_version) = version(&service, &request, of_path.as_deref())?;
    // A web service has paths, which are its own to read.
    let is_web = service.versions[version].engine == Engine::External;
    let function = if is_web { target.function.into() } else { decoded?.into() };
    let admitted = Admitted {
        version,
        any_version,
        function,
        protocol: target.protocol,
        caller,
        client: ClientAddress::of(request.extensions()),
        service,
        request,
    };
    check_call(&admitted)?;
    Ok(admitted)
}

/// Refuses what the caller may not.
pub(crate) fn may(policies: &Policies, caller: &Caller, ask: &Ask<'_>) -> Result<(), RouterError> {
    policies.check(caller, ask).map_err(|denied| RouterError::Forbidden(Box::new(denied)))
}

/// The version that answers, and whether that was left to KEA.
fn version(service: &ServiceEntry, request: &Request, of_path: Option<&str>) -> Result<(usize, bool), RouterError> {
    let of_query =
        request.uri().query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("version=")));
    let of_query = of_query.map(segment::decoded).transpose()?;
    let of_header = request.headers().get(VERSION).and_then(|value| value.to_str().ok());
    let wanted = of_path.or(of_query.as_deref()).or(of_header);
    let found = match wanted {
        Some(_) => service.version(wanted),
        None => sticky::kept(service, request.headers()).or_else(|| service.next_version()),
    };
    let found = found.and_then(|found| service.versions.iter().position(|v| v.version == found.version));
    found.map(|found| (found, wanted.is_none())).ok_or_else(|| match wanted {
        Some(version) if service.route.live.is_some() => RouterError::NoVersion {
            service: service.route.id.to_string(),
            version: version.into(),
            running: service.versions.iter().map(|version| version.version.to_string()).collect(),
        },
        _ => RouterError::NotLive {
            service: service.route.id.to_string(),
            reason: service.route.reason.clone().unwrap_or_else(|| "no version of it is live yet".into()),
        },
    })
}

/// Whether it is known that no version is an existing web service, so that a wrong method is one whatever the version.
fn models_alone(service: &ServiceEntry) -> bool {
    !service.versions.is_empty() && service.versions.iter().all(|version| version.engine != Engine::External)
}

fn must_be_post(request: &Request) -> Result<(), RouterError> {
    if request.method() == Method::POST { Ok(()) } else { Err(RouterError::WrongMethod("POST")) }
}

/// A model's functions are called by POST; an existing web service knows its own methods, and its own parameters.
fn check_call(admitted: &Admitted) -> Result<(), RouterError> {
    if admitted.version().engine == Engine::External {
        // It would mean another target to the service than the path that was allowed.
        let is_connect = admitted.request.method() == Method::CONNECT;
        return if is_connect { Err(RouterError::WrongMethod(OF_WEB_SERVICES)) } else { Ok(()) };
    }
    must_be_post(&admitted.request)?;
    let query = admitted.request.uri().query().unwrap_or_default();
    let unknown = query.split('&').find(|pair| !pair.is_empty() && !pair.starts_with("version="));
    unknown.map_or(Ok(()), |pair| Err(RouterError::UnknownParameter(pair.split('=').next().unwrap_or_default().into())))
}

#[cfg(test)]
impl Admitted {
    /// A call of the first version's function, of nobody in particular.
    pub(crate) fn of_test(service: Arc<ServiceEntry>, function: &str, protocol: Protocol) -> Self {
        let (request, client) = (Request::default(), IpAddr::from([127, 0, 0, 1]));
        let function = function.into();
        Self { service, version: 0, any_version: true, function, protocol, caller: None, client, request }
    }
}
