//! Logging in by a provider: a browser comes back to its page with a session, a command fetches one with a code that is
//! good once, and a device asks until its user has typed a code elsewhere.

mod command;
mod device;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use kea_core::port::{StoreError, User};

pub(crate) use self::command::LoginCode;
pub use self::device::{DeviceLogin, DevicePoll};
use crate::{
    AuthError, Authenticator, Origin, Session,
    oidc::{Answer, Destination, OidcError, PendingLogin, Provider, ProviderName, Seal},
    sessions::ExternalSession,
};

/// How long a provider that is not known yet may keep somebody who logs out.
const LOGOUT_WITHIN: Duration = Duration::from_secs(2);

/// Longest page to go back to, in bytes: it is in a cookie, for which browsers have 4 KiB.
const LONGEST_PAGE: usize = 1024;

/// What the cookie of a login is sealed for.
const COOKIE: &str = "kea-sso-login";

/// Name of the secret with which logins are sealed.
const SEAL_SECRET: &str = "sso-seal";

/// Why a login by a provider does not succeed.
#[derive(Debug, thiserror::Error)]
pub enum SsoError {
    /// There is no provider of that name.
    #[error("there is no provider `{0}` of single sign-on")]
    NoProvider(String),
    /// The page, or the command, to go back to cannot be one.
    #[error("{0}")]
    Nowhere(&'static str),
    /// The provider did not let them in, or cannot be used.
    #[error(transparent)]
    Provider(#[from] OidcError),
    /// People may not log in there by a code that is typed on another machine.
    #[error(
        "login by a device is off for the provider `{0}`: log in where there is a browser, or set `device = true` in its \
         table `[[sso]]`"
    )]
    NoDevice(ProviderName),
    /// The name is that of somebody else here.
    #[error("the name `{0}` is that of another user here: ask an administrator of KEA")]
    NameTaken(String),
    /// They are disabled.
    #[error("the user `{0}` is disabled here: ask an administrator of KEA")]
    Disabled(String),
    /// The code of a command is none, was used, or is of another command.
    #[error("this login is over or was fetched already: begin again")]
    NoSuchCode,
    /// No session could be begun.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A provider, as people choose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderInfo {
    /// Its name in paths.
    pub name: String,
    /// What people read.
    pub title: String,
}

/// Where a login ends.
#[derive(Debug)]
pub enum Arrival {
    /// The browser has a session, and goes on to that path of KEA.
    Page {
        /// The session.
        session: Box<Session>,
        /// The path.
        next: String,
    },
    /// The browser goes to a command that waits on its machine.
    Command {
        /// Its address.
        url: String,
    },
}

/// The providers that people may log in by. One for a process; share it behind an `Arc`.
pub struct Sso {
    auth: Arc<Authenticator>,
    providers: Vec<Arc<Provider>>,
    /// Where browsers reach KEA, without a `/` at its end.
    url: String,
    seal: Seal,
}

impl Sso {
    /// How long somebody may take to log in at the provider.
    pub const WITHIN: Duration = Duration::from_secs(600);

    /// Logins by these providers, at the KEA that browsers reach at `url`. Users of providers have the roles that these
    /// give to their groups, from now on.
    ///
    /// # Errors
    /// That of the store.
    pub async fn new(auth: Arc<Authenticator>, providers: Vec<Arc<Provider>>, url: String) -> Result<Self, SsoError> {
        auth.map_roles(&providers).await?;
        let fresh: [u8; 32] = rand::random();
        let secret = match providers.is_empty() {
            true => fresh.to_vec(),
            false => auth.store.keep_secret(SEAL_SECRET, &fresh).await?,
        };
        Ok(Self { auth, providers, url: url.trim_end_matches('/').into(), seal: Seal::new(&secret) })
    }

    /// The providers, in the order in which they are configured.
    pub fn providers(&self) -> Vec<ProviderInfo> {
        let info = |settings: &crate::oidc::ProviderSettings| ProviderInfo {
            name: settings.name.to_string(),
            title: settings.title().into(),
        };
        self.providers.iter().map(|provider| info(provider.settings())).collect()
    }

