//! Users, sessions and keys in Secrets: the same for all routers, without a database.
//!
//! All that every router has to know at once is in one Secret, whose resource version is its revision. Sessions are
//! many and change often: they are spread over several, since one has room for some thousands.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kea_core::port::{External, IdentityStore, Record, RecordKind, Revision, StoreError, User, UserStore};
use kube::{Api, Client, api::PostParams};
use serde::{Deserialize, Serialize};

/// Secret of the users, and of what routers have to hear of at once: a key each.
const USERS: &str = "kea-users";

/// Secret of the server's own secrets.
const KEYS: &str = "kea-keys";

/// Secrets over which sessions are spread, by their number in the place of `{}`.
const SESSIONS: &str = "kea-sessions-";

/// How many of them there are: each has room for about 2,000 sessions.
const SESSION_SECRETS: u32 = 16;

/// Tries of a change that another router's overtook.
const TRIES: usize = 8;

/// Names of all Secrets that routers read and write.
pub(crate) fn secret_names() -> Vec<String> {
    [USERS, KEYS].map(str::to_owned).into_iter().chain((0..SESSION_SECRETS).map(session_secret)).collect()
}

fn session_secret(number: u32) -> String {
    format!("{SESSIONS}{number}")
}

/// Keeps users, sessions and keys in Secrets of KEA's own namespace.
pub struct SecretUsers {
    secrets: Api<Secret>,
}

type Data = BTreeMap<String, ByteString>;

/// A user as the Secret has it. An early version wrote the first two alone.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    password_hash: String,
    roles: Vec<String>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    id: String,
    #[serde(default)]
    stamp: String,
    #[serde(default)]
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external: Option<External>,
}

impl Entry {
    fn of(user: &User) -> ByteString {
        let User { username: _, password_hash, roles, disabled, id, stamp, created_at, external } = user.clone();
        let entry = Self { password_hash, roles, disabled, id, stamp, created_at, external };
        ByteString(serde_json::to_vec(&entry).expect("plain fields have a JSON text"))
    }

    fn read(username: String, value: &ByteString) -> Result<User, StoreError> {
        let Self { password_hash, roles, disabled, id, stamp, created_at, external } = serde_json::from_slice(&value.0)
            .map_err(|error| StoreError::Corrupt { what: format!("user `{username}`"), why: error.to_string() })?;
        Ok(User { username, password_hash, roles, disabled, id, stamp, created_at, external })
    }
}

/// What an edit makes of a Secret's data.
enum Edit<T> {
    Write(T),
    Leave(T),
}

impl SecretUsers {
    /// Users, sessions and keys in Secrets of `namespace`.
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self { secrets: Api::namespaced(client.clone(), namespace) }
    }

    async fn data(&self, name: &str) -> Result<Data, StoreError> {
        let secret = self.secrets.get_opt(name).await.map_err(unavailable)?;
        Ok(secret.and_then(|secret| secret.data).unwrap_or_default())
    }

    /// Changes a Secret as `edit` does, which is given its resource version and data, and asked again where another
    /// router was faster.
    async fn edit<T>(&self, name: &str, edit: impl Fn(&str, &mut Data) -> Edit<T>) -> Result<T, StoreError> {
        let params = PostParams::default();
        for _ in 0..TRIES {
            let before = self.secrets.get_opt(name).await.map_err(unavailable)?;
            let is_new = before.is_none();
            let mut secret = before.unwrap_or_else(|| empty(name));
            let version = secret.metadata.resource_version.clone().unwrap_or_default();
            let outcome = match edit(&version, secret.data.get_or_insert_default()) {
                Edit::Leave(outcome) => return Ok(outcome),
                Edit::Write(outcome) => outcome,
            };
            let written = match is_new {
                true => self.secrets.create(&params, &secret).await,
                false => self.secrets.replace(name, &params, &secret).await,
            };
            match written {
                Ok(_) => return Ok(outcome),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(StoreError::Unavailable(format!("Secret `{name}` is being changed by others all the time")))
    }
}

fn empty(name: &str) -> Secret {
    let labels = Some([("app.kubernetes.io/name".to_string(), "kea".to_string())].into());
    Secret { metadata: ObjectMeta { name: Some(name.into()), labels, ..ObjectMeta::default() }, ..Secret::default() }
}

#[allow(clippy::needless_pass_by_value, reason = "used in map_err")]
fn unavailable(error: kube::Error) -> StoreError {
    StoreError::Unavailable(crate::error::said(&error))
}

/// What keys of users begin with.
const USER: &str = "user.";

/// Keys of Secrets have fewer letters than usernames.
fn key(username: &str) -> String {
    username.bytes().fold(String::from(USER), |mut key, byte| {
        use std::fmt::Write;
        match byte {
            b if b.is_ascii_alphanumeric() || b == b'-' => key.push(char::from(b)),
            b => drop(write!(key, "_{b:02x}")),
        }
        key
    })
}

/// The user whose key this is.
fn username(key: &str) -> Option<String> {
    let mut parts = key.strip_prefix(USER)?.split('_');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (escaped, plain) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(escaped, 16).ok()?);
        bytes.extend_from_slice(plain.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

fn record_key(kind: RecordKind, id: &str) -> String {
    format!("{}.{id}", kind.name())
}

/// The Secret in which a record is.
fn secret_of(kind: RecordKind, id: &str) -> String {
    if kind.is_watched() {
        return USERS.into();
    }
    let number = id.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    session_secret(number % SESSION_SECRETS)
}

fn read_records(data: Data, kind: RecordKind) -> impl Iterator<Item = Result<Record, StoreError>> {
    data.into_iter().filter_map(move |(key, body)| {
        let id = key.strip_prefix(kind.name())?.strip_prefix('.')?.to_owned();
        Some(read_body(kind, &id, body).map(|body| Record { id, body }))
    })
}

fn read_body(kind: RecordKind, id: &str, body: ByteString) -> Result<String, StoreError> {
    String::from_utf8(body.0)
        .map_err(|error| StoreError::Corrupt { what: format!("{} `{id}`", kind.name()), why: error.to_string() })
}

#[async_trait]
impl UserStore for SecretUsers {
    async fn user(&self, username: &str) -> Result<Option<User>, StoreError> {
        let entry = self.data(USERS).await?.remove(&key(username));
        entry.map(|entry| Entry::read(username.into(), &entry)).transpose()
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        let data = self.data(USERS).await?;
        let entries = data.iter().filter_map(|(key, entry)| Some(Entry::read(username(key)?, entry)));
        let mut users = entries.collect::<Result<Vec<_>, _>>()?;
        users.sort_unstable_by(|a, b| a.username.cmp(&b.username));
        Ok(users)
    }

    async fn user_count(&self) -> Result<u64, StoreError> {
        Ok(self.data(USERS).await?.keys().filter(|key| key.starts_with(USER)).count() as u64)
    }

    async fn put_user(&self, user: &User) -> Result<(), StoreError> {
        self.edit(USERS, |_, data| {
            data.insert(key(&user.username), Entry::of(user));
            Edit::Write(())
        })
        .await
    }

    async fn add_user(&self, user: &User) -> Result<bool, StoreError> {
        self.edit(USERS, |_, data| {
            if data.contains_key(&key(&user.username)) {
                return Edit::Leave(false);
            }
            data.insert(key(&user.username), Entry::of(user));
            Edit::Write(true)
        })
        .await
    }

    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.data(KEYS).await?.remove(name).map(|value| value.0))
    }

    async fn keep_secret(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.edit(KEYS, |_, data| match data.get(name) {
            Some(kept) => Edit::Leave(kept.0.clone()),
            None => {
                data.insert(name.into(), ByteString(value.to_vec()));
                Edit::Write(value.to_vec())
            }
        })
        .await
    }
}

