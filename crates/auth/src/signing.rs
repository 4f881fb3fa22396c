//! The keys that sign tokens: the newest signs, those before it verify until all that they signed has ended.

use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    jwk::{AlgorithmParameters, Jwk, ThumbprintHash},
};
use kea_core::{
    management::PublicKey,
    port::{IdentityStore, RecordKind, StoreError},
};
use rand::{TryRngCore, rngs::OsRng};
use serde::{Deserialize, Serialize};

use crate::snapshot::{read, write};

/// Name of the first signing key among the store's secrets, by which processes that start at once agree on one.
pub(crate) const KEY_SECRET: &str = "jwt-signing-key";

/// How long a new key is published before it signs: every process has asked the store several times by then, and knows
/// it. The clocks of machines may be apart by some seconds of it.
pub(crate) const PUBLISHED_BEFORE: Duration = Duration::from_secs(5);

/// What precedes the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7), the form in which it is kept.
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// A signing key as the store keeps it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyRecord {
    /// Hexadecimal.
    pkcs8: String,
    created_at: Timestamp,
}

/// A key that can sign and verify.
pub(crate) struct SigningKey {
    pub(crate) id: String,
    pub(crate) created_at: Timestamp,
    pub(crate) signs: EncodingKey,
    pub(crate) verifies: DecodingKey,
    /// The public key, in base64url.
    x: String,
}

/// All keys, oldest first; there is one at least.
pub(crate) struct KeyRing {
    keys: Vec<SigningKey>,
}

impl KeyRing {
    /// The keys of the store. Where it has none yet, one is made.
    pub(crate) async fn load(store: &dyn IdentityStore) -> Result<Self, StoreError> {
        let mut records = store.records(RecordKind::SigningKey).await?;
        if records.is_empty() {
            add_first(store).await?;
            records = store.records(RecordKind::SigningKey).await?;
        }
        let keys = records.iter().map(|record| {
            let KeyRecord { pkcs8, created_at } = read(RecordKind::SigningKey, &record.id, &record.body)?;
            let what = || format!("{} `{}`", RecordKind::SigningKey.name(), record.id);
            let pkcs8 = hex::decode(pkcs8).map_err(|error| corrupt(what(), &error))?;
            SigningKey::new(&pkcs8, created_at).map_err(|error| corrupt(what(), &error))
        });
        let mut keys = keys.collect::<Result<Vec<_>, _>>()?;
        keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(Self { keys })
    }

    /// The key of that identifier.
    pub(crate) fn get(&self, id: &str) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The key that signs at `now`: the newest that all processes know.
    pub(crate) fn signing(&self, now: Timestamp) -> &SigningKey {
        let published = self.keys.iter().rfind(|key| key.signs_from() <= now);
        published.or(self.keys.first()).expect("a ring has a key")
    }

    /// When the newest key was made.
    pub(crate) fn newest(&self) -> Timestamp {
        self.keys.last().expect("a ring has a key").created_at
    }

    /// Keys whose successor signs since `ttl` and more, so that nothing is left that they signed.
    pub(crate) fn outlived(&self, now: Timestamp, ttl: Duration) -> impl Iterator<Item = &str> {
        let pairs = self.keys.iter().zip(self.keys.iter().skip(1));
        pairs.filter(move |(_, next)| next.signs_from() + ttl < now).map(|(key, _)| key.id.as_str())
    }

    /// The public keys, newest first.
    pub(crate) fn public(&self) -> Vec<PublicKey> {
        self.keys.iter().rev().map(|key| PublicKey::ed25519(&key.id, &key.x)).collect()
    }
}

impl SigningKey {
    fn new(pkcs8: &[u8], created_at: Timestamp) -> Result<Self, jsonwebtoken::errors::Error> {
        let signs = EncodingKey::from_ed_der(pkcs8);
        let public = Jwk::from_encoding_key(&signs, Algorithm::EdDSA)?;
        let id = public.thumbprint(ThumbprintHash::SHA256)?;
        let verifies = DecodingKey::from_jwk(&public)?;
        let AlgorithmParameters::OctetKeyPair(pair) = public.algorithm else {
            return Err(jsonwebtoken::errors::ErrorKind::InvalidEddsaKey.into());
        };
        Ok(Self { id, created_at, signs, verifies, x: pair.x })
    }

    fn signs_from(&self) -> Timestamp {
        self.created_at + PUBLISHED_BEFORE
    }
}

/// Makes a key and publishes it; it signs in a few seconds.
pub(crate) async fn rotate(store: &dyn IdentityStore, now: Timestamp) -> Result<String, StoreError> {
    add(store, &new_key()?, now).await
}

/// The first key is the one that the store keeps as a secret, which is the same for all that start at once.
async fn add_first(store: &dyn IdentityStore) -> Result<(), StoreError> {
    let kept = match store.secret(KEY_SECRET).await? {
        Some(kept) => kept,
        None => store.keep_secret(KEY_SECRET, &new_key()?).await?,
    };
    add(store, &kept, Timestamp::now()).await.map(drop)
}

async fn add(store: &dyn IdentityStore, pkcs8: &[u8], created_at: Timestamp) -> Result<String, StoreError> {
    let key = SigningKey::new(pkcs8, created_at).map_err(|error| corrupt(format!("secret `{KEY_SECRET}`"), &error))?;
    let body = write(&KeyRecord { pkcs8: hex::encode(pkcs8), created_at });
    // Where another process was faster, it is the same key.
    store.swap_record(RecordKind::SigningKey, &key.id, None, Some(&body)).await?;
    Ok(key.id)
}

fn corrupt(what: String, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt { what, why: format!("it is no Ed25519 key in PKCS #8: {why}") }
}

fn new_key() -> Result<Vec<u8>, StoreError> {
    let mut seed = [0; 32];
    OsRng
        .try_fill_bytes(&mut seed)
        .map_err(|error| StoreError::Unavailable(format!("the system gives no randomness for a key: {error}")))?;
    Ok([PKCS8_PREFIX.as_slice(), &seed].concat())
}
