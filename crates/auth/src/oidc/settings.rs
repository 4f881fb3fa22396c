//! What is configured of a provider.

use std::{collections::BTreeMap, env, fmt, fs, path::PathBuf, str::FromStr};

use kea_core::policy::PolicyName;
use openidconnect::IssuerUrl;
use serde::{Deserialize, de::IgnoredAny};

/// How a provider is called in paths and in names of its users: lower-case letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ProviderName(String);

impl ProviderName {
    /// Most letters of one.
    pub const LONGEST: usize = 63;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProviderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let good = (1..=Self::LONGEST).contains(&text.len()) && text.chars().all(fits);
        if good {
            Ok(Self(text.into()))
        } else {
            Err(format!("`{text}` is not a name of lower-case letters, digits and `-`"))
        }
    }
}

impl TryFrom<String> for ProviderName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A client's secret, which is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "SecretText")]
pub struct Secret(pub(crate) String);

/// What may stand in the place of a secret: its own words for a value of another kind would show the value.
#[derive(Deserialize)]
#[serde(untagged)]
enum SecretText {
    Text(String),
    Other(IgnoredAny),
}

impl TryFrom<SecretText> for Secret {
    type Error = &'static str;

    fn try_from(text: SecretText) -> Result<Self, &'static str> {
        match text {
            SecretText::Text(text) => Ok(Self(text)),
            SecretText::Other(_) => Err("a secret is a text"),
        }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A provider, as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProviderSettings {
    /// Its name in paths.
    pub name: ProviderName,
    /// What people read; the name where it is not given.
    pub title: Option<String>,
    /// Its issuer, letter by letter, below which it is discovered: `/.well-known/openid-configuration`.
    pub issuer: IssuerUrl,
    /// KEA's identifier there.
    pub client_id: String,
    /// KEA's secret there; none where KEA is a public client.
    pub client_secret: Option<Secret>,
    /// File with that secret.
    pub client_secret_file: Option<PathBuf>,
    /// Environment variable with that secret.
    pub client_secret_env: Option<String>,
    /// What is asked for beside `openid`.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// The claim that holds a user's name.
    #[serde(default = "default_username_claim")]
    pub username_claim: String,
    /// What is put before that name, so that no provider's user is taken for another one's or for a local one.
    pub username_prefix: Option<String>,
    /// The claim that holds a user's groups.
    #[serde(default = "default_groups_claim")]
    pub groups_claim: String,
    /// What is put before a group's name where bindings name it, so that groups of two providers are told apart.
    #[serde(default)]
    pub groups_prefix: String,
    /// Roles that members of a group have, by the group's name at the provider.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<PolicyName>>,
    /// Audiences of which this issuer's own tokens are accepted in place of KEA's; none are where it is empty.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Whether people may log in by a code that they type on another machine. Who talks somebody into typing one of theirs
    /// has that person's session.
    #[serde(default)]
    pub device: bool,
    /// File of authorities to believe for its address, in PEM, beside the public ones.
    pub ca_file: Option<PathBuf>,
}

impl ProviderSettings {
    /// What people read.
    pub fn title(&self) -> &str {
        self.title.as_deref().unwrap_or(self.name.as_str())
    }

    /// With the secret, from wherever it is; and checked, as far as that can be done without the provider.
    pub(super) fn complete(mut self) -> Result<Self, String> {
        if self.client_id.is_empty() {
            return Err("`client-id` is empty".into());
        }
        if !matches!(self.issuer.url().scheme(), "http" | "https") {
            return Err(format!("`issuer`: `{}` is no address of a provider: it begins with `https://`", *self.issuer));
        }
        if self.issuer.url().scheme() == "http" && !is_of_this_machine(&self.issuer) {
            return Err(format!(
                "`issuer`: `{}` is taken with `https://` alone: whoever is on the way could say who is who",
                *self.issuer
            ));
        }
        if self.audiences.contains(&self.client_id) {
            return Err(format!(
                "`audiences`: `{}` is the `client-id`, for which ID tokens are issued, and those are for logins alone: \
                 register an audience of its own for the API, as `kea-api`",
                self.client_id
            ));
        }
        let word = |scope: &String| !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_graphic());
        if let Some(scope) = self.scopes.iter().find(|scope| !word(scope)) {
            return Err(format!("`scopes`: `{scope}` is no scope: write each as a text of its own"));
        }
        self.client_secret = self.secret()?;
        Ok(self)
    }

