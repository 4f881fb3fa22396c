//! A login by a provider: the address that the browser is sent to, and what is made of the answer that it brings back.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use openidconnect::{
    AccessToken, AuthenticationFlow, AuthorizationCode, ClientId, ClientSecret, CsrfToken, LogoutRequest, Nonce,
    NonceVerifier, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, PostLogoutRedirectUrl, RedirectUrl,
    RequestTokenError, Scope, TokenResponse,
    core::{CoreClient, CoreIdToken, CoreResponseType, CoreTokenResponse},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ExternalIdentity, OidcError, Provider, ProviderName, http::AskError, provider::Discovered};

/// Letters of a provider's words that are repeated.
const LONGEST_WHY: usize = 300;

/// A login that has begun, as the browser keeps it, sealed, until it comes back. Only that browser can end it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingLogin {
    /// The provider.
    pub provider: String,
    /// Who gets the session.
    pub to: Destination,
    state: String,
    nonce: String,
    verifier: String,
}

impl PendingLogin {
    /// Whether `state` is this login's.
    fn is_of(&self, provider: &ProviderName, state: &str) -> bool {
        self.provider == provider.as_str() && self.state == state
    }
}

/// Who gets the session of a login, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// The browser, which goes on to that path of KEA.
    Page(String),
    /// A command on the browser's machine.
    Command(Command),
}

/// A command that waits for a browser's login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Where it listens, at 127.0.0.1.
    pub port: u16,
    /// SHA-256 of what it shows when it fetches the session, in base64url: nobody else can.
    pub challenge: String,
    /// Its own text, by which it knows its browser again.
    pub state: String,
}

/// What the browser brings back from the provider, in the query of the redirect.
#[derive(Debug, Default, Deserialize)]
pub struct Answer {
    /// To be exchanged for tokens.
    pub code: Option<String>,
    /// The login's own text.
    pub state: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// The same for people.
    pub error_description: Option<String>,
}

impl Provider {
    /// Begins a login: where the browser is sent to, and what it has to keep. The provider sends it back to `callback`.
    ///
    /// # Errors
    /// The provider cannot be reached or used.
    pub async fn begin(&self, callback: &str, to: Destination) -> Result<(String, PendingLogin), OidcError> {
        let discovered = self.discovered().await?;
        let redirect = self.redirect(callback)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let client = self.client(&discovered);
        let mut request = client.authorize_url(
            AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
            CsrfToken::new_random,
            Nonce::new_random,
        );
        for scope in &self.settings.scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let request = request.set_redirect_uri(std::borrow::Cow::Owned(redirect)).set_pkce_challenge(challenge);
        let (url, state, nonce) = request.url();
        let pending = PendingLogin {
            provider: self.settings.name.to_string(),
            to,
            state: state.secret().clone(),
            nonce: nonce.secret().clone(),
            verifier: verifier.secret().clone(),
        };
        Ok((url.into(), pending))
    }

    /// Ends a login: who the user is, and the provider's ID token, by which they are logged out there.
    ///
    /// # Errors
    /// The login was not begun here, the provider refused, or what it says cannot be believed.
    pub async fn finish(
        &self,
        callback: &str,
        pending: &PendingLogin,
        answer: Answer,
    ) -> Result<(ExternalIdentity, String), OidcError> {
        if !pending.is_of(&self.settings.name, &answer.state.unwrap_or_default()) {
            return Err(OidcError::NotBegun);
        }
        if let Some(error) = answer.error {
            let why = answer.error_description.map_or(error.clone(), |text| format!("{error}: {text}"));
            return Err(self.refused(&why));
        }
        let code = answer.code.ok_or_else(|| self.refused("it sent no code"))?;
        let tokens = self.exchange(callback, pending, code).await?;
        self.identity(&tokens, Some(Nonce::new(pending.nonce.clone()))).await
    }

    /// Who the tokens are of, and the ID token. The nonce is that of the login; one by device code has none.
    pub(super) async fn identity(
        &self,
        tokens: &CoreTokenResponse,
        nonce: Option<Nonce>,
    ) -> Result<(ExternalIdentity, String), OidcError> {
        let id_token = tokens.id_token().ok_or_else(|| self.unusable("there is no ID token".into()))?;
        let mut claims = self.verified(id_token, nonce.as_ref(), tokens).await?;
        self.complete(&mut claims, tokens.access_token()).await?;
        Ok((ExternalIdentity::read(&self.settings, &claims)?, id_token.to_string()))
    }

    /// Where the browser is sent to be logged out at the provider too; `None` where the provider has no such place.
    pub async fn logout(&self, id_token: Option<&str>, back: &str) -> Option<String> {
        let discovered = self.discovered().await.ok()?;
        let endpoint = discovered.metadata.additional_metadata().end_session_endpoint.clone()?;
        let mut request = LogoutRequest::from(endpoint)
            .set_client_id(ClientId::new(self.settings.client_id.clone()))
            .set_post_logout_redirect_uri(PostLogoutRedirectUrl::new(back.into()).ok()?);
        if let Some(hint) = id_token.and_then(|token| token.parse::<CoreIdToken>().ok()) {
            request = request.set_id_token_hint(&hint);
        }
        Some(request.http_get_url().into())
    }

