//! API keys, for machines: `kea_ID_SECRET`, shown once and kept as a hash.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;
use kea_core::{
    management::{KeyInfo, KeyRequest, NewKey},
    port::{Record, RecordKind, StoreError, User},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    ADMIN_ROLE, AuthError, Authenticator, Caller, IdentityError,
    sessions::is_id,
    snapshot::{Snapshot, read, write},
    tokens::random_text,
};

/// What every key begins with: a search for leaked secrets finds it by that.
pub(crate) const KEY_PREFIX: &str = "kea_";

/// Letters of a key's identifier.
const ID_LETTERS: usize = 12;

/// Letters of its secret: more than 256 bits.
const SECRET_LETTERS: usize = 43;

/// A key as the store keeps it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyRecord {
    name: String,
    owner: String,
    /// Tells the owner from a later user of the same name.
    owner_id: String,
    roles: Vec<String>,
    scopes: Option<Vec<String>>,
    /// SHA-256 of the secret, in hexadecimal. A slow hash protects what people think of; nobody guesses 256 random
    /// bits, and this is done with every request.
    hash: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
}

/// A key as requests are held against it.
pub(crate) struct KnownKey {
    id: Arc<str>,
    record: KeyRecord,
    roles: Arc<[String]>,
    scopes: Option<Arc<[String]>>,
    /// When it was last used in this process, in seconds since 1970; 0 where it was not. Written without a lock, and
    /// kept in the store by and by.
    used: Arc<AtomicI64>,
}

impl KnownKey {
    pub(crate) fn new(id: &Arc<str>, record: KeyRecord, before: Option<&Self>) -> Self {
        Self {
            id: id.clone(),
            roles: record.roles.as_slice().into(),
            scopes: record.scopes.as_deref().map(Into::into),
            used: before.map(|before| before.used.clone()).unwrap_or_default(),
            record,
        }
    }

    fn caller(&self, owner: (Arc<str>, Arc<[String]>)) -> Caller {
        let (username, owned) = owner;
        let roles = match is_within(&self.roles, &owned) {
            true => self.roles.clone(),
            // The owner has lost a role since: a key never has more than they have.
            false => self.roles.iter().filter(|role| owned.contains(role)).cloned().collect(),
        };
        let (key, scopes) = (Some(self.id.clone()), self.scopes.clone());
        Caller { username, roles, groups: Arc::default(), session: None, key, scopes }
    }
}

/// Whether an owner of those roles may give these to a key: their own, and an admin any.
fn is_within(roles: &[String], owned: &[String]) -> bool {
    owned.iter().any(|role| role == ADMIN_ROLE) || roles.iter().all(|role| owned.contains(role))
}

/// Who a key stands for at `now`. How many letters of a hash agree tells nothing of the secret, so that an ordinary
/// comparison will do.
pub(crate) fn authenticate(snapshot: &Snapshot, key: &str, now: i64) -> Result<Caller, AuthError> {
    let (id, secret) =
        key.strip_prefix(KEY_PREFIX).and_then(|rest| rest.split_once('_')).ok_or(AuthError::InvalidKey)?;
    let known = snapshot.keys.get(id).filter(|known| known.record.hash == hash(secret));
    let known = known.ok_or(AuthError::InvalidKey)?;
    if known.record.expires_at.is_some_and(|end| end.as_second() <= now) {
        return Err(AuthError::ExpiredKey);
    }
    let owner = snapshot.owner(&known.record.owner, &known.record.owner_id).ok_or(AuthError::InvalidKey)?;
    known.used.fetch_max(now, Ordering::Relaxed);
    Ok(known.caller(owner))
}

impl Authenticator {
    /// Makes a key of `owner`, and returns it whole; it cannot be shown again.
    ///
    /// # Errors
    /// [`IdentityError::NoUser`], [`IdentityError::RoleNotHeld`], [`IdentityError::InThePast`], and that of the store.
    pub async fn create_key(&self, owner: &str, request: KeyRequest) -> Result<NewKey, IdentityError> {
        let user = self.store.user(owner).await?.ok_or_else(|| IdentityError::NoUser(owner.into()))?;
        let now = Timestamp::now();
        if request.expires_at.is_some_and(|end| end <= now) {
            return Err(IdentityError::InThePast);
        }
        let (id, secret) = (random_text(ID_LETTERS), random_text(SECRET_LETTERS));
        let record = record_of(&user, request, &secret, now)?;
        self.store.swap_record(RecordKind::ApiKey, &id, None, Some(&write(&record))).await?;
        self.reload().await?;
        tracing::info!(key = id, owner, "made an API key");
        Ok(NewKey { key: format!("{KEY_PREFIX}{id}_{secret}"), info: info(id, record, None) })
    }

