//! Sessions: begun by a login, carried on by refresh tokens that are used once, ended one by one or all.

use std::net::IpAddr;

use jiff::Timestamp;
use kea_core::{
    management::SessionInfo,
    port::{IdentityStore, Record, RecordKind, StoreError, User},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    AuthError, Authenticator, Session,
    snapshot::{Revoked, read, write},
    sso::LoginCode,
    tokens::{Subject, end_of, issue, random_text},
};

/// Letters of a session's identifier.
const ID_LETTERS: usize = 22;

/// How long the predecessor of a refresh token may be repeated. A client whose answer was lost on the way, and two
/// commands or tabs that refresh at once, would otherwise be taken for a thief. It gets the same successor, so that
/// nothing branches off. A thief who is that quick would have had the token before its owner as well.
pub(crate) const GRACE_SECONDS: i64 = 10;

/// Seconds by which a revoked session is remembered for longer than its tokens last, for clocks that are apart.
const REMEMBERED: i64 = 60;

/// Bytes of a user agent that are kept.
const AGENT_MAX: usize = 200;

/// Longest ID token of a provider that is kept. A logout answers it in a header, and proxies have room for 4 KiB of those.
const ID_TOKEN_MAX: usize = 2048;

/// Longest refresh token that is looked at; those that are issued have 87 letters.
const REFRESH_MAX: usize = 128;

/// Tries of a change that another process overtook.
const TRIES: usize = 8;

/// Where a login comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The address of the connection's other end.
    pub address: IpAddr,
    /// What the client calls itself.
    pub user_agent: Option<String>,
}

/// A session as the store keeps it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionRecord {
    username: String,
    stamp: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    used_at: Timestamp,
    ended_at: Option<Timestamp>,
    address: String,
    user_agent: Option<String>,
    /// SHA-256 of the refresh token that is next, in hexadecimal. The token has more than 256 random bits: a hash that
    /// is slow on purpose would protect nothing more.
    refresh: String,
    previous: Option<Previous>,
    /// The provider's session beside it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external: Option<ExternalSession>,
}

/// The session that a login by a provider has there, too.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExternalSession {
    pub(crate) provider: String,
    /// What it is ended with; `None` where that is too long to be kept.
    pub(crate) id_token: Option<String>,
}

impl ExternalSession {
    pub(crate) fn new(provider: &str, id_token: String) -> Self {
        Self { provider: provider.into(), id_token: Some(id_token).filter(|token| token.len() <= ID_TOKEN_MAX) }
    }
}

/// The refresh token before, and what makes the next one of it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Previous {
    hash: String,
    salt: String,
    used_at: Timestamp,
}

impl SessionRecord {
    fn is_live(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now < self.expires_at
    }

    fn info(self, id: String, current: Option<&str>) -> SessionInfo {
        SessionInfo {
            is_current: current == Some(id.as_str()),
            id,
            username: self.username,
            created_at: self.created_at,
            used_at: self.used_at,
            expires_at: self.expires_at,
            address: self.address,
            user_agent: self.user_agent,
        }
    }
}

/// What a refresh token asks of its session.
enum Turn {
    /// It is the next one: it is used up, and has a successor.
    Next(Box<SessionRecord>, String),
    /// It was used a moment ago: its successor is told again.
    Again(String),
    /// It was used before: somebody has a copy.
    Replayed,
}

impl Authenticator {
    /// Begins a session of a user whose password was right.
    pub(crate) async fn begin(&self, user: &User, origin: &Origin) -> Result<Session, AuthError> {
        self.begin_with(user, origin, None).await
    }

    /// Begins a session of a user who is known, by a password or by a provider.
    pub(crate) async fn begin_with(
        &self,
        user: &User,
        origin: &Origin,
        external: Option<ExternalSession>,
    ) -> Result<Session, AuthError> {
        let now = Timestamp::now();
        let (id, refresh) = (random_text(ID_LETTERS), secret());
        let agent = origin.user_agent.as_deref().map(|agent| agent[..agent.floor_char_boundary(AGENT_MAX)].to_owned());
        let session = SessionRecord {
            username: user.username.clone(),
            stamp: user.stamp.clone(),
            created_at: now,
            expires_at: end_of(now, self.settings.session_ttl),
            used_at: now,
            ended_at: None,
            address: origin.address.to_string(),
            user_agent: agent,
            refresh: hash(&refresh),
            previous: None,
            external,
        };
        self.store.swap_record(RecordKind::Session, &id, None, Some(&write(&session))).await?;
        if !self.snapshot.load().knows(user) {
            // Another process has made or changed the user a moment ago.
            self.reload().await?;
        }
        Ok(self.tokens_of(&id, &session, &refresh, user, now))
    }

