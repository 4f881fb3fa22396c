//! How the requests of a service are spread: the rule, the shares, and services elsewhere that help.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{change::invalid, port::DeployError};

/// How replicas are chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadBalancing {
    /// The rule. Where none is named: `round_robin` where replicas have weights, else `peak_ewma`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// Names of the replicas to use, and addresses of others elsewhere, as `host:port` or `http://host:port`, with
    /// TLS as `https://host:port`, in HTTP/2 without TLS as `h2c://host:port`; all own replicas where it is empty.
    pub replicas: Vec<String>,
    /// Shares of the requests in percent, by replica or by version; together 100. Who is not named gets none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u8>,
    /// Whether a cookie keeps a caller at the version that answered it first.
    pub sticky: bool,
}

/// The rule by which a replica is chosen for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// One after the other, by their weights.
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// The same one for the same client address.
    IpHash,
    /// Of two chosen at random the one that promises the earlier answer: by its latency, in which a peak counts at once
    /// and fades, and by the requests under way.
    PeakEwma,
}

impl Algorithm {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConnections => "least_connections",
            Self::IpHash => "ip_hash",
            Self::PeakEwma => "peak_ewma",
        }
    }
}

impl LoadBalancing {
    /// The rule that holds, be it named or not.
    pub fn algorithm(&self) -> Algorithm {
        let otherwise = if self.weights.is_empty() { Algorithm::PeakEwma } else { Algorithm::RoundRobin };
        self.algorithm.unwrap_or(otherwise)
    }

    /// The same, with addresses written in one way alone, as the router names them.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.replicas.iter_mut().for_each(|text| *text = normal(text));
        for (text, weight) in std::mem::take(&mut self.weights) {
            let share = self.weights.entry(normal(&text)).or_default();
            *share = share.saturating_add(weight);
        }
        self
    }

    /// What can be said without knowing the replicas.
    ///
    /// # Errors
    /// Weights that are not 100 together, and an address that is none, with the pointer to the field.
    pub fn check(&self) -> Result<(), DeployError> {
        check_weights(&self.weights).map_err(|why| invalid("/loadBalancer/weights", why))?;
        let wrong = |(index, text): (usize, &String)| {
            let why = looks_external(text).then(|| text.parse::<ExternalAddress>().err())??;
            Some(invalid(&format!("/loadBalancer/replicas/{index}"), why.to_string()))
        };
        self.replicas.iter().enumerate().find_map(wrong).map_or(Ok(()), Err)
    }
}

/// An address as [`ExternalAddress`] writes it; anything else as it is.
fn normal(text: &str) -> String {
    let address = looks_external(text).then(|| text.parse::<ExternalAddress>().ok()).flatten();
    address.map_or_else(|| text.to_owned(), |address| address.to_string())
}

/// Shares of one whole are 100 percent.
///
/// # Errors
/// What they are instead.
pub fn check_weights(weights: &BTreeMap<String, u8>) -> Result<(), String> {
    let sum: u32 = weights.values().map(|weight| u32::from(*weight)).sum();
    if weights.is_empty() || sum == 100 {
        return Ok(());
    }
    Err(format!("the weights are shares in percent, and together 100: these are {sum}"))
}

/// Whether a text of `replicas` is meant as an address rather than as a replica's name, which has no colon.
pub fn looks_external(text: &str) -> bool {
    text.contains(':')
}

/// A service elsewhere that answers as a replica does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExternalAddress {
    /// How it is spoken to.
    pub scheme: AddressScheme,
    /// A name or an IP address, that of version 6 without brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
}

/// How a service elsewhere is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddressScheme {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2 or HTTP/1.1, as is agreed upon within TLS.
    Https,
    /// HTTP/2 without TLS, which both ends know beforehand.
    H2c,
}

impl AddressScheme {
    const ALL: [Self; 3] = [Self::Http, Self::Https, Self::H2c];

