//! The certificate that is shown to callers: another one is taken without a restart, and from the next connection on.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::certificates::Identity;

/// The certificate that is in use.
#[derive(Debug, Default)]
pub(super) struct Served(ArcSwapOption<CertifiedKey>);

impl Served {
    /// Uses another certificate.
    ///
    /// # Errors
    /// Certificate and key cannot be read, or do not belong together.
    pub(super) fn put(&self, identity: &Identity) -> Result<(), String> {
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
        let certificate = certificate.map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|error| error.to_string())?;
        let certified = CertifiedKey::from_der(vec![certificate], key, &aws_lc_rs::default_provider());
        self.0.store(Some(Arc::new(certified.map_err(|error| error.to_string())?)));
        Ok(())
    }

    pub(super) fn has_certificate(&self) -> bool {
        self.0.load().is_some()
    }

    /// TLS with the certificate that is in use at each handshake.
    pub(super) fn tls(self: &Arc<Self>) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider has the cipher suites of TLS 1.2 and 1.3");
        Arc::new(config.with_no_client_auth().with_cert_resolver(self.clone()))
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}
