//! How registries are spoken to, and where.

use std::{net::IpAddr, str::FromStr};

use serde::Deserialize;

use super::{Logins, RegistryError};

/// How registries are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Registries that are spoken to without TLS, beside those of this machine.
    pub plain_http: Vec<String>,
    /// Registries that are reached at another address than the one in names of images; of two for the same registry the
    /// later one counts.
    pub endpoints: Vec<RegistryEndpoint>,
    /// Logins in place of those that this process finds: whoever gives them sees what they may see, and no more.
    pub logins: Option<Logins>,
}

/// Where a registry is reached, where that is not the address in names of images: nodes of a cluster may know a registry
/// as `localhost:5000`, which means something else in a pod. Written as `NAME=ENDPOINT`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RegistryEndpoint {
    /// The registry, as it stands in names of images.
    registry: String,
    address: String,
    /// Whether it is spoken to without TLS, where the endpoint says so itself.
    plain: Option<bool>,
}

impl FromStr for RegistryEndpoint {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || RegistryError::Endpoint { text: text.to_owned() };
        let (registry, endpoint) = text.trim().split_once('=').ok_or_else(malformed)?;
        let (address, plain) = match (endpoint.strip_prefix("http://"), endpoint.strip_prefix("https://")) {
            (Some(address), _) => (address, Some(true)),
            (_, Some(address)) => (address, Some(false)),
            _ => (endpoint, None),
        };
        let address = address.trim_end_matches('/');
        let named = super::reference(&format!("{registry}/x/x")).map_err(|_| malformed())?;
        // What has no dot and no port is a folder of Docker's registry, and no registry.
        if named.repository() != "x/x" || !is_address(address) {
            return Err(malformed());
        }
        Ok(Self { registry: named.registry().to_owned(), address: address.to_owned(), plain })
    }
}

impl TryFrom<String> for RegistryEndpoint {
    type Error = RegistryError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Whether it is a host, perhaps with a port, and nothing else.
fn is_address(text: &str) -> bool {
    let url = reqwest::Url::parse(&format!("http://{text}"));
    let is_part = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    !text.is_empty() && text.chars().all(is_part) && url.is_ok_and(|url| url.host_str().is_some())
}

/// Where a registry is spoken to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Host, perhaps with a port.
    pub(crate) address: String,
    /// Whether there is no TLS.
    pub(crate) plain: bool,
}

impl RegistrySettings {
    /// Where the registry is spoken to that stands as `registry` in names of images, and by default is at `usual`.
    pub(crate) fn place(&self, registry: &str, usual: &str) -> Place {
        let endpoint = self.endpoints.iter().rev().find(|endpoint| endpoint.registry == registry);
        let address = endpoint.map_or(usual, |endpoint| &endpoint.address);
        let is_plain = || [registry, address].iter().any(|name| self.is_plain(name));
        let plain = endpoint.and_then(|endpoint| endpoint.plain).unwrap_or_else(is_plain);
        Place { address: address.to_owned(), plain }
    }

    fn is_plain(&self, registry: &str) -> bool {
        is_loopback(registry) || self.plain_http.iter().any(|name| name == registry)
    }
}

/// Whether a registry, with or without its port, is of this machine: what is sent to it passes no network.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_registries_are_spoken_to_without_tls() {
        for registry in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.0.1", "[::1]:5000"] {
            assert!(is_loopback(registry), "{registry}");
        }
        for registry in ["docker.io", "10.0.0.1:5000", "localhost.example.com", "registry:5000", "127.0.0.1.nip.io"] {
            assert!(!is_loopback(registry), "{registry}");
        }
    }

    #[test]
    fn an_endpoint_is_where_a_registry_is_spoken_to() {
        let check = |endpoints: &[&str], registry: &str, address: &str, plain: bool| {
            let settings = RegistrySettings {
                plain_http: vec!["lab:5000".into()],
                endpoints: endpoints.iter().map(|text| text.parse().unwrap()).collect(),
                logins: None,
            };
            let place = Place { address: address.into(), plain };
            assert_eq!(settings.place(registry, registry), place, "{endpoints:?}");
        };
        check(&["other.example=10.0.0.1:5000"], "registry.example", "registry.example", false);
        check(&["registry.example=10.0.0.1:5000"], "registry.example", "10.0.0.1:5000", false);
        check(
            &["registry.example=http://registry.kube-system:5000/"],
            "registry.example",
            "registry.kube-system:5000",
            true,
        );
        // By the name of the registry, or by that of the endpoint.
        check(&["localhost:5000=10.0.0.1:5000"], "localhost:5000", "10.0.0.1:5000", true);
        check(&["registry.example=lab:5000"], "registry.example", "lab:5000", true);
        check(&["localhost:5000=https://registry"], "localhost:5000", "registry", false);
        check(&["registry.example=a.example", "registry.example=b.example"], "registry.example", "b.example", false);
        check(&["docker.io=mirror.example"], "docker.io", "mirror.example", false);
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "registry.example",
            "=a.example",
            "registry.example=",
            "registry.example=ftp://a.example",
            "registry.example=a.example/path",
            "registry.example=me:secret@a.example",
            "team=a.example",
            "a.io/x=b.io",
        ] {
            let error = text.parse::<RegistryEndpoint>().unwrap_err().to_string();
            assert!(error.contains("NAME=ENDPOINT"), "{text}: {error}");
        }
    }
}
