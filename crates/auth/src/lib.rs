//! The Authenticator: who a caller is. Checks passwords, issues tokens and API keys, and checks them on every request.
//!
//! A login begins a session. Its access tokens are short-lived JWTs signed with Ed25519, good for every process on the
//! same store; its refresh tokens carry it on, each once. Requests are held against a snapshot of the store in memory,
//! which follows the store: what is revoked stops at once, and no request waits. What a caller may do is decided by
//! [`policy`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api_keys;
mod authenticator;
mod credential;
mod error;
mod external;
pub mod oidc;
mod passwords;
pub mod policy;
mod sessions;
mod signing;
mod snapshot;
mod sso;
mod standing;
mod tend;
#[cfg(test)]
mod tests;
mod throttle;
mod tokens;
mod users;

use std::sync::Arc;

pub use authenticator::{ADMIN_ROLE, ADMIN_USERNAME, AuthSettings, Authenticator, SECURITY_ROLE};
pub use credential::{
    ACCESS_COOKIE, CSRF_HEADER, REFRESH_COOKIE, cookie, drop_credentials, drop_own_cookies, is_of_other_site,
    is_of_this_site,
};
pub use error::{AuthError, IdentityError};
pub use sessions::Origin;
pub use sso::{Arrival, DeviceLogin, DevicePoll, ProviderInfo, Sso, SsoError};
pub use standing::Standing;

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name that they logged in with; of an API key, that of its owner.
    pub username: Arc<str>,
    /// Names of the roles that they have at this moment.
    pub roles: Arc<[String]>,
    /// Names of the groups that they are in, as their provider tells.
    pub groups: Arc<[String]>,
    /// Identifier of the session that they logged in to; `None` where they sent an API key or a provider's token.
    pub session: Option<Arc<str>>,
    /// Identifier of the API key that they sent; `None` where they logged in.
    pub key: Option<Arc<str>>,
    /// Permissions to which an API key is confined, as `predict:grades/get_grades`; `None` where it is not.
    pub scopes: Option<Arc<[String]>>,
}

impl Caller {
    /// Whether they have that role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}

/// What a login or a refresh gives.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// The access token, to send as `Authorization: Bearer TOKEN`.
    pub token: String,
    /// When it ends, to the second.
    pub expires_at: jiff::Timestamp,
    /// What is exchanged for the next tokens; good once.
    pub refresh_token: String,
    /// When the session ends, however often it is carried on.
    pub session_expires_at: jiff::Timestamp,
    /// Whose it is.
    pub username: String,
    /// Names of the roles that they have at this moment.
    pub roles: Vec<String>,
}

/// Without the tokens, which are as good as a password until they end.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("username", &self.username)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