    fn secret(&self) -> Result<Option<Secret>, String> {
        let text = match (&self.client_secret, &self.client_secret_file, &self.client_secret_env) {
            (None, None, None) => return Ok(None),
            (Some(Secret(text)), None, None) => text.clone(),
            (None, Some(file), None) => {
                let read = fs::read_to_string(file);
                let read = read.map_err(|error| format!("`client-secret-file`: `{}`: {error}", file.display()))?;
                read.trim_end_matches(['\r', '\n']).into()
            }
            (None, None, Some(name)) => env::var(name)
                .map_err(|_| format!("`client-secret-env`: the variable `{name}` is not set, or is no text"))?,
            _ => return Err("give one of `client-secret`, `client-secret-file` and `client-secret-env`".into()),
        };
        if text.is_empty() { Err("the client's secret is empty".into()) } else { Ok(Some(Secret(text))) }
    }

    /// Roles of those who are in these groups, by the provider's names of them; each once.
    pub(crate) fn roles_of<'a>(&self, groups: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut roles: Vec<String> =
            groups.filter_map(|group| self.roles.get(group)).flatten().map(ToString::to_string).collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }

    /// What a name or a subject of this provider is called here.
    pub(crate) fn username(&self, claim: &str) -> String {
        match &self.username_prefix {
            Some(prefix) => format!("{prefix}{claim}"),
            None => format!("{}:{claim}", self.name),
        }
    }
}

/// Whether requests to it stay on this machine, where nobody is on the way.
fn is_of_this_machine(issuer: &IssuerUrl) -> bool {
    match issuer.url().host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn default_scopes() -> Vec<String> {
    ["profile", "email"].map(String::from).into()
}

fn default_username_claim() -> String {
    "preferred_username".into()
}

fn default_groups_claim() -> String {
    "groups".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> Result<ProviderSettings, String> {
        let text = format!("name = \"corp\"\nclient-id = \"kea\"\n{more}");
        let settings: ProviderSettings = toml::from_str(&text).map_err(|error| error.message().to_string())?;
        settings.complete()
    }

    const ISSUER: &str = "issuer = \"https://login.example\"\n";

    #[test]
    fn the_secret_comes_from_one_place() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "hunter2\n").unwrap();
        let file = format!("client-secret-file = \"{}\"\n", file.path().display());
        let given = "client-secret = \"hunter2\"\n";
        let secret = |more: &str| read(&format!("{ISSUER}{more}")).map(|settings| settings.client_secret);
        assert_eq!(secret(given).unwrap(), Some(Secret("hunter2".into())));
        assert_eq!(secret(&file).unwrap(), Some(Secret("hunter2".into())));
        // A variable that every test has.
        assert!(secret("client-secret-env = \"PATH\"").unwrap().is_some());
        assert_eq!(secret("").unwrap(), None);
        for wrong in [
            "client-secret = \"\"",
            "client-secret-file = \"/none\"",
            "client-secret-env = \"KEA_NONE\"",
            &(file + given),
        ] {
            let told = secret(wrong).unwrap_err();
            assert!(told.contains("secret") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_provider_elsewhere_is_asked_by_tls_alone() {
        for good in
            ["https://x.example", "http://localhost:1/r", "http://127.0.0.1", "http://127.1.2.3:1", "http://[::1]:1"]
        {
            assert!(read(&format!("issuer = \"{good}\"")).is_ok(), "{good}");
        }
        for bad in
            ["http://x.example", "http://10.0.0.1", "http://localhost.evil.example", "http://[::2]", "http://0.0.0.0"]
        {
            let error = read(&format!("issuer = \"{bad}\"")).unwrap_err();
            assert!(error.contains(bad) && error.contains("`https://` alone"), "{error}");
        }
    }

    #[test]
    fn a_mistake_is_told_before_anybody_logs_in() {
        for (wrong, told) in [
            ("issuer = \"login.example\"", "relative URL"),
            ("issuer = \"ftp://login.example\"", "https://"),
            (&format!("{ISSUER}scopes = [\"profile email\"]"), "a text of its own"),
            (&format!("{ISSUER}audiences = [\"api\", \"kea\"]"), "`kea` is the `client-id`"),
            (&format!("{ISSUER}role = {{}}"), "unknown field `role`"),
            (&format!("{ISSUER}roles = {{ml = [\"a b\"]}}"), "no name of a role"),
            (&format!("{ISSUER}client-secret = 4711"), "a secret is a text"),
            ("", "missing field `issuer`"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(told) && !error.contains("4711"), "{error}");
        }
    }
}
