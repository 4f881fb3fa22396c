//! The response cache of a service, as its author sets it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{change::invalid, port::DeployError, quantity::Span};

/// How long an answer is kept where the service does not say.
pub const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// Response cache of a service. Off by default: only its author knows whether answers may be kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CacheSettings {
    /// Whether answers are kept.
    pub enabled: bool,
    /// How long an answer is kept; 60 s where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// How long after that an answer is still given, while a new one is fetched; not at all where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_while_revalidate: Option<Span>,
    /// Whether one caller's answers may be given to another.
    pub shared: bool,
}

impl CacheSettings {
    /// Whether the settings can be met.
    ///
    /// # Errors
    /// A time to live of nothing.
    pub fn check(&self) -> Result<(), DeployError> {
        let nothing = self.ttl.is_some_and(|ttl| ttl.0.is_zero());
        let advice = "a TTL of 0 keeps nothing: leave the cache off, or give for example `60s`";
        if nothing { Err(invalid("/cache/ttl", advice)) } else { Ok(()) }
    }
}
