//! Sessions, users, API keys and signing keys.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{policy::PolicyName, who::Username};

/// Who wants to log in.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoginRequest {
    /// The user.
    pub username: String,
    /// The user's password.
    pub password: String,
}

/// A session.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoginResponse {
    /// A JSON Web Token, to be sent as `Authorization: Bearer TOKEN`; empty for a page of this server (a request with
    /// the header `x-kea-csrf`), which gets cookies.
    pub token: String,
    /// When it expires.
    #[schemars(with = "String")]
    pub expires_at: Timestamp,
    /// What `POST /auth/refresh` exchanges for the next tokens; good once. Empty where `token` is.
    pub refresh_token: String,
    /// When the session ends, however often it is refreshed.
    #[schemars(with = "String")]
    pub session_expires_at: Timestamp,
    /// The user.
    pub username: String,
    /// The user's roles.
    pub roles: Vec<String>,
}

/// What carries a session on.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefreshRequest {
    /// The refresh token of the last login or refresh; that of the cookie where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// A new password of one's own.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PasswordRequest {
    /// The password until now.
    pub old_password: String,
    /// The password from now on.
    #[schemars(length(min = 8, max = 1024))]
    pub new_password: String,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    /// The user; of an API key, its owner.
    pub username: String,
    /// Their roles at this moment.
    pub roles: Vec<String>,
    /// Groups that they are in.
    pub groups: Vec<String>,
    /// The session, where they logged in.
    pub session_id: Option<String>,
    /// The API key, where they sent one.
    pub key_id: Option<String>,
    /// Permissions to which the API key is confined.
    pub scopes: Option<Vec<String>>,
}

/// A session that goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionInfo {
    /// Its identifier.
    pub id: String,
    /// Whose it is.
    pub username: String,
    /// When it began.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// When it was last refreshed.
    #[schemars(with = "String")]
    pub used_at: Timestamp,
    /// When it ends.
    #[schemars(with = "String")]
    pub expires_at: Timestamp,
    /// The address that it began from.
    pub address: String,
    /// What the client called itself.
    pub user_agent: Option<String>,
    /// Whether it is the one that asks.
    pub is_current: bool,
}

/// A user to be made.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserRequest {
    /// The name to log in with.
    pub username: Username,
    /// Their first password.
    #[schemars(length(min = 8, max = 1024))]
    pub password: String,
    /// Their roles; none where nothing is said.
    #[serde(default)]
    pub roles: Vec<PolicyName>,
}

/// Changes what it names of a user, and nothing else.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UserChange {
    /// Their roles; those of groups at a provider stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<PolicyName>>,
    /// Whether they may not log in. Their sessions end, and their API keys are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// A new password. Their sessions end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 1024))]
    pub password: Option<String>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserInfo {
    /// The name to log in with.
    pub username: String,
    /// The provider of single sign-on that says who they are; `None` where they log in with a password.
    pub provider: Option<String>,
    /// Their roles, also those of their groups at the provider.
    pub roles: Vec<String>,
    /// Groups that they were in at their latest login by the provider.
    pub groups: Vec<String>,
    /// Whether they may not log in.
    pub disabled: bool,
    /// When they were made.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
}

/// An API key to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRequest {
    /// What it is for, in the owner's words.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Whose it is; the caller's where nothing is said. Admins alone make keys for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub owner: Option<String>,
    /// Its roles, of those that the owner has; all of them where nothing is said. Admins give any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<PolicyName>>,
    /// Permissions to which it is confined, as `predict:grades/get_grades`; not confined where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// When it ends; never where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
}

/// An API key, without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyInfo {
    /// Its identifier.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// Its roles, as long as the owner has them.
    pub roles: Vec<String>,
    /// Permissions to which it is confined.
    pub scopes: Option<Vec<String>>,
    /// When it was made.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// When it ends.
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, give or take half a minute.
    #[schemars(with = "Option<String>")]
    pub last_used_at: Option<Timestamp>,
}

/// An API key that was made.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewKey {
    /// The key itself, to be sent as `Authorization: Bearer KEY` or `x-api-key: KEY`. It is not shown again.
    pub key: String,
    /// What is known of it.
    #[serde(flatten)]
    pub info: KeyInfo,
}

/// A key that signs tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SigningKeyInfo {
    /// Its identifier: `kid` of the tokens that it signs.
    pub id: String,
}

/// The public keys by which tokens are checked (RFC 7517).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeySet {
    /// The keys, newest first.
    pub keys: Vec<PublicKey>,
}

/// A public Ed25519 key (RFC 8037).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublicKey {
    /// Its identifier.
    pub kid: String,
    /// Always `OKP`.
    pub kty: String,
    /// Always `Ed25519`.
    pub crv: String,
    /// The key, in base64url.
    pub x: String,
    /// Always `EdDSA`.
    pub alg: String,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub usage: String,
}

impl PublicKey {
    /// A key that checks signatures; `x` in base64url.
    pub fn ed25519(kid: &str, x: &str) -> Self {
        let [kty, crv, alg, usage] = ["OKP", "Ed25519", "EdDSA", "sig"].map(str::to_owned);
        Self { kid: kid.into(), kty, crv, x: x.into(), alg, usage }
    }
}
