//! Roles and bindings in a Secret: the same for all routers, without a database. Not in a ConfigMap, which more people of
//! a namespace may change.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use async_trait::async_trait;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kea_core::{
    policy::{Binding, BindingSpec, Policy, PolicyError, PolicyName, Role, RoleSpec},
    port::{PolicyStore, StoreError},
};
use kube::{Api, Client, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};

/// The Secret: a key for each role and binding.
const POLICIES: &str = "kea-policies";

const ROLE: &str = "role.";

const BINDING: &str = "binding.";

/// Tries of a change that another router's overtook.
const TRIES: usize = 5;

/// Keeps roles and bindings in a Secret of KEA's own namespace.
pub struct SecretPolicies {
    secrets: Api<Secret>,
}

impl SecretPolicies {
    /// Roles and bindings in a Secret of `namespace`.
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self { secrets: Api::namespaced(client.clone(), namespace) }
    }

    async fn kept(&self) -> Result<Option<Secret>, StoreError> {
        self.secrets.get_opt(POLICIES).await.map_err(unavailable)
    }

    /// Changes one key, again where another router was quicker; tells whether it was there.
    async fn change(&self, key: &str, value: Option<Vec<u8>>) -> Result<bool, StoreError> {
        let params = PostParams::default();
        for _ in 0..TRIES {
            let before = self.kept().await?;
            let is_new = before.is_none();
            let mut secret = before.unwrap_or_else(empty);
            let data = secret.data.get_or_insert_default();
            let was_there = match &value {
                Some(value) => data.insert(key.into(), ByteString(value.clone())).is_some(),
                None => data.remove(key).is_some(),
            };
            if value.is_none() && !was_there {
                return Ok(false);
            }
            let written = match is_new {
                true => self.secrets.create(&params, &secret).await,
                false => self.secrets.replace(POLICIES, &params, &secret).await,
            };
            match written {
                Ok(_) => return Ok(was_there),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(StoreError::Unavailable(format!("Secret `{POLICIES}` is being changed by others all the time")))
    }
}

fn empty() -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(POLICIES.into()),
            labels: Some([("app.kubernetes.io/name".to_string(), "kea".to_string())].into()),
            ..ObjectMeta::default()
        },
        ..Secret::default()
    }
}

#[allow(clippy::needless_pass_by_value, reason = "used in map_err")]
fn unavailable(error: kube::Error) -> StoreError {
    StoreError::Unavailable(crate::error::said(&error))
}

/// Kubernetes' own number of the object as it is. It counts up in most clusters, and differs in all of them.
fn revision(secret: Option<&Secret>) -> u64 {
    let Some(text) = secret.and_then(|secret| secret.metadata.resource_version.as_deref()) else { return 0 };
    text.parse().unwrap_or_else(|_| {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        hasher.finish()
    })
}

/// Keys of Secrets have no `@`, which names may have, and `_` is what stands for it.
fn key(kind: &str, name: &PolicyName) -> String {
    format!("{kind}{}", name.as_str().replace('_', "_5f").replace('@', "_40"))
}

fn name_of(kind: &str, key: &str) -> Option<Result<PolicyName, StoreError>> {
    let name = key.strip_prefix(kind)?.replace("_40", "@").replace("_5f", "_");
    Some(name.parse().map_err(|error: PolicyError| corrupt(key, &error)))
}

fn corrupt(key: &str, why: &impl ToString) -> StoreError {
    StoreError::Corrupt { what: format!("`{key}` of Secret `{POLICIES}`"), why: why.to_string() }
}

fn read<T: DeserializeOwned>(
    data: &BTreeMap<String, ByteString>,
    kind: &str,
) -> Result<Vec<(PolicyName, T)>, StoreError> {
    let of_kind = data.iter().filter_map(|(key, value)| Some((key, name_of(kind, key)?, value)));
    let mut found = of_kind
        .map(|(key, name, value)| Ok((name?, serde_json::from_slice(&value.0).map_err(|error| corrupt(key, &error))?)))
        .collect::<Result<Vec<(PolicyName, T)>, StoreError>>()?;
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn json(spec: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(spec).expect("plain fields have a JSON text")
}

#[async_trait]
impl PolicyStore for SecretPolicies {
    async fn policy(&self) -> Result<Policy, StoreError> {
        let secret = self.kept().await?;
        let revision = revision(secret.as_ref());
        let data = secret.and_then(|secret| secret.data).unwrap_or_default();
        let role = |(name, spec): (PolicyName, RoleSpec)| Role { name, spec };
        let binding = |(name, spec): (PolicyName, BindingSpec)| Binding { name, spec };
        Ok(Policy {
            revision,
            roles: read(&data, ROLE)?.into_iter().map(role).collect(),
            bindings: read(&data, BINDING)?.into_iter().map(binding).collect(),
        })
    }

    async fn policy_revision(&self) -> Result<u64, StoreError> {
        Ok(revision(self.kept().await?.as_ref()))
    }

    async fn put_role(&self, role: &Role) -> Result<(), StoreError> {
        self.change(&key(ROLE, &role.name), Some(json(&role.spec))).await.map(drop)
    }

    async fn delete_role(&self, name: &PolicyName) -> Result<bool, StoreError> {
        self.change(&key(ROLE, name), None).await
    }

    async fn put_binding(&self, binding: &Binding) -> Result<(), StoreError> {
        self.change(&key(BINDING, &binding.name), Some(json(&binding.spec))).await.map(drop)
    }

    async fn delete_binding(&self, name: &PolicyName) -> Result<bool, StoreError> {
        self.change(&key(BINDING, name), None).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_from_keys() {
        for text in ["teacher", "a_b", "ada@example.org", "a_40", "a_5f40", "x___"] {
            let name: PolicyName = text.parse().unwrap();
            let key = key(ROLE, &name);
            assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)), "{key}");
            assert_eq!(name_of(ROLE, &key).unwrap().unwrap(), name);
            assert!(name_of(BINDING, &key).is_none());
        }
    }
}
