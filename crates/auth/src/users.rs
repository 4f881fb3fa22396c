//! Administration of users: each change is made on the state that it was decided on, so that what must hold of all
//! users together (somebody can still administer) holds also where two processes change two users at once.

use kea_core::{
    management::{UserChange, UserInfo, UserRequest},
    port::{StoreError, User},
};

use jiff::Timestamp;

use crate::{ADMIN_ROLE, AuthError, Authenticator, IdentityError, Origin, Session, tokens::random_text};

/// Fewest characters of a password that somebody chooses.
pub(crate) const PASSWORD_MIN: usize = 8;

/// Most bytes of a password: it is hashed whole, and nobody types more.
pub(crate) const PASSWORD_MAX: usize = 1024;

/// Letters of a user's identifier and of a stamp.
const ID_LETTERS: usize = 22;

/// Tries of a change that another one overtook.
const TRIES: usize = 8;

/// A user as there is none yet.
pub(crate) fn new_user(username: &str, password_hash: String, roles: Vec<String>) -> User {
    User {
        username: username.into(),
        password_hash,
        roles,
        disabled: false,
        id: random_text(ID_LETTERS),
        stamp: random_text(ID_LETTERS),
        created_at: Timestamp::now(),
        external: None,
    }
}

impl Authenticator {
    /// All users, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn users(&self) -> Result<Vec<UserInfo>, StoreError> {
        Ok(self.store.users().await?.into_iter().map(info).collect())
    }

    /// One user.
    ///
    /// # Errors
    /// [`IdentityError::NoUser`], and that of the store.
    pub async fn user(&self, username: &str) -> Result<UserInfo, IdentityError> {
        let user = self.store.user(username).await?;
        user.map(info).ok_or_else(|| IdentityError::NoUser(username.into()))
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`IdentityError::UserExists`], one of the password's, or that of the store.
    pub async fn create_user(&self, request: UserRequest) -> Result<UserInfo, IdentityError> {
        let UserRequest { username, password, roles } = request;
        check_password(&password)?;
        let password_hash = self.passwords.hash(password).await?;
        let roles = roles.into_iter().map(String::from).collect();
        let user = new_user(username.as_str(), password_hash, roles);
        if !self.store.add_user(&user).await? {
            return Err(IdentityError::UserExists(username.into()));
        }
        self.reload().await?;
        tracing::info!(username = user.username, "made a user");
        Ok(info(user))
    }

    /// Changes what is named of a user. A new password ends all of their sessions, as disabling them does; their API
    /// keys are refused while they are disabled.
    ///
    /// # Errors
    /// [`IdentityError::NoUser`], [`IdentityError::LastAdmin`], [`IdentityError::NoPassword`], one of the password's, or
    /// that of the store.
    pub async fn change_user(&self, username: &str, change: UserChange) -> Result<UserInfo, IdentityError> {
        let UserChange { roles, disabled, password } = change;
        let password_hash = match password {
            Some(password) => {
                check_password(&password)?;
                Some(self.passwords.hash(password).await?)
            }
            None => None,
        };
        let roles = roles.map(|roles| roles.into_iter().map(String::from).collect::<Vec<_>>());
        let changed = self.edit_user(username, |mut user| {
            if password_hash.is_some() && user.external.is_some() {
                return Err(IdentityError::NoPassword(username.into()));
            }
            let ends_sessions = password_hash.is_some() || disabled == Some(true);
            user.stamp = if ends_sessions { random_text(ID_LETTERS) } else { user.stamp };
            user.password_hash = password_hash.clone().unwrap_or(user.password_hash);
            user.roles = roles.clone().unwrap_or(user.roles);
            user.disabled = disabled.unwrap_or(user.disabled);
            Ok(Some(user))
        });
        let user = changed.await?.ok_or_else(|| IdentityError::NoUser(username.into()))?;
        tracing::info!(username, "changed a user");
        Ok(info(user))
    }

    /// Removes a user with their API keys; their sessions end.
    ///
    /// # Errors
    /// [`IdentityError::NoUser`], [`IdentityError::LastAdmin`], [`IdentityError::WouldComeBack`], or that of the store.
    pub async fn delete_user(&self, username: &str) -> Result<(), IdentityError> {
        let removed = |user: User| match user.disabled && user.external.is_some() {
            true => Err(IdentityError::WouldComeBack(user.username)),
            false => Ok(None),
        };
        self.edit_user(username, removed).await?;
        // Without their owner they are refused already.
        for key in self.api_keys(Some(username)).await? {
            self.revoke_key(&key.id).await?;
        }
        tracing::info!(username, "removed a user");
        Ok(())
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// [`IdentityError::NoUser`], or that of the store.
    pub async fn end_all(&self, username: &str) -> Result<(), IdentityError> {
        let ended = self.edit_user(username, |user| Ok(Some(User { stamp: random_text(ID_LETTERS), ..user })));
        ended.await.map(drop)
    }

    /// Changes a user's own password, which ends all of their sessions, and begins a new one.
    ///
    /// # Errors
    /// [`IdentityError::Auth`] where the old password is wrong or was tried too often, one of the new password's, or
    /// that of the store.
    pub async fn change_password(
        &self,
        username: &str,
        old: &str,
        new: String,
        origin: &Origin,
    ) -> Result<Session, IdentityError> {
        check_password(&new)?;
        let known = self.check(username, old, origin).await?;
        let password_hash = self.passwords.hash(new).await?;
        let changed = self.edit_user(username, |user| {
            // It may have been changed by another since it was checked.
            let still = user.password_hash == known.password_hash && !user.disabled;
            let stamp = random_text(ID_LETTERS);
            let after = || Some(User { password_hash: password_hash.clone(), stamp, ..user });
            still.then(after).ok_or(IdentityError::Auth(AuthError::WrongCredentials))
        });
        let user = changed.await?.ok_or(AuthError::WrongCredentials)?;
        tracing::info!(username, "changed their password");
        Ok(self.begin(&user, origin).await?)
    }

    /// Replaces a user by what `edit` makes of them, or removes them.
    async fn edit_user(
        &self,
        username: &str,
        edit: impl Fn(User) -> Result<Option<User>, IdentityError>,
    ) -> Result<Option<User>, IdentityError> {
        for _ in 0..TRIES {
            let seen = self.store.revision().await?;
            let users = self.store.users().await?;
            let before = users.iter().find(|user| user.username == username);
            let before = before.ok_or_else(|| IdentityError::NoUser(username.into()))?;
            let after = edit(before.clone())?;
            keeps_an_admin(&users, username, after.as_ref())?;
            if self.store.change_user(username, after.as_ref(), &seen).await? {
                self.reload().await?;
                return Ok(after);
            }
        }
        Err(IdentityError::Store(StoreError::Unavailable("users are being changed by others all the time".into())))
    }
}

/// Whoever is the last to administer stays so. Those of a provider are not counted: it may be down, or gone.
fn keeps_an_admin(users: &[User], username: &str, after: Option<&User>) -> Result<(), IdentityError> {
    let is_admin =
        |user: &User| user.external.is_none() && !user.disabled && user.roles.iter().any(|role| role == ADMIN_ROLE);
    let others = users.iter().filter(|user| user.username != username);
    let remains = others.chain(after).any(is_admin);
    if remains || !users.iter().any(is_admin) { Ok(()) } else { Err(IdentityError::LastAdmin(username.into())) }
}

fn check_password(password: &str) -> Result<(), IdentityError> {
    if password.chars().count() < PASSWORD_MIN {
        return Err(IdentityError::PasswordTooShort);
    }
    if password.len() > PASSWORD_MAX { Err(IdentityError::PasswordTooLong) } else { Ok(()) }
}

fn info(user: User) -> UserInfo {
    let roles = user.all_roles();
    let User { username, disabled, created_at, external, .. } = user;
    let (provider, groups) = external.map(|external| (external.provider, external.groups)).unzip();
    UserInfo { username, provider, roles, groups: groups.unwrap_or_default(), disabled, created_at }
}
