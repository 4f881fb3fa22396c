//! Users and keys in Secrets: the same for all routers, without a database.

use std::collections::BTreeMap;

use async_trait::async_trait;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kea_core::port::{StoreError, User, UserStore};
use kube::{Api, Client, api::PostParams};
use serde::{Deserialize, Serialize};

/// Secret of the users: a key each.
const USERS: &str = "kea-users";

/// Secret of the keys by which sessions are signed.
const KEYS: &str = "kea-keys";

/// Tries of a change that another router's overtook.
const TRIES: usize = 5;

/// Keeps users and keys in Secrets of KEA's own namespace.
pub struct SecretUsers {
    secrets: Api<Secret>,
}

/// A user as the Secret has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    password_hash: String,
    roles: Vec<String>,
}

impl Entry {
    fn of(user: &User) -> Vec<u8> {
        let entry = Self { password_hash: user.password_hash.clone(), roles: user.roles.clone() };
        serde_json::to_vec(&entry).expect("plain fields have a JSON text")
    }
}

impl SecretUsers {
    /// Users and keys in Secrets of `namespace`.
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self { secrets: Api::namespaced(client.clone(), namespace) }
    }

    async fn data(&self, name: &str) -> Result<BTreeMap<String, ByteString>, StoreError> {
        let secret = self.secrets.get_opt(name).await.map_err(unavailable)?;
        Ok(secret.and_then(|secret| secret.data).unwrap_or_default())
    }

    /// Keeps a value, and returns what is kept: that of before where `replace` does not hold.
    async fn keep(&self, name: &str, key: &str, value: &[u8], replace: bool) -> Result<Vec<u8>, StoreError> {
        let params = PostParams::default();
        for _ in 0..TRIES {
            let before = self.secrets.get_opt(name).await.map_err(unavailable)?;
            let kept = before.as_ref().and_then(|secret| secret.data.as_ref()?.get(key));
            if let Some(kept) = kept
                && !replace
            {
                return Ok(kept.0.clone());
            }
            let is_new = before.is_none();
            let mut secret = before.unwrap_or_else(|| Secret {
                metadata: ObjectMeta {
                    name: Some(name.into()),
                    labels: Some([("app.kubernetes.io/name".to_string(), "kea".to_string())].into()),
                    ..ObjectMeta::default()
                },
                ..Secret::default()
            });
            secret.data.get_or_insert_default().insert(key.into(), ByteString(value.to_vec()));
            let written = match is_new {
                true => self.secrets.create(&params, &secret).await,
                false => self.secrets.replace(name, &params, &secret).await,
            };
            match written {
                Ok(_) => return Ok(value.to_vec()),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(StoreError::Unavailable(format!("Secret `{name}` is being changed by others all the time")))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "used in map_err")]
fn unavailable(error: kube::Error) -> StoreError {
    StoreError::Unavailable(crate::error::said(&error))
}

/// Keys of Secrets have fewer letters than usernames.
fn key(username: &str) -> String {
    username.bytes().fold(String::from("user."), |mut key, byte| {
        use std::fmt::Write;
        match byte {
            b if b.is_ascii_alphanumeric() || b == b'-' => key.push(char::from(b)),
            b => drop(write!(key, "_{b:02x}")),
        }
        key
    })
}

#[async_trait]
impl UserStore for SecretUsers {
    async fn user(&self, username: &str) -> Result<Option<User>, StoreError> {
        let data = self.data(USERS).await?;
        let Some(entry) = data.get(&key(username)) else { return Ok(None) };
        let Entry { password_hash, roles } = serde_json::from_slice(&entry.0)
            .map_err(|error| StoreError::Corrupt { what: format!("user `{username}`"), why: error.to_string() })?;
        Ok(Some(User { username: username.into(), password_hash, roles }))
    }

    async fn user_count(&self) -> Result<u64, StoreError> {
        Ok(self.data(USERS).await?.len() as u64)
    }

    async fn put_user(&self, user: &User) -> Result<(), StoreError> {
        self.keep(USERS, &key(&user.username), &Entry::of(user), true).await.map(drop)
    }

    async fn add_user(&self, user: &User) -> Result<bool, StoreError> {
        // Hashes are salted: that of another router is another one.
        let value = Entry::of(user);
        self.keep(USERS, &key(&user.username), &value, false).await.map(|kept| kept == value)
    }

    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.data(KEYS).await?.remove(name).map(|value| value.0))
    }

    async fn keep_secret(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.keep(KEYS, name, value, false).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_users_never_meet() {
        assert_eq!(key("admin"), "user.admin");
        assert_ne!(key("a_b"), key("a.b"));
        assert!(key("åsa@example.org").bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)));
    }
}
