//! TLS towards replicas: whom to believe, and what to show of oneself. It is said by files, for replicas elsewhere, or
//! handed over, for KEA's own. What changes holds from the next connection on.

use std::{error::Error, io, path::PathBuf, sync::Arc};

use arc_swap::ArcSwapOption;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{self, CertificateError, ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName},
};
use tokio_util::sync::CancellationToken;

use super::{PROTOCOLS, TlsError, authorities, certificates, changes, not_paired, private_key, read};

/// A connection to a replica within TLS.
pub type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Whom to believe, and what to show of oneself, in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaTlsFiles {
    /// Authorities of replicas, in place of those of the system.
    pub ca: Option<PathBuf>,
    /// Certificate and private key to show where a replica asks for them.
    pub own: Option<(PathBuf, PathBuf)>,
    /// The name that certificates must have, in place of the host of the replica's address.
    pub server_name: Option<String>,
}

/// Why there is no connection within TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsFailure {
    /// The files cannot be used.
    #[error(transparent)]
    Files(#[from] TlsError),
    /// Nothing was handed over yet.
    #[error("there is no certificate yet to show to replicas: the operator makes it")]
    NotYet,
    /// No certificate can be for such a name.
    #[error("`{0}` is no name of a server")]
    Name(String),
    /// The two did not agree.
    #[error("{}", why(.0))]
    Handshake(#[from] io::Error),
}

/// What is shown to replicas and believed of them, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct ReplicaIdentity {
    /// Authorities of replicas.
    pub ca: Vec<u8>,
    /// The certificate to show.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

/// TLS towards replicas, as it was said last.
pub struct ReplicaTls {
    source: Source,
    /// Empty until it is needed: the authorities of the system are many.
    current: ArcSwapOption<Configs>,
}

/// Who says it.
enum Source {
    Files(ReplicaTlsFiles),
    /// Whoever calls [`ReplicaTls::put`].
    Given,
}

/// Nothing in particular, so that the authorities of the system are believed.
impl Default for ReplicaTls {
    fn default() -> Self {
        Self { source: Source::Files(ReplicaTlsFiles::default()), current: ArcSwapOption::empty() }
    }
}

struct Configs {
    /// HTTP/2 or HTTP/1.1.
    both: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

impl ReplicaTls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn load(files: ReplicaTlsFiles) -> Result<Self, TlsError> {
        let current = match files.are_given() {
            true => Some(Arc::new(Contents::read(&files)?.configs(&files)?)),
            false => None,
        };
        if let Some(name) = files.server_name.as_ref().filter(|name| ServerName::try_from(name.as_str()).is_err()) {
            return Err(TlsError::ServerName(name.clone()));
        }
        Ok(Self { source: Source::Files(files), current: ArcSwapOption::from(current) })
    }

    /// One that believes nobody until it is told whom.
    pub fn awaiting() -> Self {
        Self { source: Source::Given, current: ArcSwapOption::empty() }
    }

    /// Shows and believes this from the next connection on.
    ///
    /// # Errors
    /// What is wrong with it; what was there before stays.
    pub fn put(&self, identity: &ReplicaIdentity) -> Result<(), TlsError> {
        let ReplicaIdentity { ca, certificate, key } = identity.clone();
        let files = ReplicaTlsFiles::of_a_secret();
        let configs = Contents { ca: Some(ca), own: Some((certificate, key)) }.configs(&files)?;
        self.current.store(Some(Arc::new(configs)));
        Ok(())
    }

    /// Looks at the files until `stop`. Files that cannot be used change nothing, which is logged once.
    pub async fn follow(&self, stop: &CancellationToken) {
        let Source::Files(files) = &self.source else { return };
        if !files.are_given() {
            return;
        }
        let take = |contents: &Contents| match contents.configs(files) {
            Ok(configs) => {
                self.current.store(Some(Arc::new(configs)));
                tracing::info!("took the changed certificates for replicas");
            }
            Err(error) => tracing::error!(%error, "the changed certificates for replicas cannot be used"),
        };
        changes(|| Contents::read(files), take, stop).await;
    }

    /// Agrees on TLS with a replica that is called `host`; on HTTP/1.1 within it where nothing else will do.
    ///
    /// # Errors
    /// Why they do not agree.
    pub async fn connect(&self, stream: TcpStream, host: &str, http1_alone: bool) -> Result<TlsStream, TlsFailure> {
        let configs = self.configs()?;
        let name = match &self.source {
            Source::Files(files) => files.server_name.as_deref().unwrap_or(host),
            Source::Given => host,
        };
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsFailure::Name(name.into()))?;
        let config = if http1_alone { &configs.http1 } else { &configs.both };
        Ok(TlsConnector::from(config.clone()).connect(name, stream).await?)
    }

    fn configs(&self) -> Result<Arc<Configs>, TlsFailure> {
        if let Some(configs) = self.current.load_full() {
            return Ok(configs);
        }
        let Source::Files(files) = &self.source else { return Err(TlsFailure::NotYet) };
        let configs = Arc::new(Contents::read(files)?.configs(files)?);
        self.current.store(Some(configs.clone()));
        Ok(configs)
    }
}