    /// What is before an address that is spoken to in this way.
    fn prefix(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::Https => "https://",
            Self::H2c => "h2c://",
        }
    }
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address of a replica: write `HOST:PORT`, `https://HOST:PORT` or `h2c://HOST:PORT`, without a path"
)]
pub struct AddressError(String);

impl FromStr for ExternalAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.into());
        let with_scheme = |scheme: AddressScheme| Some((scheme, text.strip_prefix(scheme.prefix())?));
        let (scheme, bare) = match AddressScheme::ALL.into_iter().find_map(with_scheme) {
            Some((scheme, rest)) => (scheme, rest.strip_suffix('/').unwrap_or(rest)),
            None => (AddressScheme::default(), text),
        };
        let (host, port) = bare.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let host = host_name(host).ok_or_else(wrong)?;
        Ok(Self { scheme, host: host.into(), port })
    }
}

/// A DNS name, or an address; one of version 6 is in brackets.
fn host_name(text: &str) -> Option<&str> {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']').filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let is_label = |label: &str| {
        let of_names = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(of_names)
    };
    (text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)).then_some(text)
}

impl ExternalAddress {
    /// Host and port, as the header `Host` says them.
    pub fn authority(&self) -> String {
        let Self { scheme: _, host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for ExternalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.scheme == AddressScheme::Http { "" } else { self.scheme.prefix() };
        write!(f, "{scheme}{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_each_way_of_writing_them() {
        let check = |text: &str, expected: Option<&str>| {
            let read = text.parse::<ExternalAddress>().ok().map(|address| address.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("10.0.0.7:8080", Some("10.0.0.7:8080"));
        check("http://models.example:80", Some("models.example:80"));
        check("http://models.example:80/", Some("models.example:80"));
        check("[::1]:9000", Some("[::1]:9000"));
        check("::1:9000", None);
        check("models.example", None);
        check("models.example:0", None);
        check("models.example:70000", None);
        check("https://models.example:443/", Some("https://models.example:443"));
        check("https://models.example", None);
        check("h2c://[::1]:9000", Some("h2c://[::1]:9000"));
        check("grpc://models.example:443", None);
        check("http://models.example:80/v2", None);
        check("models..example:80", None);
        check("a b:80", None);
        check("user@host:80", None);
    }

    #[test]
    fn weights_are_one_whole() {
        let check = |weights: &[(&str, u8)], expected: bool| {
            let weights = weights.iter().map(|(name, weight)| ((*name).to_string(), *weight)).collect();
            assert_eq!(check_weights(&weights).is_ok(), expected, "{weights:?}");
        };
        check(&[], true);
        check(&[("a", 100)], true);
        check(&[("a", 99), ("b", 1)], true);
        check(&[("a", 0), ("b", 100)], true);
        check(&[("a", 50), ("b", 51)], false);
        check(&[("a", 200), ("b", 156)], false);
        check(&[("a", 0)], false);
    }

    #[test]
    fn addresses_are_written_in_one_way() {
        let weights = [("http://models.example:80/".into(), 10), ("a".into(), 90)].into();
        let replicas = vec!["http://models.example:80".into(), "a".into()];
        let rule = LoadBalancing { replicas, weights, ..LoadBalancing::default() }.normalized();
        assert_eq!(rule.replicas, ["models.example:80", "a"]);
        assert_eq!(rule.weights, [("a".into(), 90), ("models.example:80".into(), 10)].into());
    }

    #[test]
    fn the_rule_follows_from_the_weights_where_none_is_named() {
        let mut rule = LoadBalancing::default();
        assert_eq!(rule.algorithm(), Algorithm::PeakEwma);
        rule.weights.insert("a".into(), 100);
        assert_eq!(rule.algorithm(), Algorithm::RoundRobin);
        rule.algorithm = Some(Algorithm::IpHash);
        assert_eq!(rule.algorithm(), Algorithm::IpHash);
    }
}