    /// Keys of one owner, or of all, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn api_keys(&self, owner: Option<&str>) -> Result<Vec<KeyInfo>, StoreError> {
        let uses = self.store.records(RecordKind::KeyUse).await?;
        let snapshot = self.snapshot.load();
        let mut infos = Vec::new();
        for Record { id, body } in self.store.records(RecordKind::ApiKey).await? {
            let record: KeyRecord = read(RecordKind::ApiKey, &id, &body)?;
            if owner.is_some_and(|owner| owner != record.owner) {
                continue;
            }
            let kept = uses.iter().find(|kept| kept.id == id);
            let kept = kept.map(|kept| read(RecordKind::KeyUse, &id, &kept.body)).transpose()?;
            let here = snapshot.keys.get(id.as_str()).map_or(0, |key| key.used.load(Ordering::Relaxed));
            let used = kept.max((here > 0).then_some(here)).and_then(|used| Timestamp::from_second(used).ok());
            infos.push(info(id, record, used));
        }
        infos.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(infos)
    }

    /// Whose key that is; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn key_owner(&self, id: &str) -> Result<Option<String>, StoreError> {
        if !is_id(id) {
            return Ok(None);
        }
        let Some(body) = self.store.record(RecordKind::ApiKey, id).await? else { return Ok(None) };
        read::<KeyRecord>(RecordKind::ApiKey, id, &body).map(|record| Some(record.owner))
    }

    /// Revokes a key: it is refused from the return of this call on, by other processes on the same store within about
    /// a second.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_key(&self, id: &str) -> Result<(), StoreError> {
        self.remove_record(RecordKind::ApiKey, id).await?;
        self.remove_record(RecordKind::KeyUse, id).await?;
        self.reload().await
    }

    pub(crate) async fn remove_record(&self, kind: RecordKind, id: &str) -> Result<(), StoreError> {
        while let Some(body) = self.store.record(kind, id).await? {
            if self.store.swap_record(kind, id, Some(&body), None).await? {
                break;
            }
        }
        Ok(())
    }

    /// Keeps when keys were last used in the store.
    pub(crate) async fn keep_uses(&self) -> Result<(), StoreError> {
        let snapshot = self.snapshot.load_full();
        let used = snapshot.keys.values().map(|key| (&key.id, key.used.load(Ordering::Relaxed)));
        for (id, used) in used.filter(|(_, used)| *used > 0) {
            let kept = self.store.record(RecordKind::KeyUse, id).await?;
            let is_later = match &kept {
                Some(body) => read::<i64>(RecordKind::KeyUse, id, body)? < used,
                None => true,
            };
            if is_later {
                // Where another process was faster, the next time is soon.
                self.store.swap_record(RecordKind::KeyUse, id, kept.as_deref(), Some(&write(&used))).await?;
            }
        }
        Ok(())
    }
}

fn record_of(user: &User, request: KeyRequest, secret: &str, now: Timestamp) -> Result<KeyRecord, IdentityError> {
    let KeyRequest { name, owner: _, roles, scopes, expires_at } = request;
    let owned = user.all_roles();
    let roles = roles.map_or_else(|| owned.clone(), |roles| roles.into_iter().map(String::from).collect());
    if !is_within(&roles, &owned) {
        let role = roles.into_iter().find(|role| !owned.contains(role)).unwrap_or_default();
        return Err(IdentityError::RoleNotHeld { username: user.username.clone(), role });
    }
    Ok(KeyRecord {
        name,
        owner: user.username.clone(),
        owner_id: user.id.clone(),
        roles,
        scopes,
        hash: hash(secret),
        created_at: now,
        expires_at,
    })
}

fn info(id: String, record: KeyRecord, last_used_at: Option<Timestamp>) -> KeyInfo {
    let KeyRecord { name, owner, owner_id: _, roles, scopes, hash: _, created_at, expires_at } = record;
    KeyInfo { id, name, owner, roles, scopes, created_at, expires_at, last_used_at }
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret))
}
