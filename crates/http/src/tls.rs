//! TLS from files: certificate and key, and the authority of callers' certificates where they must have one. Files that
//! change are read again, and hold from the next connection on.

pub mod replicas;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio_rustls::rustls::{
    self, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at. They are small, and a mounted Secret changes by a link that no watch sees.
const LOOK: Duration = Duration::from_secs(1);

/// Protocols that are offered within TLS (ALPN), the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where certificate and key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
    /// Certificates of the authorities of which callers must have one; `None` where they need none.
    pub client_ca: Option<PathBuf>,
}

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`{}` cannot be read: {error}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A file has no certificate, or one that is none.
    #[error("`{}` has no certificates in PEM: {why}", .0.display(), why = .1)]
    NoCertificate(PathBuf, String),
    /// A file has no key, or one that is none.
    #[error("`{}` has no private key in PEM: {why}", .0.display(), why = .1)]
    NoKey(PathBuf, String),
    /// The key is that of another certificate, or of a kind that is not known.
    #[error("certificate `{}` and key `{}` do not belong together: {error}", .certificate.display(), .key.display())]
    NotPaired {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The TLS library's reason.
        error: Box<rustls::Error>,
    },
    /// The name that replicas' certificates are to have is none.
    #[error("`{0}` is no name of a server: write for example `models.example`")]
    ServerName(String),
    /// The authorities of callers cannot be used.
    #[error("`{}` has no authorities of callers: {error}", .file.display())]
    ClientCa {
        /// The file.
        file: PathBuf,
        /// The TLS library's reason.
        error: VerifierBuilderError,
    },
}

/// TLS as the files say it now.
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(Contents::read(&files)?.config(&files)?);
        Ok(Self { files, current })
    }

    /// What holds for a connection that comes now.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Looks at the files until `stop`. Files that cannot be used change nothing, which is logged once.
    pub async fn follow(&self, stop: &CancellationToken) {
        changes(|| Contents::read(&self.files), |contents| self.take(contents), stop).await;
    }

    fn take(&self, contents: &Contents) {
        match contents.config(&self.files) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                tracing::info!(certificate = %self.files.certificate.display(), "took the changed certificate");
            }
            Err(error) => tracing::error!(%error, "the changed certificate cannot be used; the one before still is"),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Looks at files until `stop`, and hands over what they hold each time that it has changed.
async fn changes<T: PartialEq>(read: impl Fn() -> Result<T, TlsError>, take: impl Fn(&T), stop: &CancellationToken) {
    let mut before = read().ok();
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        // A file that is away for a moment is being replaced.
        let Ok(now) = read() else { continue };
        if before.as_ref() != Some(&now) {
            take(&now);
            before = Some(now);
        }
    }
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let client_ca = files.client_ca.as_deref().map(read).transpose()?;
        Ok(Self { certificate: read(&files.certificate)?, key: read(&files.key)?, client_ca })
    }

    fn config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates(&files.certificate, &self.certificate)?;
        let key = private_key(&files.key, &self.key)?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has the cipher suites of TLS 1.2 and 1.3");
        let builder = match files.client_ca.as_deref().zip(self.client_ca.as_deref()) {
            None => builder.with_no_client_auth(),
            Some((file, pem)) => builder.with_client_cert_verifier(verifier(file, pem, &provider)?),
        };
        let not_paired = |error| not_paired(&files.certificate, &files.key, error);
        let mut config = builder.with_single_cert(chain, key).map_err(not_paired)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(config)
    }
}

fn not_paired(certificate: &Path, key: &Path, error: rustls::Error) -> TlsError {
    TlsError::NotPaired { certificate: certificate.into(), key: key.into(), error: Box::new(error) }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|error| TlsError::Unreadable { file: file.into(), error })
}

fn private_key(file: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| TlsError::NoKey(file.into(), error.to_string()))
}

/// The authorities of a file.
fn authorities(file: &Path, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, pem)? {
        roots.add(certificate).map_err(|error| TlsError::NoCertificate(file.into(), error.to_string()))?;
    }
    Ok(roots)
}

/// All certificates of a file; at least one.
fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = |why: String| TlsError::NoCertificate(file.into(), why);
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| none(error.to_string()))?;
    if read.is_empty() { Err(none("there is none".into())) } else { Ok(read) }
}

fn verifier(
    file: &Path,
    pem: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let roots = authorities(file, pem)?;
    let built = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build();
    built.map_err(|error| TlsError::ClientCa { file: file.into(), error })
}

#[cfg(test)]
mod tests;
