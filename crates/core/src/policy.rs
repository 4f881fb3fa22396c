//! Who may do what: roles, bindings and permissions, as documents and as the API's bodies. How they are weighed is the
//! Authenticator's.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use crate::permission::{Permission, Selector};
use crate::service::is_label;

/// Longest name of a role or binding: as long as names of Kubernetes' objects.
const NAME_MAX: usize = 253;

/// Matches whatever there is.
pub const ANY: &str = "*";

/// Something that can be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Call a function of a service.
    Predict,
    /// See a service: its details, functions, versions, documentation and load balancing.
    Read,
    /// Deploy a service, or a new version of it.
    Deploy,
    /// Change a service, and return to an earlier version.
    Update,
    /// Delete a service.
    Delete,
    /// Read the log lines of a service.
    Logs,
    /// Read and invalidate cached answers of a service.
    Cache,
    /// Change how requests are spread over a service's replicas.
    Balance,
    /// Read the audit trail.
    Audit,
    /// Manage users and their sessions.
    Users,
    /// Manage roles and bindings, and ask what others may do.
    Roles,
    /// Manage the API keys of others.
    Keys,
    /// Read the metrics.
    Metrics,
}

impl Verb {
    /// All of them: those about a service first.
    pub const ALL: [Self; 13] = [
        Self::Predict,
        Self::Read,
        Self::Deploy,
        Self::Update,
        Self::Delete,
        Self::Logs,
        Self::Cache,
        Self::Balance,
        Self::Audit,
        Self::Users,
        Self::Roles,
        Self::Keys,
        Self::Metrics,
    ];

    /// Whether it is about one service, rather than all of KEA.
    pub fn is_of_service(self) -> bool {
        !matches!(self, Self::Audit | Self::Users | Self::Roles | Self::Keys | Self::Metrics)
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Logs => "logs",
            Self::Cache => "cache",
            Self::Balance => "balance",
            Self::Audit => "audit",
            Self::Users => "users",
            Self::Roles => "roles",
            Self::Keys => "keys",
            Self::Metrics => "metrics",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let found = Self::ALL.into_iter().find(|verb| verb.as_str() == text);
        found.ok_or_else(|| PolicyError::Verb(text.into()))
    }
}

/// The verbs of a rule: one, or all of them (`*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Verbs {
    /// Every verb.
    Any,
    /// That one.
    One(Verb),
}

impl Verbs {
    /// Each verb that is meant.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(move |verb| match self {
            Self::Any => true,
            Self::One(one) => one == *verb,
        })
    }
}

impl fmt::Display for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str(ANY),
            Self::One(verb) => verb.fmt(f),
        }
    }
}

impl FromStr for Verbs {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        if text == ANY { Ok(Self::Any) } else { text.parse().map(Self::One) }
    }
}

/// Name of a role or a binding: 1 to 253 letters, digits, `.`, `_`, `@` and `-`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PolicyName(String);

impl PolicyName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PolicyName {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let well_formed = (1..=NAME_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(&b))
            && text.as_bytes()[0].is_ascii_alphanumeric();
        if well_formed { Ok(Self(text.into())) } else { Err(PolicyError::Name(text.into())) }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! as_text {
    ($($name:ident),+) => {$(
        impl TryFrom<String> for $name {
            type Error = PolicyError;
            fn try_from(text: String) -> Result<Self, PolicyError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )+};
}
as_text!(Verbs, PolicyName);

/// A role: what those who have it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// Its name.
    pub name: PolicyName,
    /// What it is.
    #[serde(flatten)]
    pub spec: RoleSpec,
}

/// What a role is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleSpec {
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What it allows: all that any of the rules does.
    pub rules: Vec<Rule>,
}

/// What a role allows: each of the verbs on each of the services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The verbs; `*` is all of them.
    #[schemars(length(min = 1))]
    pub verbs: Vec<Verbs>,
    /// Names of services; `*` is all of them.
    #[serde(default)]
    pub services: Vec<String>,
    /// Labels that a service must have, each with that value.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Functions that may be called; all of them where none is named.
    #[serde(default)]
    pub functions: Vec<String>,
}

impl Rule {
    /// Refuses a rule that says nothing, or what would be ignored.
    ///
    /// # Errors
    /// The field and what to do.
    pub fn check(&self) -> Result<(), PolicyError> {
        let wrong = |field, detail: &str| Err(PolicyError::Rule { field, detail: detail.into() });
        let of_service = self.verbs.iter().flat_map(|verbs| verbs.iter()).any(Verb::is_of_service);
        let names_services = !self.services.is_empty() || !self.labels.is_empty();
        if self.verbs.is_empty() {
            return wrong("verbs", "a rule without verbs allows nothing: name them, or `*` for all");
        }
        if of_service && !names_services {
            return wrong("services", "name the services, `*` for all of them, or the `labels` that they have");
        }
        if !of_service && (names_services || !self.functions.is_empty()) {
            return wrong(
                "services",
                "these verbs are about all of KEA: leave out `services`, `labels` and `functions`",
            );
        }
        if let Some((name, value)) = self.labels.iter().find(|(name, value)| !is_label(name, value)) {
            return wrong("labels", &format!("`{name}={value}` is no label of Kubernetes"));
        }
        Ok(())
    }
}

