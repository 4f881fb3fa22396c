//! What is configured of a provider.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use openidconnect::IssuerUrl;
use serde::Deserialize;

/// How a provider is called in paths and in names of its users: lower-case letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ProviderName(String);

impl ProviderName {
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
        let good = (1..=63).contains(&text.len()) && text.chars().all(fits);
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
#[serde(transparent)]
pub struct Secret(pub(crate) String);

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
    /// Roles that members of a group have.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
    /// Audiences of which this issuer's own tokens are accepted in place of KEA's; none are where it is empty.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// File of authorities to believe for its address, in PEM, beside the public ones.
    pub ca_file: Option<PathBuf>,
}

impl ProviderSettings {
    /// What people read.
    pub fn title(&self) -> &str {
        self.title.as_deref().unwrap_or(self.name.as_str())
    }

    pub(crate) fn username(&self, claim: &str) -> String {
        match &self.username_prefix {
            Some(prefix) => format!("{prefix}{claim}"),
            None => format!("{}:{claim}", self.name),
        }
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
