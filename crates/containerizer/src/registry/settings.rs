//! How registries are spoken to.

use super::Logins;

/// How registries are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Registries that are spoken to without TLS, beside those of this machine.
    pub plain_http: Vec<String>,
    /// Logins in place of those that this process finds: whoever gives them sees what they may see, and no more.
    pub logins: Option<Logins>,
}
