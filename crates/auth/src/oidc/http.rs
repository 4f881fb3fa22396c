//! How providers are asked: bounded in time and size, without redirects, which would let a provider send KEA to
//! addresses of the inner network.

use std::{fs, pin::Pin, time::Duration};

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::{Certificate, Client, redirect::Policy};
use serde::de::DeserializeOwned;
use tokio::{sync::Semaphore, time::timeout};

use super::{OidcError, ProviderSettings};

/// Longest time that a provider may take: somebody waits before a browser.
const WITHIN: Duration = Duration::from_secs(10);

/// Largest answer of a provider. Documents and sets of keys have some kilobytes.
const LARGEST: usize = 1 << 20;

/// Requests to one provider at once. Whoever is not logged in yet makes KEA ask, and must not make it ask without end.
const AT_ONCE: u32 = 32;

/// Requests at once for what a provider says of itself.
const OF_ITSELF_AT_ONCE: u32 = 4;

/// Why a provider was not heard.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// It did not answer, or broke off.
    #[error("{}", innermost(.0))]
    Network(#[from] reqwest::Error),
    /// Others ask it, all the time.
    #[error("too many logins at once")]
    Busy,
    /// Its answer is too large.
    #[error("it answered more than {LARGEST} bytes")]
    TooLarge,
    /// Its answer is another one than was asked for.
    #[error("it answered {0}")]
    Status(http::StatusCode),
    /// Its answer is not the JSON that was asked for.
    #[error("its answer cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The answer cannot be handed on.
    #[error(transparent)]
    Http(#[from] http::Error),
}

/// The innermost error says what happened; the others repeat the address.
fn innermost(error: &reqwest::Error) -> String {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    chain.last().map(ToString::to_string).unwrap_or_default()
}

fn turns(at_once: u32) -> Semaphore {
    Semaphore::new(at_once as usize)
}

/// A client for one provider.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    turns: Semaphore,
}

/// As the library asks.
impl<'c> AsyncHttpClient<'c> for Http {
    type Error = AskError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, AskError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Http {
    pub(super) fn new(settings: &ProviderSettings) -> Result<Self, OidcError> {
        let wrong = |why: String| OidcError::Misconfigured { provider: settings.name.clone(), why };
        let mut builder = Client::builder().redirect(Policy::none()).timeout(WITHIN);
        if let Some(file) = &settings.ca_file {
            let pem = fs::read(file).map_err(|error| wrong(format!("`{}`: {error}", file.display())))?;
            let authorities = Certificate::from_pem_bundle(&pem);
            let authorities =
                authorities.map_err(|_| wrong(format!("`{}` has no certificates in PEM", file.display())))?;
            builder = builder.tls_certs_merge(authorities);
        }
        let client = builder.build().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { client, turns: turns(AT_ONCE) })
    }

    /// The same with turns of its own, for the provider's document and keys: however many begin to log in, those are heard.
    pub(super) fn of_itself(&self) -> Self {
        Self { client: self.client.clone(), turns: turns(OF_ITSELF_AT_ONCE) }
    }

    /// Sends a request of the library.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, AskError> {
        let turn = timeout(WITHIN, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| AskError::Busy)?.expect("the semaphore is never closed");
        let mut response = self.client.execute(request.try_into()?).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST {
                return Err(AskError::TooLarge);
            }
        }
        let mut answer = http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        Ok(answer.body(body)?)
    }

    /// GET of a JSON document.
    pub(super) async fn json<T: DeserializeOwned>(&self, url: &str, token: Option<&str>) -> Result<T, AskError> {
        let mut request = http::Request::builder().uri(url).header(http::header::ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = self.send(request.body(Vec::new())?).await?;
        if !answer.status().is_success() {
            return Err(AskError::Status(answer.status()));
        }
        Ok(serde_json::from_slice(answer.body())?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::{
        super::{TrustedIssuers, tests::Fake},
        *,
    };

    #[tokio::test]
    async fn keys_are_heard_however_many_log_in() {
        let fake = Fake::start().await;
        let provider = Arc::new(fake.provider("audiences = [\"kea-api\"]"));
        let _all = provider.http.turns.acquire_many(AT_ONCE).await.unwrap();
        let trusted = TrustedIssuers::new(std::slice::from_ref(&provider));
        let token = fake.token(&json!({}));
        trusted.refresh(&token).await;
        assert!(trusted.verify(&token).is_ok());
    }
}
