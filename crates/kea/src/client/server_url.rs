//! The address of a KEA.

use std::{fmt, net::IpAddr, str::FromStr};

use reqwest::Url;

/// Where `kea serve` listens when nothing is said.
const LOCAL: &str = "http://127.0.0.1:8080";

/// Address of a KEA: `http://` or `https://`, a host, and perhaps a port and a path. Never a query or a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl(Url);

/// Why a text is no address of a KEA.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the address of a KEA: write for example {LOCAL} or https://kea.example.org")]
pub(crate) struct NotAServer(String);

impl ServerUrl {
    /// Whether the server is on this machine, so that both see the same files.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// A URL below the server's.
    pub(crate) fn join<'a>(&self, segments: impl Iterator<Item = &'a str>, query: &[(&str, &str)]) -> Url {
        super::extend(&self.0, segments, query)
    }
}

impl Default for ServerUrl {
    fn default() -> Self {
        LOCAL.parse().expect("the default is an address")
    }
}

impl FromStr for ServerUrl {
    type Err = NotAServer;

    fn from_str(text: &str) -> Result<Self, NotAServer> {
        let refuse = || NotAServer(text.into());
        let with_scheme = if text.contains("://") { text.to_string() } else { format!("http://{text}") };
        let url = Url::parse(&with_scheme).map_err(|_| refuse())?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if plain { Ok(Self(url)) } else { Err(refuse()) }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        text.parse::<ServerUrl>().ok().map(|url| url.to_string())
    }

    #[test]
    fn an_address_is_read_as_people_write_it() {
        assert_eq!(read("http://127.0.0.1:8080/").as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(read("localhost:9000").as_deref(), Some("http://localhost:9000"));
        assert_eq!(read("https://kea.example/ml/").as_deref(), Some("https://kea.example/ml"));
        for bad in ["", "ftp://kea.example", "http://admin:secret@kea.example", "http://kea.example?x=1", "http://"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let loopback = |text: &str| text.parse::<ServerUrl>().unwrap().is_loopback();
        assert!(loopback("http://127.0.0.1:8080") && loopback("http://[::1]:8080") && loopback("localhost"));
        assert!(!loopback("http://10.0.0.1:8080") && !loopback("https://localhost.example"));
    }

    #[test]
    fn segments_are_escaped_below_the_servers_own_path() {
        let server: ServerUrl = "https://kea.example/ml".parse().unwrap();
        let url = server.join(["", "services", "iris", "a/b?c"].into_iter(), &[("version", "1&2")]);
        assert_eq!(url.as_str(), "https://kea.example/ml/services/iris/a%2Fb%3Fc?version=1%262");
    }
}
