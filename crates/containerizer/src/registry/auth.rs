//! Who KEA is to a registry: what `DOCKER_AUTH_CONFIG` says, else the logins that users of Docker or Podman have.

use std::{env, fs, path::PathBuf};

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;

use super::RegistryError;

/// Docker's configuration itself, as jobs of a cluster are given it. It says which login is for which registry, so that
/// none is shown to another one.
pub(crate) const CONFIG: &str = "DOCKER_AUTH_CONFIG";

/// The name with which a registry takes an identity token for a password: that of Azure's, which gives such tokens.
const TOKENS_NAME: &str = "00000000-0000-0000-0000-000000000000";

/// How Docker's configuration calls its own registry.
const DOCKER_HUB: [&str; 2] = ["https://index.docker.io/v1/", "docker.io"];

/// The login for `registry`, which may be none at all. Credential helpers are programs, so it belongs on a thread that
/// may block.
pub(super) fn of(registry: &str) -> Result<RegistryAuth, RegistryError> {
    check_readable(registry)?;
    let hub = registry == "docker.io" || registry == "index.docker.io";
    let names: &[&str] = if hub { &DOCKER_HUB } else { &[registry] };
    for name in names {
        for look_up in [given, docker_credential::get_credential, docker_credential::get_podman_credential] {
            match look_up(name) {
                Ok(credential) => return Ok(auth(credential)),
                Err(error) if is_none(&error) => {}
                Err(error) => return Err(unusable(registry, &error)),
            }
        }
    }
    Ok(RegistryAuth::Anonymous)
}

/// An error where a configuration is there and cannot be read: the library takes that for none.
fn check_readable(registry: &str) -> Result<(), RegistryError> {
    let unreadable = |name: String| RegistryError::Login {
        registry: registry.to_owned(),
        why: format!("{name} is no JSON as `docker login` writes it"),
    };
    let is_json = |text: &[u8]| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
    if let Some(config) = env::var(CONFIG).ok().filter(|config| !config.trim().is_empty())
        && !is_json(config.as_bytes())
    {
        return Err(unreadable(CONFIG.to_owned()));
    }
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".docker"));
    let folder = env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(home);
    match folder.map(|folder| folder.join("config.json")) {
        Some(file) if fs::read(&file).is_ok_and(|text| !is_json(&text)) => {
            Err(unreadable(format!("`{}`", file.display())))
        }
        _ => Ok(()),
    }
}

fn given(registry: &str) -> Result<DockerCredential, CredentialRetrievalError> {
    let config = env::var(CONFIG).ok().filter(|config| !config.trim().is_empty());
    let config = config.ok_or(CredentialRetrievalError::ConfigNotFound)?;
    docker_credential::get_credential_from_reader(config.as_bytes(), registry)
}

fn auth(credential: DockerCredential) -> RegistryAuth {
    match credential {
        DockerCredential::UsernamePassword(name, password) => RegistryAuth::Basic(name, password),
        DockerCredential::IdentityToken(token) => RegistryAuth::Basic(TOKENS_NAME.to_owned(), token),
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
