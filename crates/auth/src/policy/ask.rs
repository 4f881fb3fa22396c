//! What is asked, and why it is denied.

use std::{collections::BTreeMap, fmt};

use kea_core::{
    Engine, Settings,
    management::MissingPermission,
    policy::{ANY, Permission, Verb},
    service::Access,
};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What.
    pub verb: Verb,
    /// With which service; `None` where it is all of KEA.
    pub target: Option<Target<'a>>,
}

/// A service, as far as permissions look at it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its name. There need not be such a service: it has no labels then, and no access of its own.
    pub service: &'a str,
    /// The function that is to be called.
    pub function: Option<&'a str>,
    /// Its labels and its access; `None` where there is no such service.
    pub settings: Option<&'a Settings>,
    /// What runs it: a web service has paths in place of functions.
    pub engine: Engine,
}

impl<'a> Ask<'a> {
    /// Something about all of KEA.
    pub fn of_kea(verb: Verb) -> Self {
        Self { verb, target: None }
    }

    /// Something with a service, other than a call.
    pub fn of_service(verb: Verb, service: &'a str, settings: Option<&'a Settings>) -> Self {
        Self { verb, target: Some(Target { service, function: None, settings, engine: Engine::Python }) }
    }

    /// A call of a function.
    pub fn call(service: &'a str, function: &'a str, settings: Option<&'a Settings>, engine: Engine) -> Self {
        Self { verb: Verb::Predict, target: Some(Target { service, function: Some(function), settings, engine }) }
    }

    /// Some service, whichever: what to name as missing where lists would be empty.
    pub fn of_any_service(verb: Verb) -> Self {
        Self::of_service(verb, ANY, None)
    }

    /// Whether everybody may, with or without a token.
    pub fn is_public(&self) -> bool {
        let (Some(target), Some(access)) = (self.target, self.access()) else { return false };
        match (self.verb, target.function) {
            (Verb::Predict, Some(function)) => access.is_public(function, target.engine),
            (Verb::Read, _) => access.public,
            _ => false,
        }
    }

    pub(super) fn labels(&self) -> Option<&'a BTreeMap<String, String>> {
        self.target.and_then(|target| target.settings).map(|settings| &settings.labels)
    }

    pub(super) fn access(&self) -> Option<&'a Access> {
        self.target.and_then(|target| target.settings).map(|settings| &settings.access)
    }

    /// What would have to be allowed.
    fn missing(&self) -> MissingPermission {
        let service = self.target.map(|target| target.service.to_owned());
        MissingPermission { verb: self.verb, service, function: self.target.and_then(function) }
    }
}

fn function(target: Target<'_>) -> Option<String> {
    target.function.filter(|_| target.engine != Engine::External).map(str::to_owned)
}

/// Why something is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// What would have to be allowed.
    pub missing: MissingPermission,
    /// Why it is not, in half a sentence.
    pub reason: String,
    /// What to ask whom.
    advice: String,
}

impl Denied {
    /// No role allows it.
    pub(super) fn by_roles(ask: &Ask<'_>, roles: &[&str]) -> Self {
        let permission = permission(ask);
        let reason = match roles {
            [] => format!("`{permission}` is not allowed without a role"),
            roles => format!("`{permission}` is not allowed by the roles {}", roles.join(", ")),
        };
        Self { missing: ask.missing(), reason, advice: "ask an administrator for a role that allows it".into() }
    }

    /// The service names the roles that may call it.
    pub(super) fn by_access(ask: &Ask<'_>, callers: &[&str]) -> Self {
        let named = if callers.is_empty() { "admin".to_owned() } else { callers.join(", ") };
        let reason = format!("`{}` is for these roles alone: {named}", permission(ask));
        Self { missing: ask.missing(), reason, advice: "ask an administrator for one of them".into() }
    }

    /// The API key is limited to other things.
    pub(super) fn by_scopes(ask: &Ask<'_>) -> Self {
        let reason = format!("`{}` is not within the scopes of your API key", permission(ask));
        Self { missing: ask.missing(), reason, advice: "make a key that has it among its scopes".into() }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.advice)
    }
}

fn permission(ask: &Ask<'_>) -> Permission {
    ask.missing().permission()
}
