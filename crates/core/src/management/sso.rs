//! Single sign-on, as commands and pages ask for it. Its paths are beside the management API, at `/auth/sso`, as the
//! login page is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The providers that people may log in by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SsoProviders {
    /// In the order in which they are configured.
    pub providers: Vec<SsoProvider>,
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SsoProvider {
    /// Its name in paths.
    pub name: String,
    /// What people read.
    pub title: String,
}

/// A command that fetches the session of its browser's login.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SsoCodeRequest {
    /// What the browser brought.
    pub code: String,
    /// What the login's challenge is the SHA-256 of.
    #[schemars(length(min = 43, max = 128))]
    pub verifier: String,
}

/// The login of a device, which has no browser.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SsoDevice {
    /// What the user types.
    pub user_code: String,
    /// Where they type it.
    pub verification_uri: String,
    /// The same with the code in it, where the provider has that.
    pub verification_uri_complete: Option<String>,
    /// Seconds until it is too late.
    pub expires_in: u64,
    /// Seconds to wait before each question.
    pub interval: u64,
    /// What the device asks with.
    pub handle: String,
}

/// A device that asks what has become of its login.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SsoDeviceRequest {
    /// What it got when it began.
    pub handle: String,
}

/// The code has not been typed yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SsoPending {
    /// Seconds to wait before the next question.
    pub interval: u64,
}
