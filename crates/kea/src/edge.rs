//! The edge that callers reach, with or without TLS.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use axum::{extract::Request, response::Response};
use clap::Args;
use kea_http::{Tls, TlsFiles};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The files of TLS.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct TlsArgs {
    /// Certificate in PEM, with those between it and its authority: callers then use https
    #[arg(long = "tls-certificate", env = "KEA_TLS_CERTIFICATE", value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// Private key of that certificate, in PEM
    #[arg(long = "tls-key", env = "KEA_TLS_KEY", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Authorities in PEM; callers must then have a certificate of one of them
    #[arg(long = "tls-client-ca", env = "KEA_TLS_CLIENT_CA", value_name = "FILE")]
    pub(crate) client_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// What is given here, else what is given in `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            certificate: self.certificate.or(other.certificate),
            key: self.key.or(other.key),
            client_ca: self.client_ca.or(other.client_ca),
        }
    }

    /// TLS of these files; `None` where none is given.
    pub(crate) fn load(self) -> anyhow::Result<Option<Arc<Tls>>> {
        let files = match self {
            Self { certificate: None, key: None, client_ca: None } => return Ok(None),
            Self { certificate: Some(certificate), key: Some(key), client_ca } => {
                TlsFiles { certificate, key, client_ca }
            }
            Self { .. } => bail!("TLS needs both `tls-certificate` and `tls-key`: give the one that is missing"),
        };
        Ok(Some(Arc::new(Tls::load(files).context("TLS cannot be used")?)))
    }
}

/// Scheme of the URLs by which callers reach the edge.
pub(crate) fn scheme(tls: Option<&Arc<Tls>>) -> &'static str {
    if tls.is_some() { "https" } else { "http" }
}

/// Serves callers until `stop`, then lets requests under way finish, at most `drain`.
pub(crate) async fn serve<H, F>(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    handler: H,
    stop: impl Future<Output = ()>,
    drain: Duration,
) where
    H: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let Some(tls) = tls else {
        return kea_http::serve(listener, handler, stop, drain).await;
    };
    let served = CancellationToken::new();
    let serving = async {
        kea_http::serve_tls(listener, || tls.config(), handler, stop, drain).await;
        served.cancel();
    };
    tokio::join!(serving, tls.follow(&served));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_alone_is_a_mistake() {
        assert!(TlsArgs::default().load().unwrap().is_none());
        let alone = TlsArgs { certificate: Some("c.pem".into()), ..TlsArgs::default() };
        assert!(alone.load().err().unwrap().to_string().contains("`tls-key`"));
        let alone = TlsArgs { client_ca: Some("ca.pem".into()), ..TlsArgs::default() };
        assert!(alone.load().is_err());
    }
}
