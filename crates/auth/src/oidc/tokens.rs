//! Tokens that a provider issued, taken in place of KEA's own: signature by the provider's published keys, issuer,
//! audience, beginning and end.
//!
//! Checking one never waits: the keys are in memory. Where a key is not known, [`TrustedIssuers::refresh`] asks the
//! provider, and keeps what it had where that does not answer.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, JwkSet},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::{ExternalIdentity, OidcError, Provider};

/// How far clocks of providers may be off, in seconds.
pub(crate) const LEEWAY_S: u64 = 60;

/// A provider is asked for its keys at most this often, whatever callers send.
const ASK_AFTER: Duration = Duration::from_secs(5);

/// How often a provider is asked for its keys though none is missing: one that was taken back is to be forgotten.
const ASK_EVERY: Duration = Duration::from_secs(600);

/// What a signature may be made with. None of them has a secret that both sides know.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::EdDSA,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Providers whose own tokens are taken.
#[derive(Default)]
pub struct TrustedIssuers(HashMap<String, Trusted>);

struct Trusted {
    provider: Arc<Provider>,
    audiences: HashSet<String>,
    keys: ArcSwap<HashMap<String, DecodingKey>>,
    /// When the keys were asked for last. Held while they are, so that they are asked for once by many.
    asked: Mutex<Option<Instant>>,
}

/// Why a token of a provider is not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum NotTrusted {
    /// It names no issuer that is trusted: it is none of a provider's.
    NoIssuer,
    /// Its key is not known: [`TrustedIssuers::refresh`] may find it.
    UnknownKey,
    /// It was good once.
    Expired,
    /// It is not good, or not meant for KEA.
    Invalid,
    /// It is good, and says too little of the user.
    Unusable(OidcError),
}

/// What is read of a token before its signature is checked.
#[derive(Deserialize)]
struct Unchecked {
    iss: String,
}

#[derive(Deserialize)]
struct Claims {
    exp: i64,
    #[serde(flatten)]
    all: Map<String, Value>,
}

/// Whether it tells a client who has logged in, rather than letting its bearer in: other clients have seen it, and logs
/// of addresses. Only ID tokens have a nonce or the hash of another token; Keycloak says what it is.
fn is_id_token(claims: &Map<String, Value>) -> bool {
    let of_logins = ["nonce", "at_hash", "c_hash"].iter().any(|name| claims.contains_key(*name));
    of_logins || claims.get("typ").is_some_and(|kind| kind == "ID")
}

impl TrustedIssuers {
    /// Trusts those of `providers` that are configured with audiences.
    pub fn new(providers: &[Arc<Provider>]) -> Self {
        let trusted = providers.iter().filter(|provider| !provider.settings.audiences.is_empty());
        Self(trusted.map(|provider| (provider.settings.issuer.to_string(), Trusted::new(provider))).collect())
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who a token speaks for, and when it ends, in seconds since 1970.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn verify(&self, token: &str) -> Result<(ExternalIdentity, i64), NotTrusted> {
        self.issuer_of(token).ok_or(NotTrusted::NoIssuer)?.verify(token)
    }

    /// Where the key of `token` is not known, asks its issuer for the keys, unless it was asked a moment ago. A failure
    /// changes nothing.
    pub async fn refresh(&self, token: &str) {
        if let Some(trusted) = self.issuer_of(token).filter(|trusted| trusted.lacks_key_of(token)) {
            trusted.refresh().await;
        }
    }

    /// Asks all issuers for their keys, now and from time to time. Ends when it is dropped.
    pub async fn follow(&self) {
        if self.is_empty() {
            return;
        }
        loop {
            for trusted in self.0.values() {
                trusted.refresh().await;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn issuer_of(&self, token: &str) -> Option<&Trusted> {
        if self.is_empty() {
            return None;
        }
        let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        self.0.get(&serde_json::from_slice::<Unchecked>(&payload).ok()?.iss)
    }
}

impl Trusted {
    fn new(provider: &Arc<Provider>) -> Self {
        let audiences = provider.settings.audiences.iter().cloned().collect();
        Self { provider: provider.clone(), audiences, keys: ArcSwap::default(), asked: Mutex::default() }
    }

    fn verify(&self, token: &str) -> Result<(ExternalIdentity, i64), NotTrusted> {
        let header = decode_header(token).map_err(|_| NotTrusted::Invalid)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(NotTrusted::Invalid);
        }
        let keys = self.keys.load();
        let key = keys.get(header.kid.as_deref().unwrap_or_default()).ok_or(NotTrusted::UnknownKey)?;
        let claims =
            decode::<Claims>(token, key, &self.validation(header.alg)).map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => NotTrusted::Expired,
                _ => NotTrusted::Invalid,
            })?;
        let Claims { exp, all } = claims.claims;
        if is_id_token(&all) {
            let why = "it is an ID token, which is for logins alone: send an access token".into();
            let provider = self.provider.settings.name.clone();
            return Err(NotTrusted::Unusable(OidcError::Unusable { provider, why }));
        }
        let identity = ExternalIdentity::read(&self.provider.settings, &all).map_err(NotTrusted::Unusable)?;
        Ok((identity, exp))
    }

    fn lacks_key_of(&self, token: &str) -> bool {
        let header = decode_header(token).ok().filter(|header| ALGORITHMS.contains(&header.alg));
        header.is_some_and(|header| !self.keys.load().contains_key(header.kid.as_deref().unwrap_or_default()))
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
        validation.set_issuer(&[self.provider.settings.issuer.as_str()]);
        validation.aud = Some(self.audiences.clone());
        validation
    }

    async fn refresh(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < ASK_AFTER) {
            return;
        }
        let heard = self.ask().await;
        *asked = Some(Instant::now());
        match heard {
            Ok(keys) => self.keys.store(Arc::new(keys)),
            Err(error) => tracing::warn!(%error, "the keys of a trusted issuer are not heard; those before still hold"),
        }
    }

    async fn ask(&self) -> Result<HashMap<String, DecodingKey>, OidcError> {
        let discovered = self.provider.discovered().await?;
        let url = discovered.metadata.jwks_uri().as_str();
        let set: JwkSet = self.provider.of_itself.json(url, None).await.map_err(|error| OidcError::Unreachable {
            provider: self.provider.settings.name.clone(),
            why: error.to_string(),
        })?;
        Ok(set
            .keys
            .iter()
            .filter_map(|jwk| {
                // A published secret would let everybody sign.
                let asymmetric = !matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
                let key = asymmetric.then(|| DecodingKey::from_jwk(jwk).ok()).flatten()?;
                Some((jwk.common.key_id.clone().unwrap_or_default(), key))
            })
            .collect())
    }
}