    /// Exchanges a refresh token for new tokens. It is used up by that; where it comes again, somebody has a copy, and
    /// the session ends.
    ///
    /// # Errors
    /// [`AuthError::Revoked`], [`AuthError::Invalid`], [`AuthError::Store`].
    #[tracing::instrument(skip_all)]
    pub async fn refresh(&self, token: &str) -> Result<Session, AuthError> {
        let (id, secret) = parse(token).ok_or(AuthError::Invalid)?;
        for _ in 0..TRIES {
            let now = Timestamp::now();
            let body = self.store.record(RecordKind::Session, id).await?.ok_or(AuthError::Revoked)?;
            let session: SessionRecord = read(RecordKind::Session, id, &body)?;
            let user = self.user_of(id, &session, now).await?;
            let (session, next) = match turn(&session, secret, now) {
                Turn::Again(next) => (session, next),
                Turn::Replayed => {
                    tracing::warn!(username = session.username, session = id, "a refresh token came twice");
                    self.end(id).await?;
                    return Err(AuthError::Revoked);
                }
                Turn::Next(after, next) => {
                    let (before, after_body) = (Some(body.as_str()), write(&after));
                    if !self.store.swap_record(RecordKind::Session, id, before, Some(&after_body)).await? {
                        continue;
                    }
                    (*after, next)
                }
            };
            return Ok(self.tokens_of(id, &session, &next, &user, now));
        }
        Err(busy("the session"))
    }

    /// The user of a session that can go on.
    async fn user_of(&self, id: &str, session: &SessionRecord, now: Timestamp) -> Result<User, AuthError> {
        let user = self.store.user(&session.username).await?;
        let user = user.filter(|user| !user.disabled && user.stamp == session.stamp).ok_or(AuthError::Revoked)?;
        let goes_on = session.is_live(now) && !self.snapshot.load().is_revoked(id);
        if goes_on { Ok(user) } else { Err(AuthError::Revoked) }
    }

    fn tokens_of(&self, id: &str, session: &SessionRecord, refresh: &str, user: &User, now: Timestamp) -> Session {
        let expires_at = end_of(now, self.settings.token_ttl).min(session.expires_at);
        let subject = Subject { username: &user.username, session: id, stamp: &user.stamp };
        Session {
            token: issue(&self.snapshot.load().ring, &subject, now, expires_at),
            expires_at,
            refresh_token: format!("{id}.{refresh}"),
            session_expires_at: session.expires_at,
            username: user.username.clone(),
            roles: user.all_roles(),
        }
    }

