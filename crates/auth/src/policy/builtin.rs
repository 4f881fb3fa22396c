//! The roles that KEA brings along.

use kea_core::policy::{ANY, Role, RoleSpec, Rule, Verb, Verbs};

use crate::ADMIN_ROLE;

/// All of them. They cannot be changed; own roles can be as narrow as is wished.
pub fn built_in_roles() -> Vec<Role> {
    let on_all = |verbs: &[Verb]| Rule { services: vec![ANY.into()], ..of_kea(verbs) };
    let admin = Rule { verbs: vec![Verbs::Any], services: vec![ANY.into()], ..Rule::default() };
    let engineer: Vec<Verb> = Verb::ALL.into_iter().filter(|verb| verb.is_of_service()).collect();
    vec![
        role(ADMIN_ROLE, "Everything, whatever a service's own access says.", vec![admin]),
        role(
            "engineer",
            "Deploys, changes, calls and watches all services.",
            vec![on_all(&engineer), of_kea(&[Verb::Metrics])],
        ),
        role(
            "security",
            "Manages users, keys and roles, and reads the audit trail; sees all services and calls none.",
            vec![
                on_all(&[Verb::Read, Verb::Logs]),
                of_kea(&[Verb::Audit, Verb::Users, Verb::Roles, Verb::Keys, Verb::Metrics]),
            ],
        ),
        role(
            "consumer",
            "Sees all services, and calls those that name no roles of their own.",
            vec![on_all(&[Verb::Predict, Verb::Read])],
        ),
    ]
}

fn of_kea(verbs: &[Verb]) -> Rule {
    Rule { verbs: verbs.iter().copied().map(Verbs::One).collect(), ..Rule::default() }
}

fn role(name: &str, description: &str, rules: Vec<Rule>) -> Role {
    let name = name.parse().expect("KEA's own names are names");
    Role { name, spec: RoleSpec { description: description.into(), rules } }
}
