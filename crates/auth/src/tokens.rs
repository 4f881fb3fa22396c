//! Access tokens: JWTs signed with Ed25519.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};

use crate::{AuthError, signing::KeyRing};

/// Who issues the tokens; one of another issuer is refused.
pub(crate) const ISSUER: &str = "kea";

/// Whom the tokens are for; one for others is refused.
pub(crate) const AUDIENCE: &str = "kea";

/// How far the clock of another process on the same store may be ahead, in seconds.
const CLOCKS_APART: u64 = 60;

/// What a token says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: Arc<str>,
    /// The session.
    pub(crate) sid: Arc<str>,
    /// The stamp of the user at its beginning.
    pub(crate) stamp: Arc<str>,
    /// Seconds since 1970, as `exp`.
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    pub(crate) jti: String,
}

/// A token whose signature, issuer and audience are good.
#[derive(Clone)]
pub(crate) struct Verified {
    pub(crate) username: Arc<str>,
    pub(crate) session: Arc<str>,
    pub(crate) stamp: Arc<str>,
    issued: i64,
    expires: i64,
}

impl Verified {
    /// Refuses a token that has ended, or that is of the future. Its end has no leeway.
    pub(crate) fn check_time(&self, now: i64) -> Result<(), AuthError> {
        if self.issued > now.saturating_add_unsigned(CLOCKS_APART) {
            return Err(AuthError::Invalid);
        }
        if now < self.expires { Ok(()) } else { Err(AuthError::Expired) }
    }
}

/// What a token is issued for.
pub(crate) struct Subject<'a> {
    pub(crate) username: &'a str,
    pub(crate) session: &'a str,
    pub(crate) stamp: &'a str,
}

/// A token good from `now` to `end`, to the second.
pub(crate) fn issue(ring: &KeyRing, subject: &Subject, now: Timestamp, end: Timestamp) -> String {
    let key = ring.signing(now);
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(key.id.clone());
    let claims = Claims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        sub: subject.username.into(),
        sid: subject.session.into(),
        stamp: subject.stamp.into(),
        iat: now.as_second(),
        exp: end.as_second(),
        jti: random_text(22),
    };
    encode(&header, &claims, &key.signs).expect("the key was read when it was loaded")
}

/// Checks signature, algorithm, issuer and audience of a token, not its end.
pub(crate) fn verify(ring: &KeyRing, token: &str) -> Result<Verified, AuthError> {
    let header = decode_header(token).map_err(|_| AuthError::Invalid)?;
    let key = header.kid.as_deref().and_then(|id| ring.get(id)).ok_or(AuthError::Invalid)?;
    let data = decode::<Claims>(token, &key.verifies, &validation()).map_err(|_| AuthError::Invalid)?;
    let Claims { sub, sid, stamp, iat, exp, .. } = data.claims;
    Ok(Verified { username: sub, session: sid, stamp, issued: iat, expires: exp })
}

fn validation() -> Validation {
    // This algorithm alone, whatever a token names.
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_nbf = true;
    validation.leeway = CLOCKS_APART;
    // `Verified::check_time` looks at the end of every token, kept or not.
    validation.validate_exp = false;
    validation
}

/// The end of what lasts for `ttl` from `now` on: a whole second, and one that there is.
pub(crate) fn end_of(now: Timestamp, ttl: Duration) -> Timestamp {
    let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let end = now.as_second().saturating_add(ttl).min(Timestamp::MAX.as_second());
    Timestamp::from_second(end).expect("it is at most the largest one")
}

/// Letters and digits that cannot be guessed; each is worth almost 6 bits.
pub(crate) fn random_text(length: usize) -> String {
    Alphanumeric.sample_string(&mut rand::rng(), length)
}