    fn client(&self, discovered: &Discovered) -> ProviderClient {
        let secret = self.settings.client_secret.as_ref().map(|secret| ClientSecret::new(secret.0.clone()));
        let id = ClientId::new(self.settings.client_id.clone());
        CoreClient::from_provider_metadata(discovered.metadata.clone(), id, secret)
    }

    fn redirect(&self, callback: &str) -> Result<RedirectUrl, OidcError> {
        let wrong = |error| OidcError::Misconfigured {
            provider: self.settings.name.clone(),
            why: format!("KEA's own address `{callback}` is no URL: {error}; set `url`"),
        };
        RedirectUrl::new(callback.into()).map_err(wrong)
    }

    async fn exchange(
        &self,
        callback: &str,
        pending: &PendingLogin,
        code: String,
    ) -> Result<CoreTokenResponse, OidcError> {
        let discovered = self.discovered().await?;
        let client = self.client(&discovered);
        let request = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| self.misconfigured(error.to_string()))?;
        let redirect = self.redirect(callback)?;
        let request = request
            .set_redirect_uri(std::borrow::Cow::Owned(redirect))
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()));
        let answered = request.request_async(&self.http).await;
        answered.map_err(|error| match error {
            RequestTokenError::ServerResponse(refusal) => self.refused(&refusal.to_string()),
            RequestTokenError::Request(error) => self.unreachable(&error),
            other => self.misconfigured(other.to_string()),
        })
    }

    /// The claims of an ID token whose signature, issuer, audience, end and nonce are good. A key that is not known may be
    /// a new one of the provider's.
    async fn verified(
        &self,
        id_token: &CoreIdToken,
        nonce: Option<&Nonce>,
        tokens: &CoreTokenResponse,
    ) -> Result<Map<String, Value>, OidcError> {
        let is_of_login = |given: Option<&Nonce>| nonce.map_or(Ok(()), |nonce| nonce.verify(given));
        let known = self.discovered().await?;
        let mut client = self.client(&known);
        if id_token.claims(&client.id_token_verifier(), is_of_login).is_err() {
            let heard = self.discover(Duration::from_secs(1)).await?;
            client = self.client(&heard);
        }
        let verifier = client.id_token_verifier();
        let claims = id_token.claims(&verifier, is_of_login).map_err(|error| self.unusable(chain(&error)))?;
        if let Some(expected) = claims.access_token_hash() {
            let algorithm = id_token.signing_alg().map_err(|error| self.unusable(error.to_string()))?;
            let key = id_token.signing_key(&verifier).map_err(|error| self.unusable(chain(&error)))?;
            let actual = openidconnect::AccessTokenHash::from_token(tokens.access_token(), algorithm, key);
            if actual.map_err(|error| self.unusable(error.to_string()))? != *expected {
                return Err(self.unusable("the access token is not the one that the ID token names".into()));
            }
        }
        payload(&id_token.to_string()).ok_or_else(|| self.unusable("the ID token has no claims".into()))
    }

    /// Adds what only the provider's user info says: many keep ID tokens small.
    async fn complete(&self, claims: &mut Map<String, Value>, token: &AccessToken) -> Result<(), OidcError> {
        let settings = &self.settings;
        let whole = [&settings.username_claim, &settings.groups_claim].iter().all(|name| claims.contains_key(*name));
        let discovered = self.discovered().await?;
        let Some(endpoint) = discovered.metadata.userinfo_endpoint().filter(|_| !whole) else { return Ok(()) };
        let asked: Result<Map<String, Value>, AskError> = self.http.json(endpoint.as_str(), Some(token.secret())).await;
        let more = asked.map_err(|error| self.unusable(format!("its user info cannot be read: {error}")))?;
        if more.get("sub") != claims.get("sub") {
            return Err(self.unusable("its user info is that of another user".into()));
        }
        for (name, value) in more {
            claims.entry(name).or_insert(value);
        }
        Ok(())
    }

    pub(super) fn unreachable(&self, why: &dyn std::fmt::Display) -> OidcError {
        OidcError::Unreachable { provider: self.settings.name.clone(), why: why.to_string() }
    }

    /// What it said comes by way of a browser, and goes into a page and the log.
    pub(super) fn refused(&self, why: &str) -> OidcError {
        let why = why.chars().filter(|c| !c.is_control()).take(LONGEST_WHY).collect();
        OidcError::Refused { provider: self.settings.name.clone(), why }
    }

    pub(super) fn misconfigured(&self, why: String) -> OidcError {
        OidcError::Misconfigured { provider: self.settings.name.clone(), why }
    }

    fn unusable(&self, why: String) -> OidcError {
        OidcError::Unusable { provider: self.settings.name.clone(), why }
    }
}

/// The library's client of a provider that was discovered: it knows where users log in, and perhaps the other places.
type ProviderClient = CoreClient<
    openidconnect::EndpointSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointMaybeSet,
    openidconnect::EndpointMaybeSet,
>;

/// The claims of a token, which has been checked: the library knows those of the specification alone.
fn payload(token: &str) -> Option<Map<String, Value>> {
    let part = token.split('.').nth(1)?;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// An error with what it comes from.
fn chain(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