    /// Whether browsers reach KEA by TLS alone.
    pub fn is_secure(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// Where a browser that asks `host` has to begin: the provider sends it back to KEA's own address, and a cookie of
    /// another host would not come along. `None` where it is there.
    pub fn elsewhere(&self, host: &str) -> Option<&str> {
        let own = self.url.split_once("://").map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
        let is_there = self.providers.is_empty() || own.eq_ignore_ascii_case(host);
        (!is_there).then_some(&self.url)
    }

    /// Begins a login: where the browser is sent to, and what it has to keep in a cookie until it is back.
    ///
    /// # Errors
    /// [`SsoError::NoProvider`], [`SsoError::Nowhere`], [`SsoError::Provider`].
    pub async fn begin(&self, provider: &str, to: Destination) -> Result<(String, String), SsoError> {
        let provider = self.provider(provider)?;
        check(&to)?;
        let (url, pending) = provider.begin(&self.callback(provider), to).await?;
        Ok((url, self.seal.close(COOKIE, &pending, Self::WITHIN)))
    }

    /// Ends a login, with the cookie that the browser kept and what it brings from the provider.
    ///
    /// # Errors
    /// All of [`SsoError`] but for codes; [`AuthError::Throttled`] where too many of the address have failed. What goes wrong
    /// once a command's login is known to be its own is told to the command.
    #[tracing::instrument(skip_all)]
    pub async fn finish(
        &self,
        provider: &str,
        cookie: Option<&str>,
        answer: Answer,
        origin: &Origin,
    ) -> Result<Arrival, SsoError> {
        let pending: PendingLogin =
            cookie.and_then(|cookie| self.seal.open(COOKIE, cookie)).ok_or(OidcError::NotBegun)?;
        let provider = self.provider(provider)?;
        // What was never begun costs nothing, and any page can have a browser ask for it: it counts against nobody.
        let visit = self.auth.throttle.visit(origin.address)?;
        let admitted = self.admit(provider, &pending, answer).await;
        match &admitted {
            Ok(_) => visit.succeeded(),
            Err(error) => {
                tracing::warn!(provider = pending.provider, address = %origin.address, "login refused: {error}");
            }
        }
        match (pending.to, admitted) {
            (_, Err(error @ SsoError::Provider(OidcError::NotBegun))) => Err(error),
            (Destination::Page(next), admitted) => {
                let (user, external) = admitted?;
                let session = Box::new(self.auth.begin_with(&user, origin, Some(external)).await?);
                Ok(Arrival::Page { session, next })
            }
            (Destination::Command(command), admitted) => {
                Ok(Arrival::Command { url: self.to_command(&command, admitted).await })
            }
        }
    }

    async fn admit(
        &self,
        provider: &Provider,
        pending: &PendingLogin,
        answer: Answer,
    ) -> Result<(User, ExternalSession), SsoError> {
        let (identity, id_token) = provider.finish(&self.callback(provider), pending, answer).await?;
        let user = self.auth.admit(&identity).await?;
        tracing::info!(username = user.username, provider = %identity.provider, "logged in by a provider");
        Ok((user, ExternalSession::new(identity.provider.as_str(), id_token)))
    }

    /// Where a browser whose session is about to end is sent, to end the provider's too; `None` where it has none, or the
    /// provider ends none.
    pub async fn logout(&self, session: &str) -> Option<String> {
        if self.providers.is_empty() {
            return None;
        }
        let external = self.auth.external_session(session).await.ok()??;
        let provider = self.provider(&external.provider).ok()?;
        let back = format!("{}/login", self.url);
        let told = provider.logout(external.id_token.as_deref(), &back);
        tokio::time::timeout(LOGOUT_WITHIN, told).await.ok()?
    }

    fn provider(&self, name: &str) -> Result<&Arc<Provider>, SsoError> {
        let found = self.providers.iter().find(|provider| provider.settings().name.as_str() == name);
        found.ok_or_else(|| SsoError::NoProvider(name.chars().take(ProviderName::LONGEST).collect()))
    }

    fn callback(&self, provider: &Provider) -> String {
        format!("{}/auth/sso/{}/callback", self.url, provider.settings().name)
    }
}

/// A login leads to a page of KEA, or to a command that is whole.
fn check(to: &Destination) -> Result<(), SsoError> {
    match to {
        Destination::Page(path) if is_own_page(path) => Ok(()),
        Destination::Page(_) => Err(SsoError::Nowhere("`next` is no page of this server: it begins with one `/`")),
        Destination::Command(command) => command::check(command),
    }
}

/// Whether a browser takes it for a path of this server: two slashes begin another server's address, and a backslash is one.
fn is_own_page(path: &str) -> bool {
    let mut chars = path.chars();
    let plain = path.len() <= LONGEST_PAGE && !path.contains(|c: char| c.is_control() || c == '\\');
    plain && chars.next() == Some('/') && chars.next() != Some('/') && stays_here(path)
}

/// Whether it is still a path of this server once a browser has left out its dots: `/.//host` is `//host` then.
fn stays_here(path: &str) -> bool {
    let here = url::Url::parse("http://h").and_then(|here| here.join(path));
    here.is_ok_and(|page| page.host_str() == Some("h") && !page.path().starts_with("//"))
}
