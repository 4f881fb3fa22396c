//! Single sign-on with OpenID Connect: providers found by discovery, the authorization code flow with PKCE, login by device
//! code, and tokens of providers that are trusted directly.
//!
//! What a provider says becomes an [`ExternalIdentity`]; sessions are made of it by [`Sso`](crate::Sso).

mod claims;
mod device;
mod error;
mod http;
mod login;
mod provider;
mod seal;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod tokens;

pub use claims::ExternalIdentity;
pub use device::DeviceCode;
pub(crate) use device::{DeviceAnswer, PendingDevice};
pub use error::OidcError;
pub use login::{Answer, Command, Destination, PendingLogin};
pub use provider::Provider;
pub(crate) use seal::Seal;
pub use settings::{ProviderName, ProviderSettings, Secret};
pub(crate) use tokens::LEEWAY_S;
pub use tokens::{NotTrusted, TrustedIssuers};
