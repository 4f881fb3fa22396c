//! The snapshot: roles and bindings made ready for look-ups, and the one function that weighs them.

use std::collections::{BTreeMap, HashMap, HashSet};

use kea_core::{
    Engine,
    policy::{ANY, Permission, Policy, PolicyName, Rule, SubjectKind, Verb},
    service::Access,
};

use super::{
    ask::{Ask, Denied, Target},
    builtin::built_in_roles,
};
use crate::{ADMIN_ROLE, Caller};

/// A policy, made ready.
pub(crate) struct Rules {
    pub(crate) policy: Policy,
    roles: HashMap<Box<str>, Vec<CompiledRule>>,
    users: Bound,
    groups: Bound,
    keys: Bound,
}

/// The roles that subjects of one kind have by bindings.
type Bound = HashMap<Box<str>, Vec<(PolicyName, PolicyName)>>;

/// What allows something.
#[derive(Debug)]
pub(crate) struct Grant<'a> {
    pub(crate) role: &'a str,
    /// The binding by which the caller has the role, where it is not their own.
    pub(crate) binding: Option<&'a PolicyName>,
}

impl Rules {
    pub(crate) fn new(policy: Policy) -> Self {
        let compiled = |rules: &[Rule]| rules.iter().map(CompiledRule::new).collect();
        // KEA's own come last, so that no other takes their names.
        let roles = policy.roles.iter().cloned().chain(built_in_roles());
        let roles = roles.map(|role| (role.name.as_str().into(), compiled(&role.spec.rules))).collect();
        let bound = |kind| bound(&policy, kind);
        let (users, groups, keys) = (bound(SubjectKind::User), bound(SubjectKind::Group), bound(SubjectKind::Key));
        Self { policy, roles, users, groups, keys }
    }

    /// What allows `caller` to do it, where something does.
    pub(crate) fn grant<'a>(&'a self, caller: &'a Caller, ask: &Ask<'_>) -> Option<Grant<'a>> {
        let by = |allows: &dyn Fn(&str) -> bool| self.roles_of(caller).find(|grant| allows(grant.role));
        let of_rules = |role: &str| self.roles.get(role).is_some_and(|rules| rules.iter().any(|rule| rule.allows(ask)));
        if let Some(admin) = by(&|role| role == ADMIN_ROLE) {
            return Some(admin);
        }
        let (Some(target), Some(access)) = (ask.target, ask.access()) else { return by(&of_rules) };
        match ask.verb {
            Verb::Predict if is_restricted(access, target) => by(&|role| is_caller(access, target, role)),
            Verb::Read => by(&|role| is_reader(access, role) || of_rules(role)),
            _ => by(&of_rules),
        }
    }

    /// Why it is not allowed.
    pub(crate) fn denied(&self, caller: &Caller, ask: &Ask<'_>) -> Denied {
        match (ask.verb, ask.target, ask.access()) {
            (Verb::Predict, Some(target), Some(access)) if is_restricted(access, target) => {
                let mut named: Vec<&str> = named(access).filter(|role| is_caller(access, target, role)).collect();
                named.sort_unstable();
                named.dedup();
                Denied::by_access(ask, &named)
            }
            _ => Denied::by_roles(ask, &self.roles_of(caller).map(|grant| grant.role).collect::<Vec<_>>()),
        }
    }

    /// Whether any role of the caller has the verb.
    pub(crate) fn may_somewhere(&self, caller: &Caller, verb: Verb) -> bool {
        let has = |role: &str| self.roles.get(role).is_some_and(|rules| rules.iter().any(|rule| rule.has(verb)));
        self.roles_of(caller).any(|grant| has(grant.role))
    }

    /// The caller's own roles, then those by bindings.
    fn roles_of<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = Grant<'a>> {
        let own = caller.roles.iter().map(|role| Grant { role, binding: None });
        let of = |bound: &'a Bound, name: &str| bound.get(name).into_iter().flatten();
        let by_user = of(&self.users, &caller.username);
        let by_group = caller.groups.iter().flat_map(move |group| of(&self.groups, group));
        let by_key = caller.key.iter().flat_map(move |key| of(&self.keys, key));
        let bound = by_user.chain(by_group).chain(by_key);
        own.chain(bound.map(|(role, binding)| Grant { role: role.as_str(), binding: Some(binding) }))
    }
}