    /// Sessions that go on, of one user or of all, the latest first. `current` is the caller's own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sessions(
        &self,
        username: Option<&str>,
        current: Option<&str>,
    ) -> Result<Vec<SessionInfo>, StoreError> {
        let now = Timestamp::now();
        let users = self.store.users().await?;
        let mut infos = Vec::new();
        for Record { id, body } in self.store.records(RecordKind::Session).await? {
            let session: SessionRecord = read(RecordKind::Session, &id, &body)?;
            let is_users = users.iter().any(|user| user.username == session.username && user.stamp == session.stamp);
            if is_users && session.is_live(now) && username.is_none_or(|username| username == session.username) {
                infos.push(session.info(id, current));
            }
        }
        infos.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        Ok(infos)
    }

    /// Whose session that is; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn session_owner(&self, id: &str) -> Result<Option<String>, StoreError> {
        if !is_id(id) {
            return Ok(None);
        }
        let Some(body) = self.store.record(RecordKind::Session, id).await? else { return Ok(None) };
        read::<SessionRecord>(RecordKind::Session, id, &body).map(|session| Some(session.username))
    }

    /// The provider's session beside that one.
    pub(crate) async fn external_session(&self, id: &str) -> Result<Option<ExternalSession>, StoreError> {
        let Some(body) = self.store.record(RecordKind::Session, id).await? else { return Ok(None) };
        read::<SessionRecord>(RecordKind::Session, id, &body).map(|session| session.external)
    }

    /// Ends a session: it is not carried on, and its tokens are refused from the return of this call on, by other
    /// processes on the same store within about a second. Ending it again changes nothing.
    ///
    /// # Errors
    /// [`AuthError::Store`]; it is to be ended again then.
    pub async fn end(&self, id: &str) -> Result<(), AuthError> {
        self.mark_ended(id).await?;
        let until = end_of(Timestamp::now(), self.settings.token_ttl).as_second().saturating_add(REMEMBERED);
        let body = write(&Revoked { until });
        self.store.swap_record(RecordKind::RevokedSession, id, None, Some(&body)).await?;
        Ok(self.reload().await?)
    }

    async fn mark_ended(&self, id: &str) -> Result<(), AuthError> {
        for _ in 0..TRIES {
            let Some(before) = self.store.record(RecordKind::Session, id).await? else { return Ok(()) };
            let mut session: SessionRecord = read(RecordKind::Session, id, &before)?;
            session.ended_at.get_or_insert_with(Timestamp::now);
            let after = write(&session);
            if self.store.swap_record(RecordKind::Session, id, Some(&before), Some(&after)).await? {
                return Ok(());
            }
        }
        Err(busy("the session"))
    }

    /// Forgets sessions that have ended, and that they were ended once their last token has.
    pub(crate) async fn forget_sessions(&self, now: Timestamp) -> Result<(), StoreError> {
        let kept = self.settings.token_ttl + std::time::Duration::from_secs(REMEMBERED.unsigned_abs());
        let users = self.store.users().await?;
        forget::<SessionRecord>(&*self.store, RecordKind::Session, |session| {
            let ended = session.ended_at.unwrap_or(session.expires_at).min(session.expires_at);
            let is_users = users.iter().any(|user| user.username == session.username && user.stamp == session.stamp);
            end_of(ended, kept) < now || !is_users
        })
        .await?;
        forget::<LoginCode>(&*self.store, RecordKind::LoginCode, |code| code.is_over(now)).await?;
        forget::<Revoked>(&*self.store, RecordKind::RevokedSession, |revoked| revoked.until < now.as_second()).await
    }
}

async fn forget<T: for<'a> Deserialize<'a>>(
    store: &dyn IdentityStore,
    kind: RecordKind,
    is_over: impl Fn(T) -> bool,
) -> Result<(), StoreError> {
    for Record { id, body } in store.records(kind).await? {
        if is_over(read(kind, &id, &body)?) {
            store.swap_record(kind, &id, Some(&body), None).await?;
        }
    }
    Ok(())
}

fn turn(session: &SessionRecord, secret: &str, now: Timestamp) -> Turn {
    let given = hash(secret);
    if given == session.refresh {
        let salt = self::secret();
        let next = successor(&salt, secret);
        let previous = Some(Previous { hash: given, salt, used_at: now });
        let after = SessionRecord { refresh: hash(&next), previous, used_at: now, ..session.clone() };
        return Turn::Next(Box::new(after), next);
    }
    let again = session.previous.as_ref().filter(|previous| {
        let since = now.as_second().saturating_sub(previous.used_at.as_second());
        previous.hash == given && since <= GRACE_SECONDS
    });
    again.map_or(Turn::Replayed, |previous| Turn::Again(successor(&previous.salt, secret)))
}

/// The next refresh token: made of the one before and of a secret of the server's, so that the same comes again where
/// that is repeated, and neither of the two is enough to know it.
fn successor(salt: &str, secret: &str) -> String {
    hash(&format!("{salt}.{secret}"))
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

fn secret() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

fn parse(token: &str) -> Option<(&str, &str)> {
    let parts = (token.len() <= REFRESH_MAX).then(|| token.split_once('.')).flatten();
    parts.filter(|(id, _)| is_id(id))
}

/// Whether it could be the identifier of a record: nothing else is asked for.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

pub(crate) fn busy(what: &str) -> AuthError {
    StoreError::Unavailable(format!("{what} is being changed by others all the time")).into()
}
