//! One provider, and what is known of it: found by discovery at the first need, and again from time to time, so that
//! KEA starts and serves while a provider is down.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use openidconnect::{
    AdditionalProviderMetadata, DiscoveryError, LogoutProviderMetadata, ProviderMetadata,
    core::{
        CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
        CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
        CoreSubjectIdentifierType,
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{
    OidcError, ProviderSettings,
    http::{AskError, Http},
};

/// How long what a provider says of itself is believed. Its keys may change meanwhile: one that is not known makes KEA
/// ask again.
const FRESH: Duration = Duration::from_secs(3600);

/// How long a failure is remembered: people who try again are not all sent to a provider that is down.
const FAILED: Duration = Duration::from_secs(5);

/// A provider.
pub struct Provider {
    pub(super) settings: ProviderSettings,
    pub(super) http: Http,
    /// The same for its document and keys.
    pub(super) of_itself: Http,
    known: ArcSwapOption<Discovered>,
    /// Held while the provider is asked, so that it is asked once by many.
    asking: Mutex<Option<(Instant, OidcError)>>,
}

/// What a provider says of itself.
pub(super) struct Discovered {
    pub(super) metadata: Metadata,
    at: Instant,
}

/// The document of a provider, with where browsers are logged out and devices log in.
pub(super) type Metadata = ProviderMetadata<
    LogoutProviderMetadata<DeviceMetadata>,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// What RFC 8628 adds to that document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DeviceMetadata {
    pub(super) device_authorization_endpoint: Option<String>,
}

impl AdditionalProviderMetadata for DeviceMetadata {}

impl Provider {
    /// A provider; it is not asked yet.
    ///
    /// # Errors
    /// [`OidcError::Misconfigured`] where the settings contradict themselves, or a file of theirs cannot be used.
    pub fn new(settings: ProviderSettings) -> Result<Self, OidcError> {
        let provider = settings.name.clone();
        let settings = settings.complete().map_err(|why| OidcError::Misconfigured { provider, why })?;
        let http = Http::new(&settings)?;
        let of_itself = http.of_itself();
        Ok(Self { settings, http, of_itself, known: ArcSwapOption::empty(), asking: Mutex::default() })
    }

    /// What is configured of it.
    pub fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    /// What it says of itself. What was heard before is good while it does not answer.
    pub(super) async fn discovered(&self) -> Result<Arc<Discovered>, OidcError> {
        if let Some(known) = self.known.load_full().filter(|known| known.at.elapsed() < FRESH) {
            return Ok(known);
        }
        self.discover(FRESH).await.or_else(|error| self.known.load_full().ok_or(error))
    }

    /// The same, unless it was heard within `age`.
    pub(super) async fn discover(&self, age: Duration) -> Result<Arc<Discovered>, OidcError> {
        let mut failed = self.asking.lock().await;
        if let Some(known) = self.known.load_full().filter(|known| known.at.elapsed() < age) {
            return Ok(known);
        }
        if let Some((_, error)) = failed.as_ref().filter(|(at, _)| at.elapsed() < FAILED) {
            return Err(error.clone());
        }
        let asked = self.ask().await;
        match asked {
            Ok(metadata) => {
                let found = Arc::new(Discovered { metadata, at: Instant::now() });
                self.known.store(Some(found.clone()));
                *failed = None;
                Ok(found)
            }
            Err(error) => {
                tracing::warn!(provider = %self.settings.name, %error, "a provider of single sign-on cannot be used");
                *failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn ask(&self) -> Result<Metadata, OidcError> {
        let found = Metadata::discover_async(self.settings.issuer.clone(), &self.of_itself).await;
        found.map_err(|error| self.discovery_failed(error))
    }

    fn discovery_failed(&self, error: DiscoveryError<AskError>) -> OidcError {
        let provider = self.settings.name.clone();
        match error {
            DiscoveryError::Request(AskError::Network(error)) => {
                OidcError::Unreachable { provider, why: AskError::Network(error).to_string() }
            }
            DiscoveryError::Response(status, ..) if status.is_server_error() => {
                OidcError::Unreachable { provider, why: format!("it answered {status}") }
            }
            DiscoveryError::Response(status, ..) => {
                let why =
                    format!("there is no discovery document below `{}`: it answered {status}", *self.settings.issuer);
                OidcError::Misconfigured { provider, why }
            }
            other => OidcError::Misconfigured { provider, why: other.to_string() },
        }
    }
}
