//! Asking the Authenticator what a caller may, and answering that they may not.

use http::StatusCode;
use kea_auth::{
    Caller,
    policy::{Ask, Denied},
};
use kea_core::{ServiceId, management::ServiceDetails, policy::Verb};
use kea_http::ApiError;

use crate::ApiState;

/// Answer to a caller who may not.
pub(crate) fn forbidden(denied: Denied) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", denied.to_string()).with_missing(denied.missing)
}

/// Refuses what the caller may not.
pub(crate) fn check(state: &ApiState, caller: &Caller, ask: &Ask<'_>) -> Result<(), ApiError> {
    state.policies.check(caller, ask).map_err(forbidden)
}

/// Refuses what the caller may not do with the service of that name, also where there is none: who may not see a service
/// does not learn of it.
pub(crate) fn check_service(state: &ApiState, caller: &Caller, verb: Verb, name: &str) -> Result<(), ApiError> {
    let details = name.parse::<ServiceId>().ok().and_then(|id| state.deployer.get(&id));
    check(state, caller, &Ask::of_service(verb, name, details.as_ref().map(|details| &details.settings)))
}

/// Refuses a caller who may do so with no service, whichever there are.
pub(crate) fn check_somewhere(state: &ApiState, caller: &Caller, verb: Verb) -> Result<(), ApiError> {
    if state.policies.may_somewhere(caller, verb) {
        return Ok(());
    }
    check(state, caller, &Ask::of_any_service(verb))
}

/// Whether the caller sees the service: all do where it is public.
pub(crate) fn sees(state: &ApiState, caller: Option<&Caller>, details: &ServiceDetails) -> bool {
    let ask = Ask::of_service(Verb::Read, details.service_id.as_str(), Some(&details.settings));
    details.settings.access.public || caller.is_some_and(|caller| state.policies.check(caller, &ask).is_ok())
}

/// The services that the caller sees, by name. Who would see none, whichever there are, is refused.
pub(crate) fn seen(state: &ApiState, caller: &Caller) -> Result<Vec<ServiceDetails>, ApiError> {
    let mut services = state.deployer.list();
    services.retain(|details| sees(state, Some(caller), details));
    if services.is_empty() {
        check_somewhere(state, caller, Verb::Read)?;
    }
    Ok(services)
}
