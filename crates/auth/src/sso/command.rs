//! A command's login: its browser brings it a code, for which it fetches the session with what it alone knows.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use kea_core::port::{RecordKind, StoreError, User};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::form_urlencoded::Serializer;

use super::{Sso, SsoError};
use crate::{
    Origin, Session,
    oidc::Command,
    sessions::{ExternalSession, is_id},
    snapshot::{read, write},
    tokens::random_text,
};

/// Letters of a code, which nobody guesses.
const CODE_LETTERS: usize = 43;

/// Seconds in which a command fetches its session: its browser is on the same machine.
const FETCHED_WITHIN_S: i64 = 60;

/// Letters of a challenge: 32 bytes in base64url.
const CHALLENGE_LETTERS: usize = 43;

/// Longest text by which a command knows its browser again.
const STATE_MAX: usize = 128;

/// A login that is still to be fetched, as the store keeps it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoginCode {
    username: String,
    /// The stamp of the user: all that ends their sessions ends this, too.
    stamp: String,
    external: ExternalSession,
    challenge: String,
    /// Seconds since 1970.
    until: i64,
}

impl LoginCode {
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now.as_second() >= self.until
    }
}

/// Whether a command says all that is needed to go back to it.
pub(super) fn check(command: &Command) -> Result<(), SsoError> {
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if command.port == 0 {
        return Err(SsoError::Nowhere("`port` is no port that a command listens on"));
    }
    if command.challenge.len() != CHALLENGE_LETTERS || !is_plain(&command.challenge) {
        return Err(SsoError::Nowhere("`challenge` is no SHA-256 in base64url"));
    }
    let is_state = (1..=STATE_MAX).contains(&command.state.len()) && is_plain(&command.state);
    if is_state { Ok(()) } else { Err(SsoError::Nowhere("`state` is no text of letters, digits, `-` and `_`")) }
}

impl Sso {
    /// The address of a command, with the code or with why there is none.
    pub(super) async fn to_command(
        &self,
        command: &Command,
        admitted: Result<(User, ExternalSession), SsoError>,
    ) -> String {
        let code = match admitted {
            Ok((user, external)) => self.code(&user, external, &command.challenge).await.map_err(SsoError::from),
            Err(error) => Err(error),
        };
        let mut query = Serializer::new(String::new());
        query.append_pair("state", &command.state);
        match code {
            Ok(code) => query.append_pair("code", &code),
            Err(error) => query.append_pair("error", &error.to_string()),
        };
        format!("http://127.0.0.1:{}/?{}", command.port, query.finish())
    }

    async fn code(&self, user: &User, external: ExternalSession, challenge: &str) -> Result<String, StoreError> {
        let code = random_text(CODE_LETTERS);
        let kept = LoginCode {
            username: user.username.clone(),
            stamp: user.stamp.clone(),
            external,
            challenge: challenge.into(),
            until: Timestamp::now().as_second() + FETCHED_WITHIN_S,
        };
        self.auth.store.swap_record(RecordKind::LoginCode, &code, None, Some(&write(&kept))).await?;
        Ok(code)
    }

    /// The session of a command, for the code that its browser brought and what its challenge is the SHA-256 of. Good once,
    /// also where it fails.
    ///
    /// # Errors
    /// [`SsoError::NoSuchCode`], and that of the store.
    #[tracing::instrument(skip_all)]
    pub async fn fetch(
        &self,
        provider: &str,
        code: &str,
        verifier: &str,
        origin: &Origin,
    ) -> Result<Session, SsoError> {
        let store = &self.auth.store;
        let body = match is_id(code) {
            true => store.record(RecordKind::LoginCode, code).await?.ok_or(SsoError::NoSuchCode)?,
            false => return Err(SsoError::NoSuchCode),
        };
        if !store.swap_record(RecordKind::LoginCode, code, Some(&body), None).await? {
            return Err(SsoError::NoSuchCode);
        }
        let kept: LoginCode = read(RecordKind::LoginCode, code, &body)?;
        let is_own = kept.challenge == BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        if !is_own || kept.external.provider != provider || kept.is_over(Timestamp::now()) {
            return Err(SsoError::NoSuchCode);
        }
        let user = store.user(&kept.username).await?.filter(|user| !user.disabled && user.stamp == kept.stamp);
        let user = user.ok_or(SsoError::NoSuchCode)?;
        Ok(self.auth.begin_with(&user, origin, Some(kept.external)).await?)
    }
}
