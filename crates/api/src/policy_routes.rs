//! The operations on roles and bindings, as a part of the list of `routes`.

use http::StatusCode;
use kea_core::{
    management::{BindingInfo, CanIRequest, CanIResponse, RoleInfo},
    policy::{BindingSpec, RoleSpec, Verb as Permit},
};
use serde_json::json;

use crate::{
    operation::{Needs, Operation, Route, Tag, Verb},
    policies,
    routes::path,
};

fn operation(verb: Verb, relative: &str, id: &'static str) -> Operation {
    Operation::new(verb, path(relative), Tag::Authenticator, id).needs(Needs::OfKea(Permit::Roles))
}

/// All of them.
pub(crate) fn all() -> Vec<Route> {
    let can_i = operation(Verb::Post, "/auth/can-i", "canI")
        .summary("Ask what is allowed")
        .description("Everybody may ask for themselves; to ask of others needs the verb `roles`.")
        .needs(Needs::Nothing)
        .takes::<CanIRequest>(json!({"verb": "predict", "service": "grades", "function": "set_grades"}))
        .answers::<CanIResponse>(StatusCode::OK, "Whether it is allowed, and why.")
        .also(&[StatusCode::FORBIDDEN])
        .by(policies::can_i);
    roles().into_iter().chain(bindings()).chain([can_i]).collect()
}

fn roles() -> Vec<Route> {
    let rule = json!({"verbs": ["predict"], "services": ["grades"], "functions": ["get_grades"]});
    vec![
        operation(Verb::Get, "/auth/roles", "listRoles")
            .summary("List the roles")
            .answers::<Vec<RoleInfo>>(StatusCode::OK, "KEA's own roles, then the others by name.")
            .by(policies::roles),
        operation(Verb::Get, "/auth/roles/{name}", "getRole")
            .summary("Tell what a role allows")
            .answers::<RoleInfo>(StatusCode::OK, "The role.")
            .by(policies::role),
        operation(Verb::Put, "/auth/roles/{name}", "putRole")
            .summary("Make a role, or change it")
            .takes::<RoleSpec>(json!({"rules": [rule]}))
            .answers::<RoleInfo>(StatusCode::OK, "It holds from now on.")
            .also(&[StatusCode::CONFLICT])
            .by(policies::put_role),
        operation(Verb::Delete, "/auth/roles/{name}", "deleteRole")
            .summary("Delete a role")
            .answers_nothing(StatusCode::NO_CONTENT, "It allows nothing from now on.")
            .also(&[StatusCode::CONFLICT])
            .by(policies::delete_role),
    ]
}

fn bindings() -> Vec<Route> {
    let subject = json!({"kind": "User", "name": "ada"});
    vec![
        operation(Verb::Get, "/auth/bindings", "listBindings")
            .summary("List who has roles by bindings")
            .answers::<Vec<BindingInfo>>(StatusCode::OK, "The bindings, by name.")
            .by(policies::bindings),
        operation(Verb::Get, "/auth/bindings/{name}", "getBinding")
            .summary("Tell who has a role by a binding")
            .answers::<BindingInfo>(StatusCode::OK, "The binding.")
            .by(policies::binding),
        operation(Verb::Put, "/auth/bindings/{name}", "putBinding")
            .summary("Give a role to users, groups and keys")
            .takes::<BindingSpec>(json!({"role": "teacher", "subjects": [subject]}))
            .answers::<BindingInfo>(StatusCode::OK, "It holds from now on.")
            .by(policies::put_binding),
        operation(Verb::Delete, "/auth/bindings/{name}", "deleteBinding")
            .summary("Take a role away")
            .answers_nothing(StatusCode::NO_CONTENT, "It holds from now on.")
            .by(policies::delete_binding),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{operation::Access, routes};

    use super::*;

    #[test]
    fn every_operation_says_what_it_needs() {
        for Route { operation, .. } in routes::all() {
            let said = operation.access == Access::Open || operation.needs != Needs::All;
            assert!(said, "{} lets in admins alone, as it does not say what it needs", operation.id);
        }
    }
}
