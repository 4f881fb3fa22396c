//! TLS towards replicas elsewhere: whom to believe, and what to show of KEA.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use clap::Args;
use kea_http::replica_tls::{ReplicaTls, ReplicaTlsFiles};

/// The files of TLS towards replicas.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct ReplicaTlsArgs {
    /// Authorities in PEM that are believed of replicas at https:// addresses [default: those of the system]
    #[arg(id = "replica-ca", long = "replica-ca", env = "KEA_REPLICA_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Certificate in PEM that is shown to those replicas
    #[arg(
        id = "replica-certificate",
        long = "replica-certificate",
        env = "KEA_REPLICA_CERTIFICATE",
        value_name = "FILE"
    )]
    pub(crate) certificate: Option<PathBuf>,
    /// Private key of that certificate, in PEM
    #[arg(id = "replica-key", long = "replica-key", env = "KEA_REPLICA_KEY", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Name that the certificates of those replicas must have [default: the host of the address]
    #[arg(
        id = "replica-server-name",
        long = "replica-server-name",
        env = "KEA_REPLICA_SERVER_NAME",
        value_name = "NAME"
    )]
    pub(crate) server_name: Option<String>,
}

impl ReplicaTlsArgs {
    /// What is given here, else what is given in `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            ca: self.ca.or(other.ca),
            certificate: self.certificate.or(other.certificate),
            key: self.key.or(other.key),
            server_name: self.server_name.or(other.server_name),
        }
    }

    /// TLS of these files.
    pub(crate) fn load(self) -> anyhow::Result<Arc<ReplicaTls>> {
        let own = match (self.certificate, self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => bail!("`replica-certificate` and `replica-key` belong together: give the one that is missing"),
        };
        let files = ReplicaTlsFiles { ca: self.ca, own, server_name: self.server_name };
        Ok(Arc::new(ReplicaTls::load(files).context("TLS towards replicas cannot be used")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_pair_is_a_mistake_and_no_file_is_none() {
        assert!(ReplicaTlsArgs::default().load().is_ok());
        let alone = ReplicaTlsArgs { certificate: Some("c.pem".into()), ..ReplicaTlsArgs::default() };
        assert!(alone.load().err().unwrap().to_string().contains("`replica-key`"));
        let nowhere = ReplicaTlsArgs { ca: Some("none.pem".into()), ..ReplicaTlsArgs::default() };
        assert!(format!("{:#}", nowhere.load().err().unwrap()).contains("`none.pem` cannot be read"));
    }
}
