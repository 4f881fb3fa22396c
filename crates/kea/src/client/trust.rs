//! Whom the client trusts beside the public authorities, and the certificate that it shows.

use std::{ffi::OsString, path::PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};

use crate::failure::Failure;

/// File of authorities in PEM.
const CA_FILE: &str = "KEA_CA_FILE";

/// File with the client's own certificate and its key, in PEM.
const CLIENT_CERTIFICATE: &str = "KEA_CLIENT_CERTIFICATE";

/// Adds what the variables name.
pub(super) fn with_certificates(mut builder: ClientBuilder) -> Result<ClientBuilder, Failure> {
    if let Some(pem) = read(CA_FILE)? {
        let authorities = Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty());
        builder = builder.tls_certs_merge(authorities.ok_or_else(|| useless(CA_FILE, "certificates in PEM"))?);
    }
    if let Some(pem) = read(CLIENT_CERTIFICATE)? {
        let own =
            Identity::from_pem(&pem).map_err(|_| useless(CLIENT_CERTIFICATE, "a certificate and its key in PEM"))?;
        builder = builder.identity(own);
    }
    Ok(builder)
}

fn file(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| *value != OsString::new()).map(PathBuf::from)
}

fn read(variable: &str) -> Result<Option<Vec<u8>>, Failure> {
    let Some(path) = file(variable) else { return Ok(None) };
    std::fs::read(&path).map(Some).map_err(|source| Failure::File { path, source })
}

fn useless(variable: &str, wanted: &str) -> Failure {
    let path = file(variable).unwrap_or_default();
    Failure::Usage(format!("{variable}: `{}` does not hold {wanted}", path.display()))
}
