//! Single sign-on with OpenID Connect: providers found by discovery, the authorization code flow with PKCE, and tokens of
//! providers that are trusted directly.
//!
//! What a provider says becomes an [`ExternalIdentity`]; sessions are made of it elsewhere.

mod claims;
mod error;
mod http;
mod login;
mod provider;
mod settings;
#[cfg(test)]
mod tests;
mod tokens;

pub use claims::ExternalIdentity;
pub use error::OidcError;
pub use login::{Answer, PendingLogin};
pub use provider::Provider;
pub use settings::{ProviderName, ProviderSettings, Secret};
pub use tokens::{NotTrusted, TrustedIssuers};
