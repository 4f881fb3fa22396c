//! What is wrong with a request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    compare::ContractChange,
    policy::{Permission, Verb},
};

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// JSON pointer (RFC 6901) to the field, as `/inputs/petal_width`.
    pub pointer: String,
    /// What was expected there.
    pub expected: String,
    /// What came.
    pub received: String,
    /// What to do.
    pub detail: String,
}

/// An error of this API (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what to do.
    pub detail: String,
    /// The request's id, which the log has too.
    pub instance: String,
    /// What is wrong with the request, for validation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Violation>,
    /// The permission that the caller lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<MissingPermission>,
    /// What a version would break for callers of the live one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ContractChange>,
}

/// A permission that a caller lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingPermission {
    /// What would have to be allowed.
    pub verb: Verb,
    /// The service, `*` where it is any; `null` for verbs about all of KEA.
    pub service: Option<String>,
    /// The function, for calls.
    pub function: Option<String>,
}

impl MissingPermission {
    /// As roles and scopes write it.
    pub fn permission(&self) -> Permission {
        Permission::of(self.verb, self.service.as_deref(), self.function.as_deref())
    }
}
