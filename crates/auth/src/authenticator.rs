//! Logging in, and knowing who sent a request.

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, ArcSwapOption};
use argon2::Params;
use foldhash::quality::RandomState;
use http::HeaderMap;
use jiff::Timestamp;
use kea_core::{
    management::PublicKey,
    port::{IdentityStore, StoreError, User},
};
use moka::sync::Cache;

use crate::{
    AuthError, Caller, Origin, Session, api_keys,
    credential::{self, Credential},
    external::Foreign,
    oidc::TrustedIssuers,
    passwords::{self, Passwords},
    signing,
    snapshot::Snapshot,
    throttle::Throttle,
    tokens::{self, Verified, random_text},
    users::{PASSWORD_MAX, new_user},
};

/// Name of the user that there is from the start.
pub const ADMIN_USERNAME: &str = "admin";

/// Name of the role that may do everything.
pub const ADMIN_ROLE: &str = "admin";

/// Name of the role that sees what all users do, and ends their sessions.
pub const SECURITY_ROLE: &str = "security";

/// Verified tokens that are kept: about 1 KiB each.
const KEPT_TOKENS: u64 = 10_000;

/// How long a provider's token that was verified is believed, before its signature is looked at again: its key may have
/// been taken back.
const FOREIGN_KEPT: Duration = Duration::from_secs(60);

/// Length of a password that is made: more than 100 bits.
const MADE_PASSWORD: usize = 20;

/// Bytes of a username that are logged.
const LOGGED_NAME: usize = 64;

/// How long what the Authenticator gives out lasts.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// An access token, in whole seconds.
    pub token_ttl: Duration,
    /// A session, in whole seconds: until then it is carried on by refresh tokens.
    pub session_ttl: Duration,
    /// A signing key, before a new one takes its place.
    pub key_rotation: Duration,
}

impl Default for AuthSettings {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Self { token_ttl: Duration::from_secs(15 * 60), session_ttl: hours(12), key_rotation: hours(30 * 24) }
    }
}

/// Checks who callers are. One for a process; share it behind an `Arc`, and let [`tend`](Self::tend) run beside it.
pub struct Authenticator {
    pub(crate) store: Arc<dyn IdentityStore>,
    pub(crate) settings: AuthSettings,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Throttle,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// One reads the store at a time, so that what is older never replaces what is newer.
    reloading: tokio::sync::Mutex<()>,
    pub(crate) verified: Cache<Box<str>, Verified, RandomState>,
    /// Providers whose own tokens are taken, and those of their tokens that are verified.
    pub(crate) issuers: TrustedIssuers,
    pub(crate) foreign: Cache<Box<str>, Arc<Foreign>>,
    /// Issuers of the providers by which people log in here; `None` before anybody has said which.
    pub(crate) providers: ArcSwapOption<Vec<String>>,
}

impl Authenticator {
    /// An authenticator of the users of `store`. Reads the signing keys from it, or makes one and keeps it there.
    ///
    /// # Errors
    /// [`AuthError::Store`] where the store fails or what it keeps cannot be read.
    pub async fn new(store: Arc<dyn IdentityStore>, settings: AuthSettings) -> Result<Self, AuthError> {
        Self::with_hashing(store, settings, passwords::price()).await
    }

    pub(crate) async fn with_hashing(
        store: Arc<dyn IdentityStore>,
        settings: AuthSettings,
        params: Params,
    ) -> Result<Self, AuthError> {
        let snapshot = ArcSwap::from_pointee(Snapshot::load(&*store, None, None).await?);
        let passwords = Passwords::new(params);
        let verified = Cache::builder().max_capacity(KEPT_TOKENS).build_with_hasher(RandomState::default());
        let (throttle, reloading) = (Throttle::new(), tokio::sync::Mutex::default());
        let foreign = Cache::builder().max_capacity(KEPT_TOKENS).time_to_live(FOREIGN_KEPT).build();
        let (issuers, providers) = (TrustedIssuers::default(), ArcSwapOption::empty());
        Ok(Self { store, settings, passwords, throttle, snapshot, reloading, verified, issuers, foreign, providers })
    }

    /// Takes tokens of these issuers in place of KEA's own.
    pub fn trusting(self, issuers: TrustedIssuers) -> Self {
        Self { issuers, ..self }
    }

    /// Makes the user `admin` where there are no users yet, with `password`, or where that is not given (or empty)
    /// with one that is made and returned, to be shown once. An existing user is never changed.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    #[tracing::instrument(skip_all)]
    pub async fn ensure_admin(&self, password: Option<&str>) -> Result<Option<String>, AuthError> {
        if self.store.user_count().await? > 0 {
            return Ok(None);
        }
        let given = password.filter(|password| !password.is_empty());
        let made = given.is_none().then(|| random_text(MADE_PASSWORD));
        let password = given.or(made.as_deref()).expect("one of them is there");
        let password_hash = self.passwords.hash(password.into()).await?;
        let admin = new_user(ADMIN_USERNAME, password_hash, vec![ADMIN_ROLE.into()]);
        // Hashing takes a while, in which another process on the same store may have been faster.
        let was_first = self.store.add_user(&admin).await?;
        self.reload().await?;
        if !was_first {
            return Ok(None);
        }
        tracing::info!(username = ADMIN_USERNAME, "made the first user");
        Ok(made)
    }

