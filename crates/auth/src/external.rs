//! Users of providers: kept with what their provider says at each login, bound to issuer and subject; and the tokens of
//! trusted issuers that speak for them.

use std::sync::Arc;

use http::HeaderMap;
use kea_core::port::{External, User};

use crate::{
    AuthError, Authenticator, Caller, SsoError,
    credential::{self, Credential},
    oidc::{ExternalIdentity, NotTrusted, Provider},
    sessions::busy,
    users::new_user,
};

/// Tries of a change that another one overtook.
const TRIES: usize = 8;

/// What a provider's user is known by, as one text.
pub(crate) fn external_key(issuer: &str, subject: &str) -> Box<str> {
    // No URL has a line break.
    format!("{issuer}\n{subject}").into()
}

/// A token of a trusted issuer whose signature, issuer and audience are good.
pub(crate) struct Foreign {
    pub(crate) key: Box<str>,
    /// The name here where they have no record, made of what they cannot choose.
    pub(crate) unknown_as: Arc<str>,
    pub(crate) roles: Arc<[String]>,
    pub(crate) groups: Arc<[String]>,
    /// Seconds since 1970.
    expires: i64,
}

impl Foreign {
    fn new(identity: ExternalIdentity, expires: i64) -> Self {
        let ExternalIdentity { issuer, subject, unknown_as, groups, roles, .. } = identity;
        let key = external_key(&issuer, &subject);
        Self { key, unknown_as: unknown_as.into(), roles: roles.into(), groups: groups.into(), expires }
    }
}

impl Authenticator {
    /// Where a request comes with a token of a trusted issuer whose key is not known yet, asks the issuer for its keys.
    /// To be awaited before [`authenticate`](Self::authenticate), which never waits; costs nothing where no issuer is
    /// trusted.
    pub async fn hear(&self, headers: &HeaderMap) {
        if self.issuers.is_empty() {
            return;
        }
        if let Ok(Credential::Token(token)) = credential::of(headers)
            && !self.verified.contains_key(token)
            && !self.foreign.contains_key(token)
        {
            // Rare and large: every request would have room for it otherwise.
            Box::pin(self.issuers.refresh(token)).await;
        }
    }

    /// Knows the keys of trusted issuers before they are needed, and forgets those that are taken back. Ends when it is
    /// dropped.
    pub async fn follow_issuers(&self) {
        self.issuers.follow().await;
    }

    /// Who a token that is none of KEA's own stands for.
    pub(crate) fn foreign_caller(&self, token: &str, now: i64) -> Result<Caller, AuthError> {
        let known = self.foreign.get(token).map_or_else(|| self.trusted(token), Ok)?;
        if now >= known.expires.saturating_add_unsigned(crate::oidc::LEEWAY_S) {
            return Err(AuthError::Expired);
        }
        self.snapshot.load().foreign(&known)
    }

    fn trusted(&self, token: &str) -> Result<Arc<Foreign>, AuthError> {
        let (identity, expires) = self.issuers.verify(token).map_err(|error| match error {
            NotTrusted::Expired => AuthError::Expired,
            NotTrusted::Unusable(why) => AuthError::ForNobody(why.to_string()),
            NotTrusted::NoIssuer | NotTrusted::UnknownKey | NotTrusted::Invalid => AuthError::Invalid,
        })?;
        let known = Arc::new(Foreign::new(identity, expires));
        self.foreign.insert(token.into(), known.clone());
        Ok(known)
    }

    /// The user that a provider has let in, with what it says of them now; made at their first login.
    ///
    /// # Errors
    /// [`SsoError::NameTaken`], [`SsoError::Disabled`], and that of the store.
    pub(crate) async fn admit(&self, identity: &ExternalIdentity) -> Result<User, SsoError> {
        if identity.groups_left_out > 0 {
            let (username, left_out) = (&identity.username, identity.groups_left_out);
            tracing::warn!(username, left_out, provider = %identity.provider, "has more or longer groups than are kept");
        }
        for _ in 0..TRIES {
            let seen = self.store.revision().await?;
            let users = self.store.users().await?;
            let before = users.iter().find(|user| is_of(user, identity));
            let after = admitted(&users, before, identity)?;
            if before == Some(&after) {
                return Ok(after);
            }
            if self.store.change_user(&after.username, Some(&after), &seen).await? {
                self.reload().await?;
                tracing::info!(username = after.username, provider = %identity.provider, "keeps what a provider says");
                return Ok(after);
            }
        }
        Err(busy("the user").into())
    }

    /// Gives all users of these providers the roles that their groups have by these settings: what was taken back in the
    /// configuration is taken from sessions and keys as well. Those of others have no such roles in this process, and are
    /// left as they are in the store: another process may know their provider.
    pub(crate) async fn map_roles(&self, providers: &[Arc<Provider>]) -> Result<(), SsoError> {
        let issuers = providers.iter().map(|provider| provider.settings().issuer.as_str().to_owned()).collect();
        self.providers.store(Some(Arc::new(issuers)));
        let mut steps = 0;
        loop {
            let seen = self.store.revision().await?;
            let users = self.store.users().await?;
            // Others that start now change the same users, and may have other settings.
            let most = TRIES + 2 * users.len();
            let Some(after) = users.into_iter().find_map(|user| mapped(user, providers)) else {
                return Ok(self.reload().await?);
            };
            if steps == most {
                return Err(busy("a user").into());
            }
            steps += 1;
            if self.store.change_user(&after.username, Some(&after), &seen).await? {
                tracing::info!(username = after.username, "has other roles by the settings of the provider");
            }
        }
    }
}

/// The user with the roles that their groups have now; `None` where they have those, or their provider is not known.
fn mapped(user: User, providers: &[Arc<Provider>]) -> Option<User> {
    let external = user.external.as_ref()?;
    let mut settings = providers.iter().map(|provider| provider.settings());
    let settings = settings.find(|settings| settings.issuer.as_str() == external.issuer)?;
    let names = external.groups.iter().filter_map(|group| group.strip_prefix(&settings.groups_prefix));
    let roles = settings.roles_of(names);
    let external = (external.roles != roles).then(|| External { roles, ..external.clone() })?;
    Some(User { external: Some(external), ..user })
}

fn is_of(user: &User, identity: &ExternalIdentity) -> bool {
    let external = user.external.as_ref();
    external.is_some_and(|external| external.issuer == identity.issuer && external.subject == identity.subject)
}

/// The user as they are after a login. Their name here stays that of the first one: bindings and keys know them by it.
fn admitted(users: &[User], before: Option<&User>, identity: &ExternalIdentity) -> Result<User, SsoError> {
    let external = Some(External {
        provider: identity.provider.to_string(),
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        groups: identity.groups.clone(),
        roles: identity.roles.clone(),
    });
    match before {
        Some(user) if user.disabled => Err(SsoError::Disabled(user.username.clone())),
        Some(user) => Ok(User { external, ..user.clone() }),
        None if users.iter().any(|user| user.username == identity.username) => {
            Err(SsoError::NameTaken(identity.username.clone()))
        }
        None => Ok(User { external, ..new_user(&identity.username, String::new(), Vec::new()) }),
    }
}
