//! Roles, bindings, and what they allow.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::{PolicyName, Rule, Subject, Verb};

/// A role in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleInfo {
    /// Its name.
    pub name: PolicyName,
    /// Whether it is one of KEA's own, which cannot be changed.
    pub built_in: bool,
    /// What it is for.
    pub description: String,
    /// What it allows.
    pub rules: Vec<Rule>,
}

/// A binding in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingInfo {
    /// Its name.
    pub name: PolicyName,
    /// The role.
    pub role: PolicyName,
    /// Who has it.
    pub subjects: Vec<Subject>,
}

/// Asks whether something is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanIRequest {
    /// Who would do it; the caller where it is not given. To ask of others needs the verb `roles`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What would be done.
    pub verb: Verb,
    /// With which service; none for verbs about all of KEA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Which function would be called; `predict` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
}

/// Answer to a [`CanIRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanIResponse {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, in one sentence.
    pub reason: String,
    /// What allows it, where a role does.
    pub by: Option<GrantedBy>,
}

/// What allows something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantedBy {
    /// The role.
    pub role: String,
    /// The binding by which the caller has it; `null` where it is the user's own.
    pub binding: Option<PolicyName>,
}
