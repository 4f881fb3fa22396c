//! Login where there is no browser: the user types a code at the provider, on another machine (RFC 8628).

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Method, StatusCode, header};
use openidconnect::core::CoreTokenResponse;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{ExternalIdentity, OidcError, Provider};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// How long a provider wants to be left alone between two questions, where it does not say.
const INTERVAL_S: u64 = 5;

/// By how many seconds that grows where the provider asks for it.
const SLOWER_S: u64 = 5;

/// What the provider wants the user to do.
#[derive(Clone, Debug, Deserialize)]
pub struct DeviceCode {
    /// What KEA asks with.
    pub(crate) device_code: String,
    /// What the user types.
    pub user_code: String,
    /// Where they type it.
    #[serde(alias = "verification_url")]
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// Seconds until it is too late.
    pub expires_in: u64,
    #[serde(default = "interval")]
    pub(crate) interval: u64,
}

fn interval() -> u64 {
    INTERVAL_S
}

/// A login by device that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingDevice {
    pub(crate) provider: String,
    pub(crate) device_code: String,
    /// Seconds between two questions.
    pub(crate) interval: u64,
}

/// What has become of a login by device.
pub(crate) enum DeviceAnswer {
    /// The user has not typed the code yet: ask again after so long.
    Pending(Duration),
    /// They have.
    Done(Box<(ExternalIdentity, String)>),
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

impl Provider {
    /// Begins a login by device.
    pub(crate) async fn begin_device(&self) -> Result<DeviceCode, OidcError> {
        let discovered = self.discovered().await?;
        let device = &discovered.metadata.additional_metadata().additional_metadata;
        let endpoint = device.device_authorization_endpoint.as_ref();
        let endpoint = endpoint
            .ok_or_else(|| self.misconfigured("it has no login by device: log in where there is a browser".into()))?;
        let scopes = ["openid"].into_iter().chain(self.settings.scopes.iter().map(String::as_str));
        let scope = scopes.collect::<Vec<_>>().join(" ");
        self.form(endpoint, &[("scope", &scope)]).await?.map_err(|refusal| self.said(refusal))
    }

    /// Asks once what has become of a login by device.
    pub(crate) async fn ask_device(&self, pending: &PendingDevice) -> Result<DeviceAnswer, OidcError> {
        let discovered = self.discovered().await?;
        let endpoint =
            discovered.metadata.token_endpoint().ok_or_else(|| self.misconfigured("it has no tokens".into()))?;
        let fields = [("grant_type", GRANT), ("device_code", &pending.device_code)];
        let answered = self.form::<CoreTokenResponse>(endpoint.as_str(), &fields).await?;
        match answered {
            Ok(tokens) => Ok(DeviceAnswer::Done(Box::new(self.identity(&tokens, None).await?))),
            Err(refusal) => match refusal.error.as_str() {
                "authorization_pending" => Ok(DeviceAnswer::Pending(Duration::from_secs(pending.interval))),
                "slow_down" => Ok(DeviceAnswer::Pending(Duration::from_secs(pending.interval + SLOWER_S))),
                _ => Err(self.said(refusal)),
            },
        }
    }

    fn said(&self, Refusal { error, error_description }: Refusal) -> OidcError {
        self.refused(&error_description.map_or(error.clone(), |text| format!("{error}: {text}")))
    }

    /// POST of a form as KEA: what was asked for, or the provider's refusal.
    async fn form<T: DeserializeOwned>(
        &self,
        url: &str,
        fields: &[(&str, &str)],
    ) -> Result<Result<T, Refusal>, OidcError> {
        let unreadable =
            |error: &dyn std::fmt::Display| self.misconfigured(format!("its answer cannot be read: {error}"));
        let request = self.request(url, fields).map_err(|error| unreadable(&error))?;
        let answer = self.http.send(request).await.map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() {
            return Ok(Ok(serde_json::from_slice(answer.body()).map_err(|error| unreadable(&error))?));
        }
        if answer.status().is_server_error() {
            return Err(self.unreachable(&format!("it answered {}", answer.status())));
        }
        let refusal = serde_json::from_slice(answer.body());
        Ok(Err(refusal.unwrap_or_else(|_| Refusal { error: status(answer.status()), error_description: None })))
    }

    fn request(&self, url: &str, fields: &[(&str, &str)]) -> Result<http::Request<Vec<u8>>, http::Error> {
        let settings = &self.settings;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields).append_pair("client_id", &settings.client_id);
        let mut request = http::Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        if let Some(secret) = &settings.client_secret {
            // Both parts are written as in a form (RFC 6749, 2.3.1).
            let part = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = BASE64_STANDARD.encode(format!("{}:{}", part(&settings.client_id), part(&secret.0)));
            request = request.header(header::AUTHORIZATION, format!("Basic {pair}"));
        }
        request.body(form.finish().into_bytes())
    }
}

fn status(status: StatusCode) -> String {
    format!("it answered {status}")
}
