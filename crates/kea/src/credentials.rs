//! The tokens of `kea login`, in a file that only the user can read, each under the address of its server.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use kea_core::management::LoginResponse;
use serde::{Deserialize, Serialize};

use crate::client::ServerUrl;

/// Why the saved logins cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// No place for them.
    #[error("there is no folder to keep logins in: set HOME or XDG_CONFIG_HOME, or give a token with KEA_TOKEN")]
    NoFolder,
    /// They cannot be read or written.
    #[error("the logins in {} cannot be used: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// They are not what was written.
    #[error("the logins in {} cannot be read: {source}\nremove the file and log in again", .path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
}

/// One login.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Login {
    /// The user.
    pub(crate) username: String,
    /// The token.
    pub(crate) token: String,
    /// When the token expires.
    pub(crate) expires_at: Timestamp,
    /// What gets the next token; an early version kept none.
    #[serde(default)]
    pub(crate) refresh_token: Option<String>,
}

impl From<LoginResponse> for Login {
    fn from(answer: LoginResponse) -> Self {
        let LoginResponse { token, expires_at, refresh_token, username, .. } = answer;
        Self { username, token, expires_at, refresh_token: Some(refresh_token) }
    }
}

/// All logins, and the server of the last one.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Logins {
    last_server: Option<String>,
    servers: BTreeMap<String, Login>,
}

/// The file that logins are kept in.
pub(crate) struct Credentials {
    path: PathBuf,
    logins: Logins,
    /// Held by whoever changes them, until they are done.
    _lock: Option<fs::File>,
}

impl Credentials {
    /// Reads the user's logins; there are none where there is no file.
    pub(crate) fn open() -> Result<Self, CredentialsError> {
        Self::read(file()?)
    }

    /// The same, to change them: waits until no other command does.
    pub(crate) fn lock() -> Result<Self, CredentialsError> {
        Self::read_locked(file()?)
    }

    fn read_locked(path: PathBuf) -> Result<Self, CredentialsError> {
        let lock = take_lock(path.parent().unwrap_or(Path::new(".")))
            .map_err(|source| CredentialsError::File { path: path.clone(), source })?;
        Ok(Self { _lock: Some(lock), ..Self::read(path)? })
    }

    fn read(path: PathBuf) -> Result<Self, CredentialsError> {
        let logins = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| CredentialsError::Malformed { path: path.clone(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Logins::default(),
            Err(source) => return Err(CredentialsError::File { path, source }),
        };
        Ok(Self { path, logins, _lock: None })
    }

    /// The login at `server`.
    pub(crate) fn at(&self, server: &ServerUrl) -> Option<&Login> {
        self.logins.servers.get(&server.to_string())
    }

    /// The server of the last login.
    pub(crate) fn last_server(&self) -> Option<ServerUrl> {
        self.logins.last_server.as_ref()?.parse().ok()
    }

    /// Keeps a login, and takes its server where none is named from now on.
    pub(crate) fn keep(&mut self, server: &ServerUrl, login: Login) -> Result<(), CredentialsError> {
        self.logins.servers.insert(server.to_string(), login);
        self.logins.last_server = Some(server.to_string());
        self.write()
    }

    /// Keeps the next tokens of a login.
    pub(crate) fn renew(&mut self, server: &ServerUrl, login: Login) -> Result<(), CredentialsError> {
        self.logins.servers.insert(server.to_string(), login);
        self.write()
    }

    /// Forgets the login at `server`; `false` where there was none.
    pub(crate) fn forget(&mut self, server: &ServerUrl) -> Result<bool, CredentialsError> {
        let existed = self.logins.servers.remove(&server.to_string()).is_some();
        if existed {
            self.write()?;
        }
        Ok(existed)
    }

    fn write(&self) -> Result<(), CredentialsError> {
        write_private(&self.path, &self.logins)
            .map_err(|source| CredentialsError::File { path: self.path.clone(), source })
    }
}

fn file() -> Result<PathBuf, CredentialsError> {
    Ok(config_folder().ok_or(CredentialsError::NoFolder)?.join("credentials.json"))
}

/// The lock is the folder's: the file itself is replaced. The system lets go of it with the process, however that ends.
fn take_lock(folder: &Path) -> io::Result<fs::File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let folder = fs::File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

fn config_folder() -> Option<PathBuf> {
    // The XDG specification says that a relative path is to be ignored.
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(config.join("kea"))
}

/// Replaces the file as a whole, so that nobody ever reads half of it or reads it before it is private.
fn write_private(path: &Path, logins: &Logins) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // `tempfile` makes its files with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&mut file, logins)?;
    file.flush()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn login(token: &str) -> Login {
        Login { username: "admin".into(), token: token.into(), expires_at: Timestamp::UNIX_EPOCH, refresh_token: None }
    }

    fn server(text: &str) -> ServerUrl {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_user_can_read_the_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("kea/credentials.json");
        Credentials::read(path.clone()).unwrap().keep(&server("localhost:1"), login("t")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }

    #[test]
    fn a_file_that_others_can_read_is_made_private_by_the_next_login() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("credentials.json");
        fs::write(&path, "{\"lastServer\": null, \"servers\": {}}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Credentials::read(path.clone()).unwrap().keep(&server("localhost:1"), login("t")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_token_belongs_to_its_server() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("credentials.json");
        let mut credentials = Credentials::read(path.clone()).unwrap();
        credentials.keep(&server("http://a:1"), login("of a")).unwrap();
        credentials.keep(&server("http://b:1/"), login("of b")).unwrap();

        let mut credentials = Credentials::read(path).unwrap();
        assert_eq!(credentials.at(&server("http://a:1/")).unwrap().token, "of a");
        assert_eq!(credentials.last_server(), Some(server("http://b:1")));
        assert!(credentials.at(&server("http://c:1")).is_none());
        assert!(credentials.forget(&server("http://b:1")).unwrap());
        assert!(!credentials.forget(&server("http://b:1")).unwrap());
        assert!(credentials.at(&server("http://b:1")).is_none());
    }

    #[test]
    fn those_who_change_logins_at_once_lose_none() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("kea/credentials.json");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = path.clone();
                scope.spawn(move || {
                    let mut credentials = Credentials::read_locked(path).unwrap();
                    credentials.keep(&server(&format!("http://a:{}", number + 1)), login("t")).unwrap();
                });
            }
        });
        let kept = Credentials::read(path).unwrap();
        assert!((0..8).all(|number| kept.at(&server(&format!("http://a:{}", number + 1))).is_some()));
    }

    #[test]
    fn a_login_of_an_early_version_is_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("credentials.json");
        let early = r#"{"lastServer": null, "servers": {"http://a:1/": {"username": "admin", "token": "t",
            "expiresAt": "2030-01-01T00:00:00Z"}}}"#;
        fs::write(&path, early).unwrap();
        let kept = Credentials::read(path).unwrap();
        assert_eq!(kept.logins.servers.values().next().unwrap().refresh_token, None);
    }

    #[test]
    fn a_file_that_is_no_json_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("credentials.json");
        fs::write(&path, "{").unwrap();
        let told = Credentials::read(path.clone()).err().unwrap().to_string();
        assert!(told.contains(path.to_str().unwrap()) && told.contains("log in again"), "{told}");
    }
}