fn bound(policy: &Policy, kind: SubjectKind) -> Bound {
    let mut bound = Bound::new();
    for binding in &policy.bindings {
        for subject in binding.spec.subjects.iter().filter(|subject| subject.kind == kind) {
            let of_subject = bound.entry(subject.name.as_str().into()).or_default();
            of_subject.push((binding.spec.role.clone(), binding.name.clone()));
        }
    }
    bound
}

/// Whether roles are named for the call: by the function, else by the service. A web service has paths in place of
/// functions, which can be written in many ways: whoever calls it must have a role from each list that there is.
fn is_restricted(access: &Access, target: Target<'_>) -> bool {
    match own_roles(access, target) {
        Some(_) => true,
        None => target.engine == Engine::External && access.functions.values().any(|of| !of.roles.is_empty()),
    }
}

fn is_caller(access: &Access, target: Target<'_>, role: &str) -> bool {
    let has = |roles: &[PolicyName]| roles.is_empty() || roles.iter().any(|named| named.as_str() == role);
    match target.engine {
        Engine::External => has(&access.roles) && access.functions.values().all(|of| has(&of.roles)),
        Engine::Python | Engine::Onnx => own_roles(access, target).is_some_and(has),
    }
}

fn own_roles<'a>(access: &'a Access, target: Target<'_>) -> Option<&'a [PolicyName]> {
    let of_function = target.function.and_then(|function| access.functions.get(function)).map(|of| &of.roles[..]);
    of_function.filter(|roles| !roles.is_empty()).or_else(|| Some(&access.roles[..]).filter(|roles| !roles.is_empty()))
}

/// Whoever may call a function of a service reads what it takes.
fn is_reader(access: &Access, role: &str) -> bool {
    named(access).any(|named| named == role)
}

fn named(access: &Access) -> impl Iterator<Item = &str> {
    let of_functions = access.functions.values().flat_map(|of| &of.roles);
    access.roles.iter().chain(of_functions).map(PolicyName::as_str)
}

/// A rule, made ready.
#[derive(Debug, Default)]
pub(crate) struct CompiledRule {
    /// A bit for each verb.
    verbs: u16,
    /// Names of services; `None` where any will do.
    services: Option<HashSet<Box<str>>>,
    labels: BTreeMap<String, String>,
    /// Functions; `None` where any will do.
    functions: Option<HashSet<Box<str>>>,
}

impl CompiledRule {
    fn new(rule: &Rule) -> Self {
        let verbs = rule.verbs.iter().flat_map(|verbs| verbs.iter()).fold(0, |bits, verb| bits | bit(verb));
        let names = |names: &[String], empty_is_any: bool| {
            let any = names.is_empty() && empty_is_any || names.iter().any(|name| name == ANY);
            (!any).then(|| names.iter().map(|name| name.as_str().into()).collect())
        };
        Self {
            verbs,
            services: names(&rule.services, !rule.labels.is_empty()),
            labels: rule.labels.clone(),
            functions: names(&rule.functions, true),
        }
    }

    /// What an API key is limited to. A text that is no permission allows nothing.
    pub(crate) fn of_scope(scope: &str) -> Self {
        scope.parse::<Permission>().map_or_else(|_| Self::default(), |permission| Self::new(&permission.rule()))
    }

    /// Whether it has that verb, whatever with.
    pub(crate) fn has(&self, verb: Verb) -> bool {
        self.verbs & bit(verb) != 0
    }

    pub(crate) fn allows(&self, ask: &Ask<'_>) -> bool {
        self.has(ask.verb) && ask.target.is_none_or(|target| self.is_about(ask, target))
    }

    fn is_about(&self, ask: &Ask<'_>, target: Target<'_>) -> bool {
        self.services.as_ref().is_none_or(|names| names.contains(target.service))
            && self.labels.iter().all(|(name, value)| ask.labels().is_some_and(|all| all.get(name) == Some(value)))
            && (ask.verb != Verb::Predict || self.functions.as_ref().is_none_or(|names| has_function(names, target)))
    }
}

/// A rule for some functions is not one for the paths of a web service.
fn has_function(names: &HashSet<Box<str>>, target: Target<'_>) -> bool {
    target.engine != Engine::External && target.function.is_some_and(|function| names.contains(function))
}

fn bit(verb: Verb) -> u16 {
    1 << verb as u16
}
