//! A login by a provider: the address that the browser is sent to, and what is made of the answer that it brings back.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use openidconnect::{
    AccessToken, AuthenticationFlow, AuthorizationCode, ClientId, ClientSecret, CsrfToken, LogoutRequest, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, PostLogoutRedirectUrl, RedirectUrl, RequestTokenError,
    Scope, TokenResponse,
    core::{CoreClient, CoreIdToken, CoreResponseType, CoreTokenResponse},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ExternalIdentity, OidcError, Provider, ProviderName, http::AskError, provider::Discovered};

/// How long somebody may take to log in at the provider.
const WITHIN: Duration = Duration::from_secs(600);

/// A login that has begun, as the browser keeps it until it comes back. Only that browser can end it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingLogin {
    /// The provider.
    pub provider: String,
    /// Where the browser goes once it is logged in: a path of KEA.
    pub next: String,
    state: String,
    nonce: String,
    verifier: String,
    /// Seconds since 1970.
    begun: i64,
}

impl PendingLogin {
    /// The login as the value of a cookie.
    pub fn to_cookie(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a login is made of texts and a number"))
    }

    /// The login of a cookie's value.
    pub fn from_cookie(value: &str) -> Option<Self> {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(value).ok()?).ok()
    }

    /// Whether `state` is this login's, and in time.
    fn is_of(&self, provider: &ProviderName, state: &str, now: Timestamp) -> bool {
        let age = now.as_second() - self.begun;
        self.provider == provider.as_str() && self.state == state && (0..WITHIN.as_secs() as i64).contains(&age)
    }
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
    pub async fn begin(&self, callback: &str, next: &str) -> Result<(String, PendingLogin), OidcError> {
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
            next: next.into(),
            state: state.secret().clone(),
            nonce: nonce.secret().clone(),
            verifier: verifier.secret().clone(),
            begun: Timestamp::now().as_second(),
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
        if !pending.is_of(&self.settings.name, &answer.state.unwrap_or_default(), Timestamp::now()) {
            return Err(OidcError::NotBegun);
        }
        if let Some(error) = answer.error {
            let why = answer.error_description.map_or(error.clone(), |text| format!("{error}: {text}"));
            return Err(self.refused(why));
        }
        let code = answer.code.ok_or_else(|| self.refused("it sent no code".into()))?;
        let tokens = self.exchange(callback, pending, code).await?;
        let id_token = tokens.id_token().ok_or_else(|| self.unusable("there is no ID token".into()))?;
        let mut claims = self.verified(id_token, pending, &tokens).await?;
        self.complete(&mut claims, tokens.access_token()).await?;
        Ok((ExternalIdentity::read(&self.settings, &claims)?, id_token.to_string()))
    }

    /// Where the browser is sent to be logged out at the provider too; `None` where the provider has no such place.
    pub async fn logout(&self, id_token: &str, back: &str) -> Option<String> {
        let discovered = self.discovered().await.ok()?;
        let endpoint = discovered.metadata.additional_metadata().end_session_endpoint.clone()?;
        let hint: CoreIdToken = id_token.parse().ok()?;
        let request = LogoutRequest::from(endpoint)
            .set_id_token_hint(&hint)
            .set_client_id(ClientId::new(self.settings.client_id.clone()))
            .set_post_logout_redirect_uri(PostLogoutRedirectUrl::new(back.into()).ok()?);
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
        let answered = request.request_async(&|request| self.http.send(request)).await;
        answered.map_err(|error| match error {
            RequestTokenError::ServerResponse(refusal) => self.refused(refusal.to_string()),
            RequestTokenError::Request(error) => {
                OidcError::Unreachable { provider: self.settings.name.clone(), why: error.to_string() }
            }
            other => self.misconfigured(other.to_string()),
        })
    }

    /// The claims of an ID token whose signature, issuer, audience, end and nonce are good. A key that is not known may be
    /// a new one of the provider's.
    async fn verified(
        &self,
        id_token: &CoreIdToken,
        pending: &PendingLogin,
        tokens: &CoreTokenResponse,
    ) -> Result<Map<String, Value>, OidcError> {
        let nonce = Nonce::new(pending.nonce.clone());
        let known = self.discovered().await?;
        let mut client = self.client(&known);
        if id_token.claims(&client.id_token_verifier(), &nonce).is_err() {
            let heard = self.discover(Duration::from_secs(1)).await?;
            client = self.client(&heard);
        }
        let verifier = client.id_token_verifier();
        let claims = id_token.claims(&verifier, &nonce).map_err(|error| self.unusable(chain(&error)))?;
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

    fn refused(&self, why: String) -> OidcError {
        OidcError::Refused { provider: self.settings.name.clone(), why }
    }

    fn misconfigured(&self, why: String) -> OidcError {
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
