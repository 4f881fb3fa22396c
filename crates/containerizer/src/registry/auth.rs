//! Who KEA is to a registry: what the environment says, else the logins that users of Docker or Podman have.

use std::env;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;

use super::RegistryError;

/// A login that goes before those of files, as a job of a cluster is given one.
const USERNAME: &str = "KEA_REGISTRY_USERNAME";
const PASSWORD: &str = "KEA_REGISTRY_PASSWORD";

/// How Docker's configuration calls its own registry.
const DOCKER_HUB: [&str; 2] = ["https://index.docker.io/v1/", "docker.io"];

/// The login for `registry`, which may be none at all. Credential helpers are programs, so it belongs on a thread that
/// may block.
pub(super) fn of(registry: &str) -> Result<RegistryAuth, RegistryError> {
    if let (Ok(name), Ok(password)) = (env::var(USERNAME), env::var(PASSWORD)) {
        return Ok(RegistryAuth::Basic(name, password));
    }
    let hub = registry == "docker.io" || registry == "index.docker.io";
    let names: &[&str] = if hub { &DOCKER_HUB } else { &[registry] };
    for name in names {
        for look_up in [docker_credential::get_credential, docker_credential::get_podman_credential] {
            match look_up(name) {
                Ok(credential) => return Ok(auth(credential)),
                Err(error) if is_none(&error) => {}
                Err(error) => return Err(unusable(registry, &error)),
            }
        }
    }
    Ok(RegistryAuth::Anonymous)
}

fn auth(credential: DockerCredential) -> RegistryAuth {
    match credential {
        DockerCredential::UsernamePassword(name, password) => RegistryAuth::Basic(name, password),
        DockerCredential::IdentityToken(token) => RegistryAuth::Bearer(token),
    }
}

/// Whether there is just no login, as for a registry that lets everybody read.
fn is_none(error: &CredentialRetrievalError) -> bool {
    match error {
        CredentialRetrievalError::NoCredentialConfigured
        | CredentialRetrievalError::ConfigNotFound
        | CredentialRetrievalError::ConfigReadError => true,
        // Helpers say so in words, and with an exit status like that of every other failure.
        CredentialRetrievalError::HelperFailure { stdout, stderr, .. } => {
            [stdout, stderr].iter().any(|text| text.contains("credentials not found"))
        }
        _ => false,
    }
}

/// What a helper wrote is not passed on: it may hold the secret.
fn unusable(registry: &str, error: &CredentialRetrievalError) -> RegistryError {
    let why = match error {
        CredentialRetrievalError::HelperFailure { helper, .. } => format!("the credential helper `{helper}` failed"),
        other => other.to_string(),
    };
    RegistryError::Login { registry: registry.to_owned(), why }
}
