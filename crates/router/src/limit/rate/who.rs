//! Who shares a number of requests.

use std::net::IpAddr;

use kea_core::resilience::RateKey;
use sha2::{Digest, Sha256};

use crate::identify::Admitted;

/// Who shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who<'a> {
    Everybody,
    Function(&'a str),
    Network(u128),
    Key(&'a str),
    User(&'a str),
}

impl<'a> Who<'a> {
    /// Who shares the number with a request; `None` where it is not counted.
    pub(super) fn of(by: RateKey, admitted: &'a Admitted) -> Option<Self> {
        let address = || Self::Network(network(admitted.client));
        let caller = admitted.caller.as_ref();
        match by {
            RateKey::Service => Some(Self::Everybody),
            RateKey::Function => Some(Self::Function(&admitted.function)),
            RateKey::Address => Some(address()),
            RateKey::Key => Some(Self::Key(caller?.key.as_deref()?)),
            RateKey::Caller => Some(caller.map_or_else(address, |caller| match &caller.key {
                Some(key) => Self::Key(key),
                None => Self::User(&caller.username),
            })),
        }
    }

    /// The same for all routers, by which nobody reads who it is, and nobody can be taken for another one.
    pub(super) fn digest(self) -> String {
        use std::fmt::Write;
        let mut digest = Sha256::new();
        match self {
            Self::Everybody => digest.update("e"),
            Self::Function(name) => digest.update(["f", name].concat()),
            Self::Network(network) => digest.update(format!("n{network:x}")),
            Self::Key(key) => digest.update(["k", key].concat()),
            Self::User(name) => digest.update(["u", name].concat()),
        }
        digest.finalize().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Who has an address of version 6 has a whole network of them.
fn network(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or(address.to_bits() >> 64 << 64, |v4| v4.to_bits().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_version_6_is_one_address() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    }

    #[test]
    fn nobody_has_the_digest_of_another_one() {
        let all = [Who::Everybody, Who::Function("a"), Who::Network(10), Who::Key("a"), Who::User("a"), Who::User("")];
        let mut digests: Vec<_> = all.map(Who::digest).into();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), all.len());
        assert_eq!(Who::User("ada").digest(), Who::User("ada").digest());
    }
}
