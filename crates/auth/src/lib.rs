//! The Authenticator: who a caller is. Checks passwords, issues session tokens and checks them on every request.
//!
//! Tokens are JWTs signed with Ed25519 by a key that the user store keeps, so that they outlive a restart and are
//! good for every process on the same store. What a caller may do is decided by [`policy`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod authenticator;
mod bearer;
mod error;
pub mod oidc;
mod passwords;
pub mod policy;
#[cfg(test)]
mod tests;
mod throttle;
mod tokens;

use std::sync::Arc;

pub use authenticator::{ADMIN_ROLE, ADMIN_USERNAME, Authenticator};
pub use error::AuthError;

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name that they logged in with.
    pub username: Arc<str>,
    /// Names of the roles that they have.
    pub roles: Arc<[String]>,
    /// Names of the groups that they are in, as their provider tells.
    pub groups: Arc<[String]>,
    /// Identifier of the API key that they sent; `None` where they logged in.
    pub key: Option<Arc<str>>,
}

/// What a login gives.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// The token to send as `Authorization: Bearer TOKEN`.
    pub token: String,
    /// When it ends, to the second.
    pub expires_at: jiff::Timestamp,
}

/// Without the token, which is as good as a password until it ends.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}
