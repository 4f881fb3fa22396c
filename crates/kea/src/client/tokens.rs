//! The token that a client sends: as it was given, or that of a saved login, which is renewed when it has ended.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kea_core::management::{BASE_PATH, LoginResponse, RefreshRequest};
use reqwest::StatusCode;

use super::{ServerUrl, transport};
use crate::{
    credentials::{Credentials, Login},
    failure::Failure,
};

/// What a client is known by; clones share it.
#[derive(Clone)]
pub(crate) enum Tokens {
    /// Nothing.
    None,
    /// A token that somebody gave, and that cannot be renewed.
    Given(String),
    /// A saved login.
    Saved(Arc<Mutex<Login>>),
}

/// Without the tokens, which are as good as a password.
impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Given(_) => "Given",
            Self::Saved(_) => "Saved",
        })
    }
}

impl Tokens {
    pub(crate) fn saved(login: Option<&Login>) -> Self {
        login.map_or(Self::None, |login| Self::Saved(Arc::new(Mutex::new(login.clone()))))
    }

    /// The token to send now, whether or not it has ended.
    pub(super) fn current(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Given(token) => Some(token.clone()),
            Self::Saved(login) => Some(login.lock().unwrap_or_else(PoisonError::into_inner).token.clone()),
        }
    }

    /// Whether the token has ended by this machine's clock. The server's word counts, but it is not asked for one
    /// where a service is public, and then does not know its caller.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::None | Self::Given(_) => false,
            Self::Saved(login) => login.lock().unwrap_or_else(PoisonError::into_inner).expires_at <= Timestamp::now(),
        }
    }

    /// The token that takes the place of `ended`: that which another command has got meanwhile, or one of the server's.
    /// `None` where there is none to be had.
    pub(super) async fn renew(
        &self,
        http: &reqwest::Client,
        server: &ServerUrl,
        ended: &str,
    ) -> Result<Option<String>, Failure> {
        let Self::Saved(own) = self else { return Ok(None) };
        // Refresh tokens are used once: of commands that run at the same time, one renews and the others wait for it.
        let locked = tokio::task::spawn_blocking(Credentials::lock).await;
        let mut credentials = locked.expect("taking a lock does not panic")?;
        let Some(kept) = credentials.at(server).cloned() else { return Ok(None) };
        let fresh = match &kept.refresh_token {
            _ if kept.token != ended => kept,
            None => return Ok(None),
            Some(refresh_token) => {
                let Some(fresh) = refresh(http, server, refresh_token).await? else { return Ok(None) };
                credentials.renew(server, fresh.clone())?;
                fresh
            }
        };
        let token = fresh.token.clone();
        *own.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(Some(token))
    }
}

/// The next tokens of a session; `None` where it has ended.
async fn refresh(http: &reqwest::Client, server: &ServerUrl, token: &str) -> Result<Option<Login>, Failure> {
    let url = server.join(BASE_PATH.split('/').chain(["auth", "refresh"]), &[]);
    let request =
        http.post(url).timeout(super::MANAGEMENT_TIMEOUT).json(&RefreshRequest { refresh_token: Some(token.into()) });
    let response = request.send().await.map_err(|error| transport(server, &error))?;
    match response.status() {
        StatusCode::OK => {
            let answer: LoginResponse = response.json().await.map_err(|error| transport(server, &error))?;
            Ok(Some(answer.into()))
        }
        // The request itself is then refused with what the server says of the token that has ended.
        _ => Ok(None),
    }
}