#[async_trait]
impl IdentityStore for SecretUsers {
    async fn revision(&self) -> Result<Revision, StoreError> {
        let metadata = self.secrets.get_metadata_opt(USERS).await.map_err(unavailable)?;
        Ok(Revision(metadata.and_then(|object| object.metadata.resource_version).unwrap_or_default()))
    }

    async fn change_user(&self, username: &str, after: Option<&User>, seen: &Revision) -> Result<bool, StoreError> {
        self.edit(USERS, |version, data| {
            if version != seen.0 {
                return Edit::Leave(false);
            }
            let key = key(username);
            let is_change = match after {
                Some(user) => data.insert(key, Entry::of(user)) != Some(Entry::of(user)),
                None => data.remove(&key).is_some(),
            };
            if is_change { Edit::Write(true) } else { Edit::Leave(after.is_some()) }
        })
        .await
    }

    async fn records(&self, kind: RecordKind) -> Result<Vec<Record>, StoreError> {
        if kind.is_watched() {
            return read_records(self.data(USERS).await?, kind).collect();
        }
        let mut records = Vec::new();
        for number in 0..SESSION_SECRETS {
            let data = self.data(&session_secret(number)).await?;
            records.extend(read_records(data, kind).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(records)
    }

    async fn record(&self, kind: RecordKind, id: &str) -> Result<Option<String>, StoreError> {
        let body = self.data(&secret_of(kind, id)).await?.remove(&record_key(kind, id));
        body.map(|body| read_body(kind, id, body)).transpose()
    }

    async fn swap_record(
        &self,
        kind: RecordKind,
        id: &str,
        before: Option<&str>,
        after: Option<&str>,
    ) -> Result<bool, StoreError> {
        self.edit(&secret_of(kind, id), |_, data| {
            let key = record_key(kind, id);
            let is_before = data.get(&key).map(|body| body.0.as_slice()) == before.map(str::as_bytes);
            if !is_before || before == after {
                return Edit::Leave(is_before);
            }
            match after {
                Some(after) => drop(data.insert(key, ByteString(after.into()))),
                None => drop(data.remove(&key)),
            }
            Edit::Write(true)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_users_never_meet() {
        assert_eq!(key("admin"), "user.admin");
        assert_ne!(key("a_b"), key("a.b"));
        for name in ["admin", "a_b", "a.b", "a_2eb", "åsa@example.org", "_", ""] {
            assert_eq!(username(&key(name)).as_deref(), Some(name));
        }
        assert_eq!(username("api-key.a"), None);
        assert!(key("åsa@example.org").bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)));
    }
}
