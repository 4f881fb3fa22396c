//! Logging in, and knowing who sent a request.

use std::{sync::Arc, time::Duration};

use argon2::Params;
use http::HeaderMap;
use jiff::Timestamp;
use kea_core::port::{StoreError, User, UserStore};
use moka::sync::Cache;

use crate::{
    AuthError, Caller, Session, bearer,
    passwords::{self, Passwords},
    throttle::Throttle,
    tokens::{Tokens, Verified, random_text},
};

/// Name of the user that there is from the start.
pub const ADMIN_USERNAME: &str = "admin";

/// Name of the role that may do everything.
pub const ADMIN_ROLE: &str = "admin";

/// Verified tokens that are kept: about 1 KiB each.
const KEPT_TOKENS: u64 = 10_000;

/// Length of a password that is made: more than 100 bits.
const MADE_PASSWORD: usize = 20;

/// Bytes of a username that are logged.
const LOGGED_NAME: usize = 64;

/// Checks who callers are. One for a process; share it behind an `Arc`.
pub struct Authenticator {
    users: Arc<dyn UserStore>,
    passwords: Passwords,
    throttle: Throttle,
    pub(crate) tokens: Tokens,
    verified: Cache<Box<str>, Verified>,
}

impl Authenticator {
    /// An authenticator of `users`, whose sessions last for `ttl` (whole seconds). Reads the signing key from the
    /// store, or makes one and keeps it there.
    ///
    /// # Errors
    /// [`AuthError::Store`] where the store fails or the kept key cannot be read.
    pub async fn new(users: Arc<dyn UserStore>, ttl: Duration) -> Result<Self, AuthError> {
        Self::with_hashing(users, ttl, passwords::price()).await
    }

    pub(crate) async fn with_hashing(
        users: Arc<dyn UserStore>,
        ttl: Duration,
        params: Params,
    ) -> Result<Self, AuthError> {
        let tokens = Tokens::load(&*users, ttl).await?;
        let passwords = Passwords::new(params);
        let verified = Cache::builder().max_capacity(KEPT_TOKENS).build();
        Ok(Self { users, passwords, throttle: Throttle::new(), tokens, verified })
    }

    /// Makes the user `admin` where there are no users yet, with `password`, or where that is not given (or empty)
    /// with one that is made and returned, to be shown once. An existing user is never changed.
    ///
    /// # Errors
    /// [`AuthError::Store`].
    #[tracing::instrument(skip_all)]
    pub async fn ensure_admin(&self, password: Option<&str>) -> Result<Option<String>, AuthError> {
        if self.users.user_count().await? > 0 {
            return Ok(None);
        }
        let given = password.filter(|password| !password.is_empty());
        let made = given.is_none().then(|| random_text(MADE_PASSWORD));
        let password = given.or(made.as_deref()).expect("one of them is there");
        let password_hash = self.passwords.hash(password.into()).await?;
        let admin = User { username: ADMIN_USERNAME.into(), password_hash, roles: vec![ADMIN_ROLE.into()] };
        // Hashing takes a while, in which another process on the same store may have been faster.
        if !self.users.add_user(&admin).await? {
            return Ok(None);
        }
        tracing::info!(username = ADMIN_USERNAME, "made the first user");
        Ok(made)
    }

    /// Exchanges a password for a session. Takes as long for a user that does not exist.
    ///
    /// # Errors
    /// [`AuthError::WrongCredentials`], [`AuthError::Throttled`], [`AuthError::Store`].
    #[tracing::instrument(skip_all)]
    pub async fn login(&self, username: &str, password: &str) -> Result<Session, AuthError> {
        let logged = &username[..username.floor_char_boundary(LOGGED_NAME)];
        let attempt = self.throttle.attempt(username).await.inspect_err(|error| {
            tracing::warn!(username = logged, "login refused: {error}");
        })?;
        match self.user_with(username, password).await? {
            Some(user) => {
                attempt.succeeded();
                tracing::info!(username = logged, "logged in");
                Ok(self.tokens.issue(&user, Timestamp::now()))
            }
            None => {
                attempt.failed();
                tracing::warn!(username = logged, "login refused: wrong username or password");
                Err(AuthError::WrongCredentials)
            }
        }
    }

    async fn user_with(&self, username: &str, password: &str) -> Result<Option<User>, StoreError> {
        let user = self.users.user(username).await?;
        let hash = user.as_ref().map(|user| user.password_hash.as_str());
        let verified = self.passwords.verify(username, hash, password).await?;
        Ok(user.filter(|_| verified))
    }

    /// Who sent a request with these headers: reads `Authorization: Bearer TOKEN`. A token that was seen before costs
    /// a look into a map; its end is looked at every time.
    ///
    /// # Errors
    /// [`AuthError::Missing`], [`AuthError::Malformed`], [`AuthError::Invalid`], [`AuthError::Expired`].
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        self.authenticate_at(headers, Timestamp::now().as_second())
    }

    /// The same at another time, in seconds since 1970.
    pub(crate) fn authenticate_at(&self, headers: &HeaderMap, now: i64) -> Result<Caller, AuthError> {
        let token = bearer::token(headers)?;
        if let Some(verified) = self.verified.get(token) {
            return verified.at(now);
        }
        let verified = self.tokens.verify(token)?;
        let caller = verified.clone().at(now)?;
        self.verified.insert(token.into(), verified);
        Ok(caller)
    }
}
