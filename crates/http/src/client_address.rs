//! Who a request comes from, where proxies stand between: only what a proxy that is trusted says is believed.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use http::{Extensions, HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::PeerAddress;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The caller's address; a request extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Who calls, as whoever took the request knows it; else the connection's other end. A request that came through no
    /// connection, as in tests, has the address 0.0.0.0.
    pub fn of(extensions: &Extensions) -> IpAddr {
        let peer = || extensions.get::<PeerAddress>().map(|PeerAddress(address)| address.ip());
        let client = extensions.get::<Self>().map(|Self(address)| *address);
        client.or_else(peer).unwrap_or(Ipv4Addr::UNSPECIFIED.into())
    }
}

/// Networks of proxies whose word on the caller's address counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no network: write for example `10.0.0.0/8`, `fd00::/8` or `192.0.2.7`")]
pub struct NetworkError(String);

impl TrustedProxies {
    /// The networks that these texts name. An empty text, as of a variable that is set to nothing, names none.
    ///
    /// # Errors
    /// The first text that names none.
    pub fn parse<T: AsRef<str>>(networks: &[T]) -> Result<Self, NetworkError> {
        let network = |text: &T| {
            let text = text.as_ref().trim();
            let single = || IpAddr::from_str(text).map(IpNet::from);
            IpNet::from_str(text).or_else(|_| single()).map_err(|_| NetworkError(text.into()))
        };
        networks.iter().filter(|text| !text.as_ref().trim().is_empty()).map(network).collect::<Result<_, _>>().map(Self)
    }

    /// The address that a request of `peer` with these headers comes from: of the addresses on its way, from the peer
    /// backwards, the first that is no trusted proxy. `X-Forwarded-For` alone is read: proxies that append to it pass on
    /// what a caller makes up in `Forwarded`. What cannot be read ends the way: before it, everything may be made up.
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.ip().to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
            for hop in value.to_str().unwrap_or_default().rsplit(',') {
                let Some(address) = address(hop) else { return client };
                client = address;
                if !self.trusts(client) {
                    return client;
                }
            }
        }
        client
    }

    /// Whether what this end of a connection says of others is believed.
    pub fn trusts_peer(&self, peer: SocketAddr) -> bool {
        self.trusts(peer.ip().to_canonical())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address, with or without a port; one of version 6 may be in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || IpAddr::from_str(text.strip_prefix('[')?.strip_suffix(']')?).ok();
    let with_port = || SocketAddr::from_str(text).ok().map(|address| address.ip());
    IpAddr::from_str(text).ok().or_else(bare).or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The client of a request of a trusted network's proxy with these headers.
    fn check(peer: &str, headers: &[(&'static str, &'static str)], expected: &str) {
        let proxies = TrustedProxies::parse(&["10.0.0.0/8", "fd00::/8", "192.0.2.7"]).unwrap();
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut all = HeaderMap::new();
        headers.iter().map(pair).for_each(|(name, value)| {
            all.append(name, value);
        });
        let client = proxies.client(SocketAddr::new(peer.parse().unwrap(), 1), &all);
        assert_eq!(client.to_string(), expected, "{peer} {headers:?}");
    }

    #[test]
    fn who_is_not_trusted_is_the_client_itself() {
        check("203.0.113.9", &[("x-forwarded-for", "198.51.100.1")], "203.0.113.9");
        check("192.0.2.8", &[("forwarded", "for=198.51.100.1")], "192.0.2.8");
    }

    #[test]
    fn the_rightmost_that_is_not_trusted_is_the_client() {
        let x = "x-forwarded-for";
        check("10.1.1.1", &[], "10.1.1.1");
        check("10.1.1.1", &[(x, "198.51.100.1")], "198.51.100.1");
        check("10.1.1.1", &[(x, "6.6.6.6, 198.51.100.1, 10.2.2.2")], "198.51.100.1");
        check("192.0.2.7", &[(x, "6.6.6.6"), (x, "198.51.100.1:4711")], "198.51.100.1");
        check("fd00::1", &[(x, "[2001:db8::5]:80, 10.0.0.1")], "2001:db8::5");
        check("::ffff:10.1.1.1", &[(x, "::ffff:198.51.100.1")], "198.51.100.1");
        check("10.1.1.1", &[(x, "10.3.3.3")], "10.3.3.3");
    }

    #[test]
    fn what_a_proxy_passes_on_without_reading_it_is_not_believed() {
        check("10.1.1.1", &[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "198.51.100.1")], "198.51.100.1");
        check("10.1.1.1", &[("forwarded", "for=6.6.6.6")], "10.1.1.1");
    }

    #[test]
    fn what_cannot_be_read_ends_the_way() {
        check("10.1.1.1", &[("x-forwarded-for", "6.6.6.6, nonsense, 10.2.2.2")], "10.2.2.2");
        check("10.1.1.1", &[("x-forwarded-for", "")], "10.1.1.1");
    }

    #[test]
    fn what_is_no_network_is_named() {
        assert_eq!(TrustedProxies::parse(&["10.0.0.0/40"]).unwrap_err(), NetworkError("10.0.0.0/40".into()));
        assert!(TrustedProxies::parse(&["proxy.example"]).is_err());
        assert_eq!(TrustedProxies::parse(&[""]), Ok(TrustedProxies::default()));
    }
}
