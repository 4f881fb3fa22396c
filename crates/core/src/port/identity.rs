//! What the Authenticator asks of a store: users, the server's own secrets, and records of sessions and keys.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// Someone who may log in: with a password, or by a provider of single sign-on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name to log in with.
    pub username: String,
    /// An argon2id hash in PHC format; empty where a provider says who they are.
    pub password_hash: String,
    /// Names of the roles that they were given here.
    pub roles: Vec<String>,
    /// Whether they may not log in, and their sessions and keys are refused.
    pub disabled: bool,
    /// Tells this user from an earlier one of the same name; empty for one that an early version made.
    pub id: String,
    /// Changes where all sessions are to end: one that began with another stamp is refused.
    pub stamp: String,
    /// When they were made; the start of 1970 for one that an early version made.
    pub created_at: Timestamp,
    /// What a provider says of them; `None` for those who log in with a password.
    pub external: Option<External>,
}

impl User {
    /// All of their roles: those that they were given here, and those of their groups at the provider.
    pub fn all_roles(&self) -> Vec<String> {
        let of_groups = self.external.iter().flat_map(|external| &external.roles);
        let more = of_groups.filter(|role| !self.roles.contains(role));
        self.roles.iter().chain(more).cloned().collect()
    }
}

/// A user as a provider of single sign-on told of them at their latest login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// Name of the provider.
    pub provider: String,
    /// Its issuer: with `subject`, what a user is known by. A name can go to somebody else.
    pub issuer: String,
    /// The user's identifier there.
    pub subject: String,
    /// Groups that they are in.
    pub groups: Vec<String>,
    /// Roles that those groups have here.
    pub roles: Vec<String>,
}

/// What records are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// Sessions, by their identifier.
    Session,
    /// Sessions that were ended before their time, until their last token has ended.
    RevokedSession,
    /// API keys, by their identifier.
    ApiKey,
    /// When an API key was last used, by its identifier.
    KeyUse,
    /// Keys that sign tokens, by their identifier.
    SigningKey,
    /// Logins that have succeeded in a browser and are still to be fetched by a command.
    LoginCode,
}

impl RecordKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Session, Self::RevokedSession, Self::ApiKey, Self::KeyUse, Self::SigningKey, Self::LoginCode];

    /// The word for it in a store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::RevokedSession => "revoked-session",
            Self::ApiKey => "api-key",
            Self::KeyUse => "key-use",
            Self::SigningKey => "signing-key",
            Self::LoginCode => "login-code",
        }
    }

    /// Whether a change of it makes a new [revision](IdentityStore::revision). Sessions and uses change with each
    /// login and call, and nobody waits for them.
    pub fn is_watched(self) -> bool {
        match self {
            Self::RevokedSession | Self::ApiKey | Self::SigningKey => true,
            Self::Session | Self::KeyUse | Self::LoginCode => false,
        }
    }
}

/// A record: what it holds is the Authenticator's own matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name within its kind: letters, digits, `-` and `_`.
    pub id: String,
    /// JSON.
    pub body: String,
}

/// A state of users and of watched records: two that are equal are of the same state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(pub String);

/// Keeps users and the server's own secrets.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// The user of that name.
    async fn user(&self, username: &str) -> Result<Option<User>, StoreError>;
    /// All users, by name.
    async fn users(&self) -> Result<Vec<User>, StoreError>;
    /// How many users there are.
    async fn user_count(&self) -> Result<u64, StoreError>;
    /// Inserts or replaces a user.
    async fn put_user(&self, user: &User) -> Result<(), StoreError>;
    /// Inserts a user unless there is one of that name, and tells whether it did.
    async fn add_user(&self, user: &User) -> Result<bool, StoreError>;
    /// The secret of that name, as a signing key.
    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Keeps a secret unless there is one of that name, and returns the one that is kept.
    async fn keep_secret(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError>;
}

/// Keeps users together with what belongs to them. Several processes use one at once; each change is made on what it
/// was decided on, or not at all.
#[async_trait]
pub trait IdentityStore: UserStore {
    /// Changes with each change of a user or of a watched record, by whichever process. Cheap: it is asked for every
    /// second.
    async fn revision(&self) -> Result<Revision, StoreError>;
    /// Replaces the user of that name, or removes them where `after` is `None`, where the store is still at `seen`;
    /// tells whether it was.
    async fn change_user(&self, username: &str, after: Option<&User>, seen: &Revision) -> Result<bool, StoreError>;
    /// All records of a kind, in no order.
    async fn records(&self, kind: RecordKind) -> Result<Vec<Record>, StoreError>;
    /// The body of one record.
    async fn record(&self, kind: RecordKind, id: &str) -> Result<Option<String>, StoreError>;
    /// Replaces a record that still is `before` by `after`, where `None` is no record; tells whether it still was.
    async fn swap_record(
        &self,
        kind: RecordKind,
        id: &str,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Result<bool, StoreError>;
}
