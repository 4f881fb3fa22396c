//! Who KEA is to a registry: what `DOCKER_AUTH_CONFIG` says, else the logins that users of Docker or Podman have.

use std::{env, fmt, fs, path::PathBuf};

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

/// Logins that somebody gives, as a Secret of the type `kubernetes.io/dockerconfigjson` holds them.
#[derive(Clone, PartialEq, Eq)]
pub struct Logins(Vec<String>);

impl Logins {
    /// The logins of some `config.json` of Docker's; the first that has one for a registry counts. The helpers that they
    /// name are not asked: these are programs, which the giver has no right to start here.
    ///
    /// # Errors
    /// One of them is no JSON as `docker login` writes it.
    pub fn of<'a>(configs: impl IntoIterator<Item = &'a str>) -> Result<Self, RegistryError> {
        let read = |text: &str| {
            let config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
            let auths = config.get("auths").cloned().unwrap_or_else(|| serde_json::json!({}));
            auths.is_object().then(|| serde_json::json!({ "auths": auths }).to_string())
        };
        let read: Option<Vec<String>> = configs.into_iter().map(read).collect();
        read.map(Self).ok_or(RegistryError::Logins)
    }

    fn find(&self, name: &str) -> Found {
        let look_up = |config: &String| docker_credential::get_credential_from_reader(config.as_bytes(), name);
        first(self.0.iter().map(look_up))
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins(***)")
    }
}

/// What a look-up under one name gives.
type Found = Result<DockerCredential, CredentialRetrievalError>;

/// The login for a registry by its names, best first, which may be none at all: one of `given`, or else of this process.
/// Credential helpers are programs, so it belongs on a thread that may block.
pub(super) fn of(names: &[String; 2], given: Option<&Logins>) -> Result<RegistryAuth, RegistryError> {
    let registry = &names[0];
    if given.is_none() {
        check_readable(registry)?;
    }
    let names: Vec<&str> = names.iter().flat_map(|name| keys(name)).collect();
    let found = first(names.iter().map(|name| given.map_or_else(|| ours(name), |logins| logins.find(name))));
    match found {
        Ok(credential) => Ok(auth(credential)),
        Err(error) if is_none(&error) => Ok(RegistryAuth::Anonymous),
        Err(error) => Err(unusable(registry, &error)),
    }
}

/// How configurations call a registry.
fn keys(registry: &String) -> Vec<&str> {
    let hub = registry == "docker.io" || registry == "index.docker.io";
    if hub { DOCKER_HUB.to_vec() } else { vec![registry] }
}

/// The login of this process.
fn ours(name: &str) -> Found {
    let places = [in_variable, docker_credential::get_credential, docker_credential::get_podman_credential];
    first(places.iter().map(|look_up| look_up(name)))
}

/// The first that is there, or that cannot be read.
fn first(found: impl IntoIterator<Item = Found>) -> Found {
    let there = found.into_iter().find(|found| !found.as_ref().is_err_and(is_none));
    there.unwrap_or(Err(CredentialRetrievalError::NoCredentialConfigured))
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

fn in_variable(registry: &str) -> Found {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn login(logins: &Logins, registry: &str) -> RegistryAuth {
        of(&[registry.into(), registry.into()], Some(logins)).unwrap()
    }

    #[test]
    fn a_login_for_the_name_goes_before_one_for_the_address() {
        let names = ["registry.example".to_owned(), "10.0.0.1:5000".to_owned()];
        let user = |config: &str| match of(&names, Some(&Logins::of([config]).unwrap())).unwrap() {
            RegistryAuth::Basic(user, _) => user,
            _ => String::new(),
        };
        let address = r#""10.0.0.1:5000": {"username": "address", "password": "x"}"#;
        let name = r#""registry.example": {"username": "name", "password": "x"}"#;
        assert_eq!(user(&format!(r#"{{"auths": {{{address}}}}}"#)), "address");
        assert_eq!(user(&format!(r#"{{"auths": {{{address}, {name}}}}}"#)), "name");
    }

    #[test]
    fn a_given_login_is_for_its_own_registry() {
        // `me:secret`, as `kubectl create secret docker-registry` writes it.
        let one = r#"{"auths": {"registry.example": {"auth": "bWU6c2VjcmV0"}}}"#;
        let other = r#"{"auths": {"https://index.docker.io/v1/": {"username": "me", "password": "hub"}}}"#;
        let logins = Logins::of([one, other]).unwrap();
        assert_eq!(login(&logins, "registry.example"), RegistryAuth::Basic("me".into(), "secret".into()));
        assert_eq!(login(&logins, "docker.io"), RegistryAuth::Basic("me".into(), "hub".into()));
        assert_eq!(login(&logins, "other.example"), RegistryAuth::Anonymous);
        assert!(!format!("{logins:?}").contains("secret"));
    }

    #[test]
    fn helpers_of_given_logins_are_not_started() {
        let logins = Logins::of([r#"{"credHelpers": {"registry.example": "no-such"}, "credsStore": "no-such"}"#]);
        assert_eq!(login(&logins.unwrap(), "registry.example"), RegistryAuth::Anonymous);
    }

    #[test]
    fn logins_that_are_none_are_told() {
        for text in ["", "[]", r#"{"auths": []}"#] {
            assert!(matches!(Logins::of([text]), Err(RegistryError::Logins)), "{text}");
        }
    }
}