    /// Exchanges a password for a session. Takes as long for a user that does not exist.
    ///
    /// # Errors
    /// [`AuthError::WrongCredentials`], [`AuthError::Throttled`], [`AuthError::PasswordTooLong`],
    /// [`AuthError::Store`].
    #[tracing::instrument(skip_all)]
    pub async fn login(&self, username: &str, password: &str, origin: &Origin) -> Result<Session, AuthError> {
        let user = self.check(username, password, origin).await?;
        tracing::info!(username = user.username, "logged in");
        self.begin(&user, origin).await
    }

    /// The user with this password, who may log in.
    pub(crate) async fn check(&self, username: &str, password: &str, origin: &Origin) -> Result<User, AuthError> {
        if password.len() > PASSWORD_MAX {
            return Err(AuthError::PasswordTooLong { limit: PASSWORD_MAX });
        }
        let logged = &username[..username.floor_char_boundary(LOGGED_NAME)];
        let attempt = self.throttle.attempt(username, origin.address).await.inspect_err(|error| {
            tracing::warn!(username = logged, address = %origin.address, "login refused: {error}");
        })?;
        match self.user_with(username, password).await? {
            Some(user) => {
                attempt.succeeded();
                Ok(user)
            }
            None => {
                attempt.failed();
                tracing::warn!(
                    username = logged,
                    address = %origin.address,
                    "login refused: wrong username or password"
                );
                Err(AuthError::WrongCredentials)
            }
        }
    }

    async fn user_with(&self, username: &str, password: &str) -> Result<Option<User>, StoreError> {
        let user = self.store.user(username).await?;
        // Whom a provider knows has no password here.
        let local = user.as_ref().filter(|user| user.external.is_none());
        let hash = local.map(|user| user.password_hash.as_str());
        let verified = self.passwords.verify(username, hash, password).await?;
        // Whoever is disabled is told what a stranger is told, after the same work.
        Ok(user.filter(|user| verified && !user.disabled))
    }

    /// Who sent a request with these headers: an access token (KEA's own, or one of an issuer that is trusted; see
    /// [`hear`](Self::hear)) or an API key in `Authorization: Bearer …`, an API key in
    /// `x-api-key`, or a browser's cookie. A token that was seen before costs some looks into maps; its end, its
    /// session and its user are looked at every time.
    ///
    /// # Errors
    /// [`AuthError::Missing`], [`AuthError::Malformed`], [`AuthError::Invalid`], [`AuthError::Expired`],
    /// [`AuthError::Revoked`], [`AuthError::CrossSite`], [`AuthError::ForNobody`], [`AuthError::InvalidKey`],
    /// [`AuthError::ExpiredKey`].
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        self.authenticate_at(headers, Timestamp::now().as_second())
    }

    /// The same at another time, in seconds since 1970.
    pub(crate) fn authenticate_at(&self, headers: &HeaderMap, now: i64) -> Result<Caller, AuthError> {
        match credential::of(headers)? {
            Credential::Token(token) => self.caller_of(token, now),
            Credential::Key(key) => api_keys::authenticate(&self.snapshot.load(), key, now),
        }
    }

    /// Who goes to a page in a browser, by the cookie alone. Only for pages that are the same for all who see them: a
    /// page of another site can lead a browser there.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate).
    pub fn visitor(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        let token = credential::cookie(headers, credential::ACCESS_COOKIE).ok_or(AuthError::Missing)?;
        self.caller_of(token, Timestamp::now().as_second())
    }

    fn caller_of(&self, token: &str, now: i64) -> Result<Caller, AuthError> {
        let snapshot = self.snapshot.load();
        if let Some(verified) = self.verified.get(token) {
            verified.check_time(now)?;
            return snapshot.caller(&verified);
        }
        let verified = match tokens::verify(&snapshot.ring, token) {
            Err(AuthError::Invalid) if !self.issuers.is_empty() => return self.foreign_caller(token, now),
            other => other?,
        };
        verified.check_time(now)?;
        let caller = snapshot.caller(&verified)?;
        self.verified.insert(token.into(), verified);
        Ok(caller)
    }

    /// The public keys by which others check tokens, newest first.
    pub fn public_keys(&self) -> Vec<PublicKey> {
        self.snapshot.load().ring.public()
    }

    /// Makes a new signing key and returns its identifier. It is published at once and signs some seconds later; those
    /// before it verify what they signed until that has ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rotate_keys(&self) -> Result<String, StoreError> {
        let id = signing::rotate(&*self.store, Timestamp::now()).await?;
        tracing::info!(key = id, "made a new signing key");
        self.reload().await?;
        Ok(id)
    }

    /// Holds requests against the store as it is now, from the return of this call on.
    pub(crate) async fn reload(&self) -> Result<(), StoreError> {
        let _turn = self.reloading.lock().await;
        let before = self.snapshot.load_full();
        let providers = self.providers.load_full();
        let fresh = Snapshot::load(&*self.store, Some(&before), providers.as_deref().map(Vec::as_slice)).await?;
        self.snapshot.store(Arc::new(fresh));
        Ok(())
    }

    /// The same where the store has changed since.
    pub(crate) async fn follow(&self) -> Result<(), StoreError> {
        let revision = self.store.revision().await?;
        if revision == self.snapshot.load().revision { Ok(()) } else { self.reload().await }
    }
}
