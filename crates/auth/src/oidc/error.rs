//! Why somebody is not logged in by a provider, or a provider's token is not taken.

use super::ProviderName;

/// Why a login by a provider did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// It does not answer.
    #[error("the provider `{provider}` cannot be reached: {why}")]
    Unreachable {
        /// The provider.
        provider: ProviderName,
        /// The network's reason.
        why: String,
    },
    /// What it says of itself cannot be used: its administrator's or KEA's operator's to mend.
    #[error("the provider `{provider}` is not configured as KEA needs it: {why}")]
    Misconfigured {
        /// The provider.
        provider: ProviderName,
        /// What is wrong.
        why: String,
    },
    /// It did not let the user in.
    #[error("the provider `{provider}` refused: {why}")]
    Refused {
        /// The provider.
        provider: ProviderName,
        /// Its own words.
        why: String,
    },
    /// The answer belongs to a login that this browser did not begin, or that took too long.
    #[error("this login was not begun in this browser, or it took too long: begin again")]
    NotBegun,
    /// What it says of the user cannot be believed, or is not enough.
    #[error("what the provider `{provider}` says of the user cannot be used: {why}")]
    Unusable {
        /// The provider.
        provider: ProviderName,
        /// What is wrong.
        why: String,
    },
}
