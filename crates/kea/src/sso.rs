//! Providers of single sign-on, as `kea.toml` has them, or a file of its own for the routers of a cluster.

use std::{collections::HashSet, path::Path, sync::Arc};

use anyhow::{Context, anyhow, bail};
use kea_auth::{
    Authenticator, Sso,
    oidc::{Provider, ProviderSettings, TrustedIssuers},
};

/// The tables `[[sso]]`. Each mistake is told with the table that has it.
pub(crate) fn read(value: toml::Value) -> Result<Vec<ProviderSettings>, String> {
    let toml::Value::Array(tables) = value else { return Err("is no list of tables: write `[[sso]]`".into()) };
    let providers = tables.into_iter().enumerate().map(|(index, table)| {
        let name = table.get("name").and_then(toml::Value::as_str).map(|name| format!(" (`{name}`)"));
        let read = table.try_into::<ProviderSettings>();
        read.map_err(|error| format!("table {}{}: {}", index + 1, name.unwrap_or_default(), error.message()))
    });
    let providers = providers.collect::<Result<Vec<_>, _>>()?;
    differ("name", providers.iter().map(|settings| settings.name.as_str()))?;
    differ("issuer", providers.iter().map(|settings| settings.issuer.as_str()))?;
    differ("groups-prefix", providers.iter().map(|settings| settings.groups_prefix.as_str()))
        .map_err(|why| format!("{why}: set `groups-prefix` in each, so that one's groups are not another's"))?;
    Ok(providers)
}

/// Two of one name would have one path, and two of one issuer the same users.
fn differ<'a>(key: &str, mut values: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = HashSet::new();
    let twice = values.find(|value| !seen.insert(*value));
    twice.map_or(Ok(()), |value| Err(format!("two tables have the {key} `{value}`")))
}

/// The providers of a file with nothing else in it.
pub(crate) fn load(file: &Path) -> anyhow::Result<Vec<ProviderSettings>> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("`{name}` cannot be read"))?;
    let table = crate::config::table(&text).with_context(|| format!("`{name}`"))?;
    let mut providers = Vec::new();
    for (key, value) in table {
        match key.as_str() {
            "sso" => providers = read(value).map_err(|why| anyhow!("`{name}`: `sso`: {why}"))?,
            _ => bail!("`{name}`: `{key}` is not a key of this file: it has tables `[[sso]]` alone"),
        }
    }
    Ok(providers)
}

/// The providers, of which none is asked yet: KEA starts while they are down.
pub(crate) fn providers(settings: Vec<ProviderSettings>) -> anyhow::Result<Vec<Arc<Provider>>> {
    settings.into_iter().map(|settings| Ok(Arc::new(Provider::new(settings)?))).collect()
}

/// An Authenticator that takes tokens of those providers that have audiences.
pub(crate) fn trusting(auth: Authenticator, providers: &[Arc<Provider>]) -> Arc<Authenticator> {
    Arc::new(auth.trusting(TrustedIssuers::new(providers)))
}

/// Logins by these providers.
pub(crate) async fn open(
    auth: &Arc<Authenticator>,
    providers: Vec<Arc<Provider>>,
    url: String,
) -> anyhow::Result<Arc<Sso>> {
    Ok(Arc::new(Sso::new(auth.clone(), providers, url).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let value = text.parse::<toml::Table>().unwrap().remove("sso").unwrap();
        read(value).map_or_else(|why| why, |providers| format!("{providers:?}"))
    }

    const CORP: &str = "[[sso]]\nname = \"corp\"\nissuer = \"https://login.example\"\nclient-id = \"kea\"\n";

    /// A second table.
    fn other(more: &str) -> String {
        CORP.replace("corp", "other").replace("login.", "other.") + more
    }

    #[test]
    fn a_mistake_is_told_with_its_table() {
        for (text, expected) in [
            (format!("{CORP}colour = 1"), "table 1 (`corp`): unknown field `colour`"),
            (format!("{CORP}[[sso]]\nname = \"other\""), "table 2 (`other`): missing field"),
            (CORP.replace("\"corp\"", "\"Corp X\""), "`Corp X` is not a name"),
            (format!("{CORP}{CORP}"), "two tables have the name `corp`"),
            (format!("{CORP}{}", CORP.replace("corp", "other")), "two tables have the issuer `https://login.example`"),
            (format!("{CORP}{}", other("")), "the groups-prefix ``: set `groups-prefix` in each"),
            (format!("{CORP}groups-prefix = \"g:\"\n{}", other("groups-prefix = \"g:\"")), "the groups-prefix `g:`"),
            (format!("{CORP}{}", other("groups-prefix = \"o:\"")), "groups_prefix: \"o:\""),
            ("sso = 1".into(), "[[sso]]"),
        ] {
            let told = told(&text);
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        for text in [format!("{CORP}client-secret = \"hunter2\""), format!("{CORP}client-secret = [\"hunter2\"]")] {
            assert!(!told(&text).contains("hunter2"), "{}", told(&text));
        }
    }

    #[test]
    fn a_file_of_providers_has_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, CORP).unwrap();
        assert_eq!(load(file.path()).unwrap().len(), 1);
        std::fs::write(&file, format!("listen = \"x\"\n{CORP}")).unwrap();
        assert!(load(file.path()).unwrap_err().to_string().contains("`listen`"));
    }
}
