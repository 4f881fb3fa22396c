//! Why a caller is not let in, and why a change of users and keys is refused.

use std::time::Duration;

use kea_core::port::StoreError;

use crate::users::{PASSWORD_MAX, PASSWORD_MIN};

/// Why a caller is not let in, or could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There is no `Authorization` header.
    #[error("no token was sent")]
    Missing,
    /// The `Authorization` header is not `Bearer TOKEN`, or there are several.
    #[error("the authorization header is not `Bearer TOKEN`")]
    Malformed,
    /// The token was good, and has ended.
    #[error("the token has expired")]
    Expired,
    /// The token was not issued by this KEA, or was changed.
    #[error("the token is not one of this server's")]
    Invalid,
    /// The session was ended, or its user is disabled or gone.
    #[error("the session has been ended")]
    Revoked,
    /// A cookie came without what shows that a page of this server sent it.
    #[error("the cookie was not sent by a page of this server")]
    CrossSite,
    /// The token is one of a trusted issuer's, and good, but for nobody here.
    #[error("the token is not taken: {0}")]
    ForNobody(String),
    /// There is no such API key, or its owner is disabled or gone.
    #[error("the API key is not one of this server's")]
    InvalidKey,
    /// The API key was good, and has ended.
    #[error("the API key has expired")]
    ExpiredKey,
    /// There is no such user, or the password is another; which of the two is not told.
    #[error("username or password is wrong")]
    WrongCredentials,
    /// The password is longer than any that is kept.
    #[error("the password has more than {limit} bytes")]
    PasswordTooLong {
        /// Most bytes.
        limit: usize,
    },
    /// Too many attempts to log in.
    #[error("too many attempts to log in; the next one is taken in {} s", .retry_after.as_secs_f64().ceil())]
    Throttled {
        /// How long to wait before the next attempt.
        retry_after: Duration,
    },
    /// The user store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a change of users and keys is refused.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no such user.
    #[error("there is no user `{0}`")]
    NoUser(String),
    /// There is one of that name.
    #[error("there is a user `{0}` already")]
    UserExists(String),
    /// Nobody could administer any more.
    #[error(
        "`{0}` is the last enabled user with the role `{role}`: give that to somebody else first",
        role = crate::ADMIN_ROLE
    )]
    LastAdmin(String),
    /// A password, for somebody who has none.
    #[error("`{0}` logs in by single sign-on, and has no password here")]
    NoPassword(String),
    /// A disabled user of a provider is to be removed.
    #[error(
        "`{0}` is disabled, and logs in by single sign-on: once removed they are not known here any more, and could log in \
         again; leave them disabled, or enable them first"
    )]
    WouldComeBack(String),
    /// A new password is too short.
    #[error("a password has at least {PASSWORD_MIN} characters")]
    PasswordTooShort,
    /// A new password is too long.
    #[error("a password has at most {PASSWORD_MAX} bytes")]
    PasswordTooLong,
    /// A key would have more roles than its owner.
    #[error("`{username}` does not have the role `{role}`, and so cannot give it to a key")]
    RoleNotHeld {
        /// The owner.
        username: String,
        /// The role.
        role: String,
    },
    /// A key would end before it is made.
    #[error("the time at which the key is to end is over already")]
    InThePast,
    /// The caller is not let in.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
