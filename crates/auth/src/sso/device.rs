//! A device's login: it shows a code, and asks until its user has typed that at the provider. Nothing of it is kept here.

use std::{sync::Arc, time::Duration};

use super::{Sso, SsoError};
use crate::{
    Origin, Session,
    oidc::{DeviceAnswer, PendingDevice, Provider},
    sessions::ExternalSession,
};

/// What the handle of a device is sealed for.
const DEVICE: &str = "kea-sso-device";

/// What a device shows its user, and asks with.
#[derive(Clone, Debug)]
pub struct DeviceLogin {
    /// What the user types.
    pub user_code: String,
    /// Where they type it.
    pub verification_uri: String,
    /// The same with the code in it, where the provider has that.
    pub verification_uri_complete: Option<String>,
    /// How long there is time.
    pub expires_in: Duration,
    /// How long to wait before each question.
    pub interval: Duration,
    /// What the device asks with.
    pub handle: String,
}

/// What has become of a device's login.
pub enum DevicePoll {
    /// Its user has not typed the code yet: ask again after so long.
    Pending(Duration),
    /// They have.
    Done(Box<Session>),
}

impl Sso {
    /// Begins the login of a device. The provider is asked for each, so that those that are never ended count as failures of
    /// the address.
    ///
    /// # Errors
    /// [`SsoError::NoProvider`], [`SsoError::NoDevice`], [`SsoError::Provider`], [`AuthError::Throttled`].
    ///
    /// [`AuthError::Throttled`]: crate::AuthError::Throttled
    pub async fn begin_device(&self, provider: &str, origin: &Origin) -> Result<DeviceLogin, SsoError> {
        let provider = self.device_provider(provider)?;
        let _counted = self.auth.throttle.visit(origin.address)?;
        let code = provider.begin_device().await?;
        let expires_in = Duration::from_secs(code.expires_in).min(Self::WITHIN);
        let pending = PendingDevice {
            provider: provider.settings().name.to_string(),
            device_code: code.device_code,
            interval: code.interval,
        };
        Ok(DeviceLogin {
            handle: self.seal.close(DEVICE, &pending, expires_in),
            user_code: code.user_code,
            verification_uri: code.verification_uri,
            verification_uri_complete: code.verification_uri_complete,
            expires_in,
            interval: Duration::from_secs(code.interval),
        })
    }

    /// The session of a device, once its user has typed the code.
    ///
    /// # Errors
    /// [`SsoError::NoProvider`], [`SsoError::NoDevice`], [`SsoError::NoSuchCode`], [`SsoError::Provider`],
    /// [`SsoError::NameTaken`], [`SsoError::Disabled`], [`AuthError::Throttled`], and that of the store.
    ///
    /// [`AuthError::Throttled`]: crate::AuthError::Throttled
    #[tracing::instrument(skip_all)]
    pub async fn poll_device(&self, provider: &str, handle: &str, origin: &Origin) -> Result<DevicePoll, SsoError> {
        let provider = self.device_provider(provider)?;
        let visit = self.auth.throttle.visit(origin.address)?;
        let pending: Option<PendingDevice> = self.seal.open(DEVICE, handle);
        let pending = pending.filter(|pending| pending.provider == provider.settings().name.as_str());
        let pending = pending.ok_or(SsoError::NoSuchCode)?;
        let (identity, id_token) = match provider.ask_device(&pending).await? {
            DeviceAnswer::Pending(interval) => {
                visit.succeeded();
                return Ok(DevicePoll::Pending(interval));
            }
            DeviceAnswer::Done(done) => *done,
        };
        let user = self.auth.admit(&identity).await?;
        tracing::info!(username = user.username, provider = pending.provider, "logged in by a device code");
        visit.succeeded();
        self.auth.throttle.forgive(origin.address);
        let external = ExternalSession::new(&pending.provider, id_token);
        Ok(DevicePoll::Done(Box::new(self.auth.begin_with(&user, origin, Some(external)).await?)))
    }

    fn device_provider(&self, name: &str) -> Result<&Arc<Provider>, SsoError> {
        let provider = self.provider(name)?;
        let settings = provider.settings();
        if settings.device { Ok(provider) } else { Err(SsoError::NoDevice(settings.name.clone())) }
    }
}
