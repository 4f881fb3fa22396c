//! Session tokens: JWTs signed with Ed25519, and the key that signs them.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode,
    jwk::{Jwk, ThumbprintHash},
};
use kea_core::port::{StoreError, User, UserStore};
use rand::{
    TryRngCore,
    distr::{Alphanumeric, SampleString},
    rngs::OsRng,
};
use serde::{Deserialize, Serialize};

use crate::{AuthError, Caller, Session};

/// Name of the signing key among the store's secrets.
pub(crate) const KEY_SECRET: &str = "jwt-signing-key";

/// Who issues the tokens; one of another issuer is refused.
const ISSUER: &str = "kea";

/// What precedes the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7), the form in which it is kept.
const PKCS8_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What a token says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) sub: Arc<str>,
    pub(crate) roles: Arc<[String]>,
    /// Seconds since 1970, as `exp`.
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    pub(crate) jti: String,
}

/// A token whose signature and issuer are good.
#[derive(Clone)]
pub(crate) struct Verified {
    pub(crate) caller: Caller,
    expires: i64,
}

impl Verified {
    /// The caller, unless the token has ended. There is no leeway: the clock is that of the server which issued it.
    pub(crate) fn at(self, now: i64) -> Result<Caller, AuthError> {
        if now < self.expires { Ok(self.caller) } else { Err(AuthError::Expired) }
    }
}

pub(crate) struct Tokens {
    header: Header,
    signing_key: EncodingKey,
    verifying_key: DecodingKey,
    validation: Validation,
    ttl: Duration,
}

impl Tokens {
    /// With the key that `users` keeps, or a new one for it to keep.
    pub(crate) async fn load(users: &dyn UserStore, ttl: Duration) -> Result<Self, StoreError> {
        let kept = match users.secret(KEY_SECRET).await? {
            Some(kept) => kept,
            None => users.keep_secret(KEY_SECRET, &new_key()?).await?,
        };
        Self::with_key(&kept, ttl).map_err(|error| StoreError::Corrupt {
            what: format!("secret `{KEY_SECRET}`"),
            why: format!("it is no Ed25519 key in PKCS #8: {error}"),
        })
    }

    fn with_key(pkcs8: &[u8], ttl: Duration) -> Result<Self, jsonwebtoken::errors::Error> {
        let signing_key = EncodingKey::from_ed_der(pkcs8);
        let public = Jwk::from_encoding_key(&signing_key, Algorithm::EdDSA)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(public.thumbprint(ThumbprintHash::SHA256)?);
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // `Verified::at` looks at the end of every token, kept or not.
        validation.validate_exp = false;
        Ok(Self { header, signing_key, verifying_key: DecodingKey::from_jwk(&public)?, validation, ttl })
    }

    /// A token for `user`, good from `now` on.
    pub(crate) fn issue(&self, user: &User, now: Timestamp) -> Session {
        let ttl = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX);
        let exp = now.as_second().saturating_add(ttl).min(Timestamp::MAX.as_second());
        let claims = Claims {
            iss: ISSUER.into(),
            sub: user.username.as_str().into(),
            roles: user.roles.as_slice().into(),
            iat: now.as_second(),
            exp,
            jti: random_text(22),
        };
        let token = encode(&self.header, &claims, &self.signing_key).expect("the key was read when it was loaded");
        Session { token, expires_at: Timestamp::from_second(exp).expect("it is at most the largest one") }
    }

    /// Checks signature, algorithm and issuer of `token`, not its end.
    pub(crate) fn verify(&self, token: &str) -> Result<Verified, AuthError> {
        let data = decode::<Claims>(token, &self.verifying_key, &self.validation).map_err(|_| AuthError::Invalid)?;
        let Claims { sub, roles, exp, .. } = data.claims;
        let caller = Caller { username: sub, roles, groups: Arc::default(), key: None };
        Ok(Verified { caller, expires: exp })
    }
}

fn new_key() -> Result<Vec<u8>, StoreError> {
    let mut seed = [0; 32];
    OsRng
        .try_fill_bytes(&mut seed)
        .map_err(|error| StoreError::Unavailable(format!("the system gives no randomness for a key: {error}")))?;
    Ok([PKCS8_PREFIX.as_slice(), &seed].concat())
}

/// Letters and digits that cannot be guessed; each is worth almost 6 bits.
pub(crate) fn random_text(length: usize) -> String {
    Alphanumeric.sample_string(&mut rand::rng(), length)
}