impl ReplicaTlsFiles {
    fn are_given(&self) -> bool {
        self.ca.is_some() || self.own.is_some()
    }

    /// What the parts of a Secret are called, for errors about them.
    fn of_a_secret() -> Self {
        Self { ca: Some("ca.crt".into()), own: Some(("tls.crt".into(), "tls.key".into())), server_name: None }
    }
}

/// Whether HTTP/2 was agreed upon.
pub fn is_http2(stream: &TlsStream) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(PROTOCOLS[0])
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    ca: Option<Vec<u8>>,
    own: Option<(Vec<u8>, Vec<u8>)>,
}

impl Contents {
    fn read(files: &ReplicaTlsFiles) -> Result<Self, TlsError> {
        let ca = files.ca.as_deref().map(read).transpose()?;
        let own = match &files.own {
            Some((certificate, key)) => Some((read(certificate)?, read(key)?)),
            None => None,
        };
        Ok(Self { ca, own })
    }

    fn configs(&self, files: &ReplicaTlsFiles) -> Result<Configs, TlsError> {
        let both = self.config(files)?;
        let mut http1 = both.clone();
        http1.alpn_protocols = vec![PROTOCOLS[1].to_vec()];
        Ok(Configs { both: both.into(), http1: http1.into() })
    }

    fn config(&self, files: &ReplicaTlsFiles) -> Result<ClientConfig, TlsError> {
        let roots = match files.ca.as_deref().zip(self.ca.as_deref()) {
            Some((file, pem)) => authorities(file, pem)?,
            None => of_the_system(),
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has the cipher suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots);
        let mut config = match files.own.as_ref().zip(self.own.as_ref()) {
            None => builder.with_no_client_auth(),
            Some(((certificate, key), (certificate_pem, key_pem))) => {
                let chain = certificates(certificate, certificate_pem)?;
                let not_paired = |error| not_paired(certificate, key, error);
                builder.with_client_auth_cert(chain, private_key(key, key_pem)?).map_err(not_paired)?
            }
        };
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(config)
    }
}

/// The authorities that this machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others).
fn of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "an authority of the system cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

/// What TLS has to say of an error; `None` where it has none of its own in it.
pub fn reason(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = within.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = found.or_else(|| error.downcast_ref::<rustls::Error>()) {
            return Some(words(tls));
        }
        next = match within {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn why(error: &io::Error) -> String {
    reason(error).unwrap_or_else(|| error.to_string())
}

fn words(error: &rustls::Error) -> String {
    use CertificateError as C;
    let rustls::Error::InvalidCertificate(why) = error else { return error.to_string() };
    match why {
        C::UnknownIssuer => {
            "its certificate is of an authority that is not trusted: name that in `replica-ca`, unless \
                             the replica is one of KEA's own"
                .into()
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => format!("its certificate is for another name: {why}"),
        C::Expired | C::ExpiredContext { .. } => format!("its certificate has expired: {why}"),
        C::NotValidYet | C::NotValidYetContext { .. } => format!("its certificate does not hold yet: {why}"),
        other => format!("its certificate is no good: {other}"),
    }
}

#[cfg(test)]
mod tests;