/// A binding: who has a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// Its name.
    pub name: PolicyName,
    /// What it says.
    #[serde(flatten)]
    pub spec: BindingSpec,
}

/// What a binding says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BindingSpec {
    /// The role.
    pub role: PolicyName,
    /// Who has it.
    #[schemars(length(min = 1))]
    pub subjects: Vec<Subject>,
}

/// A user, a group or an API key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// What it is.
    pub kind: SubjectKind,
    /// Name of the user or group, identifier of the key.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// What a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the words say it")]
pub enum SubjectKind {
    User,
    Group,
    Key,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            SubjectKind::User => "user",
            SubjectKind::Group => "group",
            SubjectKind::Key => "key",
        };
        write!(f, "{kind} {}", self.name)
    }
}

/// All roles and bindings that are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Counts changes: another number is another policy.
    pub revision: u64,
    /// The roles, by name.
    pub roles: Vec<Role>,
    /// The bindings, by name.
    pub bindings: Vec<Binding>,
}

/// Why something is no role, binding or permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No verb.
    #[error("`{0}` is no verb: there are {words}, and `*` for all", words = words())]
    Verb(String),
    /// No name.
    #[error(
        "`{0}` is no name of a role or binding: use 1 to 253 letters, digits, `.`, `_`, `@` and `-`, beginning with a letter or digit"
    )]
    Name(String),
    /// A permission that cannot be read.
    #[error("`{text}` is no permission: {why}; write for example `predict:iris/predict`, `read:*` or `audit`")]
    Permission {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A rule that says nothing, or what would be ignored.
    #[error("{detail}")]
    Rule {
        /// Its field.
        field: &'static str,
        /// What is wrong and what to do.
        detail: String,
    },
}

fn words() -> String {
    Verb::ALL.map(|verb| format!("`{verb}`")).join(", ")
}

impl JsonSchema for Verbs {
    fn schema_name() -> Cow<'static, str> {
        "Verbs".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = Verb::ALL.iter().map(|verb| verb.as_str()).chain([ANY]).collect();
        json_schema!({"type": "string", "description": "A verb, or `*` for all.", "enum": words})
    }
}

impl JsonSchema for PolicyName {
    fn schema_name() -> Cow<'static, str> {
        "PolicyName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A name: 1 to 253 letters, digits, `.`, `_`, `@` and `-`, beginning with a letter or digit.",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._@-]{0,252}$",
            "example": "teacher",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(rule: Value) -> Result<(), String> {
        let rule: Rule = serde_json::from_value(rule).map_err(|error| error.to_string())?;
        rule.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_rule_names_what_it_is_about() {
        assert_eq!(checked(json!({"verbs": ["predict"], "services": ["*"]})), Ok(()));
        assert_eq!(checked(json!({"verbs": ["read"], "labels": {"team": "risk"}})), Ok(()));
        assert_eq!(checked(json!({"verbs": ["audit", "metrics"]})), Ok(()));
        assert!(checked(json!({"verbs": ["predict"]})).unwrap_err().contains("name the services"));
        assert!(checked(json!({"verbs": ["audit"], "services": ["iris"]})).unwrap_err().contains("leave out"));
        assert!(checked(json!({"verbs": []})).unwrap_err().contains("without verbs"));
        assert!(checked(json!({"verbs": ["fly"]})).unwrap_err().contains("there are `predict`"));
        assert!(checked(json!({"verbs": ["read"], "labels": {"a b": "c"}})).unwrap_err().contains("no label"));
        assert!(checked(json!({"verbs": ["read"], "service": ["*"]})).unwrap_err().contains("unknown field"));
    }

    #[test]
    fn a_role_is_read_as_it_was_written() {
        let written = json!({
            "name": "teacher",
            "description": "",
            "rules": [{"verbs": ["predict", "*"], "services": ["grades"], "labels": {}, "functions": ["set_grades"]}],
        });
        let role: Role = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(role).unwrap(), written);
    }

    #[test]
    fn names_hold_what_names_of_users_do_and_nothing_else() {
        for good in ["teacher", "teacher-user-ada@example.org", "9", "a_b"] {
            assert!(good.parse::<PolicyName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "a/b", "ä", &"x".repeat(254)] {
            assert_eq!(bad.parse::<PolicyName>(), Err(PolicyError::Name(bad.into())), "{bad}");
        }
    }
}
