//! Why a caller is not let in.

use std::time::Duration;

use kea_core::port::StoreError;

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
    /// There is no such user, or the password is another; which of the two is not told.
    #[error("username or password is wrong")]
    WrongCredentials,
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
