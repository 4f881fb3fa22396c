//! What of a service is held against its contract beside requests, which always are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is held against the contract beside requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ValidationSettings {
    /// What becomes of a model's answer that does not fit its contract. In YAML `off` needs quotes: some readers take it for
    /// `false`.
    pub responses: ResponseValidation,
}

/// What becomes of a model's answer that does not fit its contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResponseValidation {
    /// Nothing: answers are not looked at.
    #[default]
    Off,
    /// The caller gets it; KEA's log, a counter and the audit trail tell of it.
    Log,
    /// The caller gets 502, which says what does not fit.
    Enforce,
}

impl ResponseValidation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Log, Self::Enforce];

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Log => "log",
            Self::Enforce => "enforce",
        }
    }
}
