//! Roles and bindings: listed, kept, removed; and the question what somebody may do.

use axum::{Json, extract::State};
use http::StatusCode;
use kea_auth::policy::{Ask, Target, built_in_roles};
use kea_core::{
    Engine, ServiceId,
    contract::DEFAULT_FUNCTION,
    management::{BindingInfo, CanIRequest, CanIResponse, RoleInfo, Violation},
    policy::{Binding, BindingSpec, PolicyError, PolicyName, Role, RoleSpec, Rule, Verb},
};
use kea_http::ApiError;

use crate::{ApiState, errors, extract::PolicyPath, guard::Session, payload::Payload, permissions};

/// `GET /auth/roles`
pub(crate) async fn roles(State(state): State<ApiState>) -> Json<Vec<RoleInfo>> {
    Json(state.policies.roles().into_iter().map(role_info).collect())
}

/// `GET /auth/roles/{name}`
pub(crate) async fn role(
    State(state): State<ApiState>,
    PolicyPath(name): PolicyPath,
) -> Result<Json<RoleInfo>, ApiError> {
    let found = state.policies.roles().into_iter().find(|role| role.name == name);
    found.map(role_info).map(Json).ok_or_else(|| no_role(&name))
}

/// `PUT /auth/roles/{name}`
pub(crate) async fn put_role(
    State(state): State<ApiState>,
    PolicyPath(name): PolicyPath,
    Payload(spec): Payload<RoleSpec>,
) -> Result<Json<RoleInfo>, ApiError> {
    not_built_in(&name)?;
    let violations: Vec<_> = spec.rules.iter().enumerate().filter_map(wrong_rule).collect();
    if !violations.is_empty() {
        return Err(errors::invalid(violations));
    }
    let role = Role { name, spec };
    state.policies.put_role(&role).await.map_err(|error| errors::of_store(&error))?;
    Ok(Json(role_info(role)))
}

/// `DELETE /auth/roles/{name}`
pub(crate) async fn delete_role(
    State(state): State<ApiState>,
    PolicyPath(name): PolicyPath,
) -> Result<StatusCode, ApiError> {
    not_built_in(&name)?;
    let was_there = state.policies.delete_role(&name).await.map_err(|error| errors::of_store(&error))?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(no_role(&name)) }
}

/// `GET /auth/bindings`
pub(crate) async fn bindings(State(state): State<ApiState>) -> Json<Vec<BindingInfo>> {
    Json(state.policies.bindings().into_iter().map(binding_info).collect())
}

/// `GET /auth/bindings/{name}`
pub(crate) async fn binding(
    State(state): State<ApiState>,
    PolicyPath(name): PolicyPath,
) -> Result<Json<BindingInfo>, ApiError> {
    let found = state.policies.bindings().into_iter().find(|binding| binding.name == name);
    found.map(binding_info).map(Json).ok_or_else(|| no_binding(&name))
}

/// `PUT /auth/bindings/{name}`
pub(crate) async fn put_binding(
    State(state): State<ApiState>,
    PolicyPath(name): PolicyPath,
    Payload(spec): Payload<BindingSpec>,
) -> Result<Json<BindingInfo>, ApiError> {
    let binding = Binding { name, spec };
    state.policies.put_binding(&binding).await.map_err(|error| errors::of_store(&error))?;
    Ok(Json(binding_info(binding)))
}

/// `DELETE /auth/bindings/{name}`
pub(crate) async fn delete_binding(
    State(state): State<ApiState>,
    PolicyPath(name): PolicyPath,
) -> Result<StatusCode, ApiError> {
    let was_there = state.policies.delete_binding(&name).await.map_err(|error| errors::of_store(&error))?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(no_binding(&name)) }
}

/// `POST /auth/can-i`
pub(crate) async fn can_i(
    State(state): State<ApiState>,
    Session(caller): Session,
    Payload(asked): Payload<CanIRequest>,
) -> Result<Json<CanIResponse>, ApiError> {
    let CanIRequest { username, verb, service, function } = asked;
    let caller = match username {
        Some(other) if *other != *caller.username => {
            permissions::check(&state, &caller, &Ask::of_kea(Verb::Roles))?;
            state.policies.caller_named(&other).await.map_err(|error| errors::of_store(&error))?
        }
        _ => caller,
    };
    let details = service.as_deref().and_then(|name| state.deployer.get(&name.parse::<ServiceId>().ok()?));
    let ask = match (service.as_deref(), verb) {
        (Some(service), verb) if verb.is_of_service() => {
            let function = (verb == Verb::Predict).then(|| function.as_deref().unwrap_or(DEFAULT_FUNCTION));
            let engine = details.as_ref().and_then(|details| details.engine).unwrap_or(Engine::Python);
            let settings = details.as_ref().map(|details| &details.settings);
            Ask { verb, target: Some(Target { service, function, settings, engine }) }
        }
        (None, verb) if !verb.is_of_service() => Ask::of_kea(verb),
        (named, verb) => return Err(misplaced_service(named.is_some(), verb)),
    };
    Ok(Json(answer(&state, &caller, &ask)))
}

fn answer(state: &ApiState, caller: &kea_auth::Caller, ask: &Ask<'_>) -> CanIResponse {
    if ask.is_public() {
        return CanIResponse { allowed: true, reason: "the service is public".into(), by: None };
    }
    match state.policies.explain(caller, ask) {
        Ok(by) => {
            let through = by.binding.as_ref().map(|binding| format!(" (binding `{binding}`)")).unwrap_or_default();
            CanIResponse { allowed: true, reason: format!("the role `{}`{through} allows it", by.role), by: Some(by) }
        }
        Err(denied) => CanIResponse { allowed: false, reason: denied.reason, by: None },
    }
}

fn misplaced_service(named: bool, verb: Verb) -> ApiError {
    let detail = match named {
        true => format!("`{verb}` is about all of KEA: leave out `service`"),
        false => format!("`{verb}` is about a service: name one in `service`"),
    };
    violation("/service".into(), detail)
}

fn violation(pointer: String, detail: String) -> ApiError {
    errors::invalid(vec![Violation { pointer, expected: "another value".into(), received: "this".into(), detail }])
}

fn wrong_rule((index, rule): (usize, &Rule)) -> Option<Violation> {
    let Err(PolicyError::Rule { field, detail }) = rule.check() else { return None };
    let received = serde_json::to_string(rule).unwrap_or_default();
    Some(Violation {
        pointer: format!("/rules/{index}/{field}"),
        expected: "a rule that means something".into(),
        received,
        detail,
    })
}

fn not_built_in(name: &PolicyName) -> Result<(), ApiError> {
    if built_in_roles().iter().all(|role| role.name != *name) {
        return Ok(());
    }
    let detail = format!("`{name}` is one of KEA's own roles, which stay as they are: give yours another name");
    Err(ApiError::new(StatusCode::CONFLICT, "built-in-role", detail))
}

fn role_info(Role { name, spec }: Role) -> RoleInfo {
    let built_in = built_in_roles().iter().any(|role| role.name == name);
    RoleInfo { name, built_in, description: spec.description, rules: spec.rules }
}

fn binding_info(Binding { name, spec }: Binding) -> BindingInfo {
    BindingInfo { name, role: spec.role, subjects: spec.subjects }
}

fn no_role(name: &PolicyName) -> ApiError {
    errors::no_policy(&format!("there is no role `{name}`: GET /api/v1/k8c/auth/roles lists them"))
}

fn no_binding(name: &PolicyName) -> ApiError {
    errors::no_policy(&format!("there is no binding `{name}`: GET /api/v1/k8c/auth/bindings lists them"))
}
